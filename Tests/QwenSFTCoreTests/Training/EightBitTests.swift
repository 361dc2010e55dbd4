import QwenSFTCore
import Testing

/// An optimizer's memory in 8 bits.
@Suite(.serialized, .processWide) struct EightBitTests {
    @Test(arguments: [true, false]) func codesAreOfTheNearestValue(isSigned: Bool) throws {
        let code = isSigned ? DynamicCode.signed : .unsigned
        #expect(code.values.count == 256 && Set(code.values).count == 256 && code.values == code.values.sorted())
        #expect(code.values.contains(0) && code.values.last == 1 && code.values[0] == (isSigned ? -0.99296875 : 0))
        let moments = try BlockwiseMoments([1000], purpose: "a test")
        var noise = Noise(1)
        for magnitude in [1 as Float, 1e-3, 1e-30, 1e30] {
            // From all decades, and of every block the largest.
            let numbers = (0..<1000).map { index in
                let x = noise.next() * magnitude * Float(expOf(-16 * Double(abs(noise.next()))))
                return index % 256 == 3 ? magnitude : isSigned ? x : abs(x)
            }
            moments.write(0, 0, 1000, as: code, from: numbers)
            var read = [Float](repeating: .nan, count: 1000)
            moments.read(0, 0, 1000, as: code, to: &read)
            for (x, y) in zip(numbers, read) {
                let nearest = code.values.map { abs($0 - x / magnitude) }.min() ?? .infinity
                // A number of a second moment is never taken for 0.
                let allowed = !isSigned && x > 0 ? max(nearest, abs(code.values[1] - x / magnitude)) : nearest
                #expect(abs(y - x) / magnitude <= allowed * 1.0001 + 1e-7 && (isSigned || x == 0 || y > 0))
            }
            // What was read is written as it was.
            let codes = Array(moments.codes(0))
            moments.write(0, 0, 1000, as: code, from: read)
            #expect(Array(moments.codes(0)) == codes && moments.scales(0).allSatisfy { $0 == magnitude })
        }
        let zeros = [Float](repeating: 0, count: 1000)
        moments.write(0, 0, 1000, as: code, from: zeros)
        var read = [Float](repeating: .nan, count: 1000)
        moments.read(0, 0, 1000, as: code, to: &read)
        #expect(read.allSatisfy { $0 == 0 })
    }

    private static let sizes = RandomModel(hidden: 48, intermediate: 100, vocabulary: 150)

    private static func trainer(bits: Int, lora: Bool = false) throws -> Trainer {
        let model = try sizes.model()
        if lora {
            var configuration = LoRAConfiguration()
            configuration.rank = 48
            try model.addAdapter(configuration)
        }
        let rate = lora ? 1e-3 : 3e-4
        return try Trainer(model, optimizer: .adamW(AdamW(learningRate: rate, stateBits: bits)))
    }

    /// The same path of losses as with float32: after 60 steps the loss has fallen by far more than the two differ.
    @Test(arguments: [false, true]) func lossesAreThoseOfFloat32(lora: Bool) throws {
        let batches = try (0..<4).map { try randomBatch([20, 17, 9, 30], vocabulary: 150, seed: $0) }
        let curves = try [32, 8].map { bits in
            let trainer = try Self.trainer(bits: bits, lora: lora)
            return try (0..<60).map { try trainer.step(batches[$0 % 4]).loss }
        }
        let fallen = curves[0][0] - curves[0][59]
        #expect(fallen > 1)
        // Codes of 8 bits keep two or three digits of what steps are made of.
        for (a, b) in zip(curves[0], curves[1]) { #expect(abs(a - b) < 0.06 * fallen) }
    }

    /// k steps, saving, loading and the rest give the bits of all steps at once.
    @Test func resumesBitForBit() throws {
        let batch = try randomBatch([20, 17, 9], vocabulary: 150, seed: 3)
        let directory = try TestDirectory()
        let whole = try Self.trainer(bits: 8)
        for _ in 0..<6 { try whole.step(batch) }
        let first = try Self.trainer(bits: 8)
        for _ in 0..<3 { try first.step(batch) }
        try first.saveState(to: directory.path + "/state")
        let second = try Self.trainer(bits: 8)
        for parameter in first.model.parameters {
            try second.model.setValues(try first.model.values(of: parameter), of: parameter)
        }
        try second.loadState(from: directory.path + "/state")
        for _ in 0..<3 { try second.step(batch) }
        #expect(try second.model.allBits() == whole.model.allBits())
        // Its size is that of the codes; another optimizer's is refused.
        let tensors = try SafetensorsFile(directory.path + "/state").tensors
        let bytes = tensors.reduce(0) { $0 + $1.byteCount }
        #expect(bytes < first.model.parameters.reduce(0) { $0 + $1.count } * 3)
        #expect(tensors.contains { $0.elementType == "U8" && $0.name == "first.model.embed_tokens.weight" })
        let error = #expect(throws: QwenSFTError.self) {
            try Self.trainer(bits: 32).loadState(from: directory.path + "/state")
        }
        #expect(error?.message == "state: is the state of AdamW in 8 bits, but this trainer's optimizer is AdamW")
        #expect(throws: QwenSFTError.self) { try Self.trainer(bits: 16) }
    }

    /// Freezing and thawing keeps what there is.
    @Test func memoryFollowsWhatIsTrained() throws {
        let batch = try randomBatch([20, 17, 9], vocabulary: 150, seed: 3)
        let trainer = try Self.trainer(bits: 8)
        try trainer.model.setTrainable(false, matching: "model.embed_tokens.weight")
        try trainer.step(batch)
        try trainer.model.setTrainable(true, matching: "*")
        for _ in 0..<3 { try trainer.step(batch) }
        #expect(try trainer.evaluate(batch).loss.isFinite)
    }

    @Test func memoryIsCounted() throws {
        let directory = try TestDirectory()
        try Self.sizes.write(to: directory)
        let c = try Configuration(directory: directory.path)
        func optimizer(_ bits: Int) throws -> Int {
            var setup = TrainingSetup()
            setup.optimizer = .adamW(AdamW(stateBits: bits))
            return try TrainingMemory(c, setup, tokens: 10).optimizer
        }
        // All but biases, norms and the projections of keys and values are in 8 bits and a 64th.
        #expect(try (0.25..<0.4).contains(Double(optimizer(8)) / Double(optimizer(32))))
    }
}
