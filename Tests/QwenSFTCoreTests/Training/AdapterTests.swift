import QwenSFTCore
import Testing

/// A model with an adapter against the definition in float64: y = (W + s·B·A)x + b, whatever the base is kept in.
@Suite(.serialized, .processWide) struct AdapterTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var change: @Sendable (inout LoRAConfiguration) -> Void = { _ in }
        var tied = true
        /// Modules of two layers that are adapted.
        var adapted: Int

        static let all: [Case] = [
            .init(testDescription: "all linear layers", adapted: 14),
            .init(
                testDescription: "queries and values", change: { $0.targets = .names(["q_proj", "v_proj"]) }, adapted: 4
            ),
            .init(
                testDescription: "keys and up, rsLoRA, a head of its own",
                change: {
                    $0.targets = .names(["k_proj", "mlp.up_proj"])
                    $0.usesRankStabilization = true
                }, tied: false, adapted: 4),
            .init(
                testDescription: "the second layer",
                change: {
                    $0.layers = [1]
                    $0.rank = 3
                }, adapted: 7),
            .init(testDescription: "down only", change: { $0.targets = .names(["down_proj"]) }, adapted: 2),
            .init(
                testDescription: "rows of tokens below the adapted layer",
                change: {
                    $0.layers = [1]
                    $0.trainableTokens = Self.tokens
                }, adapted: 7),
            .init(
                testDescription: "rows of tokens in two matrices",
                change: {
                    $0.targets = .names(["down_proj"])
                    ($0.trainableTokens, $0.trainableOutputTokens) = (Self.tokens, [149, 1])
                }, tied: false, adapted: 2),
            .init(
                testDescription: "rows of the output",
                change: {
                    $0.targets = .names(["q_proj"])
                    $0.trainableOutputTokens = Self.tokens
                }, tied: false, adapted: 2),
        ]

        /// Some of those that the tests read and predict; of the tiles of 64 that the output has where it is divided, two.
        static let tokens = [5, 1, 140, 3, 9]
    }

    /// A model with an adapter that changes something, and a float32 model of the weights that the two together stand for.
    static func adapted(
        _ c: Case = Case.all[0], dtype: DType = .float32, quantization: Quantization? = nil
    ) throws -> (model: Model, adapter: Adapter, merged: Model) {
        let directory = try TestDirectory()
        var sizes = RandomModel(tied: c.tied)
        // The quantized formats' blocks, and what is left of one.
        if quantization != nil { (sizes.hidden, sizes.intermediate, sizes.headDimension) = (80, 72, 20) }
        sizes.scale = quantization == nil ? 0.25 : 0.11
        try sizes.write(to: directory)
        let model = try Model(directory: directory.path, dtype: dtype, quantization: quantization)
        var configuration = LoRAConfiguration()
        (configuration.rank, configuration.alpha, configuration.seed) = (4, 6, 7)
        c.change(&configuration)
        let adapter = try model.addAdapter(configuration)
        var noise = Noise(5)
        for parameter in adapter.parameters where !parameter.name.hasSuffix("lora_A.weight") {
            let isB = parameter.name.hasSuffix("lora_B.weight")
            adapter.setValues(noise.floats(parameter.count, scale: isB ? 0.2 : sizes.scale), of: parameter)
        }
        let merged = try Model(directory: directory.path)
        for parameter in model.parameters {
            var values = try model.values(of: parameter)
            if let part = Part(adapter, parameter) { part.merge(into: &values) }
            if let tokens = Tokens(adapter, parameter) {
                let width = parameter.shape[1]
                for (index, id) in tokens.ids.enumerated() {
                    values.replaceSubrange(
                        id * width..<(id + 1) * width, with: tokens.rows[index * width..<(index + 1) * width])
                }
            }
            try merged.setValues(values, of: parameter)
        }
        return (model, adapter, merged)
    }

    /// An adapter's rows in place of a parameter's.
    struct Tokens {
        let (name, ids): (String, [Int])
        let rows: [Float]

        init?(_ adapter: Adapter, _ parameter: Parameter) {
            let name =
                "base_model.model.\(parameter.name.dropLast(".weight".count)).token_adapter.trainable_tokens_delta"
            guard let rows = adapter.parameters.first(where: { $0.name == name }) else { return nil }
            let c = adapter.configuration
            ids = parameter.name == "lm_head.weight" ? c.trainableOutputTokens : c.trainableTokens
            (self.name, self.rows) = (name, adapter.values(of: rows))
        }
    }

    /// A and B of a parameter, by the definition.
    struct Part {
        let (rank, inputs, outputs): (Int, Int, Int)
        let scale: Double
        let (a, b): ([Double], [Double])

        init?(_ adapter: Adapter, _ parameter: Parameter) {
            let module = "base_model.model." + parameter.name.dropLast(".weight".count)
            func values(_ matrix: String) -> [Double]? {
                adapter.parameters.first { $0.name == module + ".lora_\(matrix).weight" }
                    .map { adapter.values(of: $0).doubles }
            }
            guard let a = values("A"), let b = values("B") else { return nil }
            let c = adapter.configuration
            (self.a, self.b, rank, inputs, outputs) = (a, b, c.rank, parameter.shape[1], parameter.shape[0])
            scale = c.alpha / (c.usesRankStabilization ? Double(rank).squareRoot() : Double(rank))
        }

        /// W + s·B·A.
        func merge(into w: inout [Float]) {
            for o in 0..<outputs {
                for i in 0..<inputs {
                    let sum = (0..<rank).reduce(0) { $0 + b[o * rank + $1] * a[$1 * inputs + i] }
                    w[o * inputs + i] = Float(Double(w[o * inputs + i]) + scale * sum)
                }
            }
        }

        /// s·Bᵀ·dW and s·dW·Aᵀ.
        func gradients(of dW: [Float]) -> (a: [Double], b: [Double]) {
            var dA = a.map { _ in 0.0 }
            var dB = b.map { _ in 0.0 }
            for o in 0..<outputs {
                for i in 0..<inputs {
                    let g = scale * Double(dW[o * inputs + i])
                    for r in 0..<rank {
                        dA[r * inputs + i] += b[o * rank + r] * g
                        dB[o * rank + r] += a[r * inputs + i] * g
                    }
                }
            }
            return (dA, dB)
        }
    }

    private static let ids: [Int] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]

    @Test(arguments: Case.all)
    func answersLikeTheMergedWeights(_ c: Case) throws {
        let (model, adapter, merged) = try Self.adapted(c)
        #expect(adapter.parameters.count(where: { $0.name.contains("lora_") }) == 2 * c.adapted)
        let expected = try PlainModel(merged).logits(Self.ids).flatMap { $0 }
        func logits() throws -> [Float] {
            try model.forward(Self.ids.map(Int64.init), rows: 1, columns: Self.ids.count)
        }
        #expect(worst(try logits(), expected) < 2e-6)
        try model.setAdapter(nil)
        #expect(worst(try logits(), try PlainModel(model).logits(Self.ids).flatMap { $0 }) < 2e-6)
        #expect(worst(try logits(), expected) > 1e-3)
    }

    /// A prompt of some tokens, of a few, and one token after the other.
    @Test(arguments: Case.all)
    func decodesLikeTheMergedWeights(_ c: Case) throws {
        let (model, _, merged) = try Self.adapted(c)
        let plain = try PlainModel(merged)
        for promptLength in [1, 4, 12] {
            var options = GenerationOptions.greedy
            options.maxNewTokens = 6
            options.logProbabilities = true
            let prompt = Self.ids.prefix(promptLength).map(Int32.init)
            let answer = try #require(try model.generations(prompt, options: options).first)
            var ids = prompt.map(Int.init)
            for (id, logProbability) in zip(answer.ids, try #require(answer.logProbabilities)) {
                let scores = try #require(plain.logits(ids).last)
                let logSumExp = logOf(scores.reduce(0) { $0 + expOf($1) })
                #expect(abs(Double(logProbability) - (scores[Int(id)] - logSumExp)) < 1e-5)
                #expect(scores[Int(id)] >= (scores.max() ?? 0) - 1e-5)
                ids.append(Int(id))
            }
        }
    }

    @Test(arguments: Case.all)
    func gradientsAreThoseOfTheDefinition(_ c: Case) throws {
        try Self.expectGradients(Self.adapted(c))
    }

    /// The reference has the weights that the format stands for, so its loss of precision is none here.
    @Test(arguments: Quantization.allCases)
    func gradientsOnABaseInFewBits(_ quantization: Quantization) throws {
        try Self.expectGradients(Self.adapted(quantization: quantization))
        try Self.expectGradients(Self.adapted(Self.withTokens, quantization: quantization))
    }

    @Test func gradientsOnABfloat16Base() throws {
        try Self.expectGradients(Self.adapted(dtype: .bfloat16))
        try Self.expectGradients(Self.adapted(Self.withTokens, dtype: .bfloat16))
    }

    private static let withTokens = Case(
        testDescription: "rows of tokens", change: { $0.trainableTokens = Case.tokens }, adapted: 14)

    /// G = dW of the merged weights gives dA = s·Bᵀ·G and dB = s·G·Aᵀ.
    private static func expectGradients(_ made: (model: Model, adapter: Adapter, merged: Model)) throws {
        let (model, adapter, merged) = made
        let batch = try randomBatch([14, 9, 17], vocabulary: 150, seed: 3)
        // Products round activations to bfloat16 where the processor multiplies that.
        let isRounded = model.quantization != nil || model.dtype == .bfloat16
        let tolerance = isRounded && BFloat16GEMM.Algorithm.fastest == .blocks ? 3e-2 : 1e-5
        let loss = try Trainer(merged).evaluate(batch).loss
        #expect(abs(try Trainer(model).evaluate(batch).loss / loss - 1) < tolerance / 10)
        let full = try Trainer(merged).gradients(batch)
        for (recomputation, logitBudget) in [(false, model.logitBudget), (true, 1)] {
            var options = TrainerOptions()
            options.recomputation = recomputation
            model.logitBudget = logitBudget  // 1: the output is computed in three tiles
            let gradients = try Trainer(model, options: options).gradients(batch)
            #expect(gradients.count == adapter.parameters.count)
            let byName = Dictionary(uniqueKeysWithValues: zip(adapter.parameters.map(\.name), gradients))
            for (parameter, dW) in zip(model.parameters, full) {
                if let tokens = Tokens(adapter, parameter) {
                    let width = parameter.shape[1]
                    let expected = tokens.ids.flatMap { dW[$0 * width..<($0 + 1) * width].map(Double.init) }
                    #expect(worst(try #require(byName[tokens.name]), expected) < tolerance, "\(tokens.name)")
                }
                guard let part = Part(adapter, parameter) else { continue }
                let expected = part.gradients(of: dW)
                let module = "base_model.model." + parameter.name.dropLast(".weight".count)
                let dA = try #require(byName[module + ".lora_A.weight"])
                let dB = try #require(byName[module + ".lora_B.weight"])
                #expect(worst(dA, expected.a) < tolerance, "\(module)")
                #expect(worst(dB, expected.b) < tolerance, "\(module)")
            }
        }
    }

    // MARK: Training

    @Test(arguments: [Optimizer.sgd(SGD(learningRate: 0.1)), .adamW(AdamW(learningRate: 0.01))])
    func trainingChangesTheAdapterOnly(_ optimizer: Optimizer) throws {
        let directory = try TestDirectory()
        let model = try RandomModel().model()
        let before = try model.allBits()
        let adapter = try model.addAdapter()
        let batch = try randomBatch([14, 9], vocabulary: 150, seed: 3)
        let trainer = try Trainer(model, optimizer: optimizer)
        let first = try trainer.step(batch).loss
        for _ in 0..<20 { try trainer.step(batch) }
        #expect(try trainer.evaluate(batch).loss < 0.9 * first)
        #expect(try model.allBits() == before)
        // A new adapter changes nothing, and the base answers as before once it is taken off.
        try model.setAdapter(nil)
        #expect(try Trainer(model).evaluate(batch).loss == first)

        // Nothing of the base is in the state.
        try model.setAdapter("default")
        try trainer.saveState(to: directory.path + "/state")
        let names = try SafetensorsFile(directory.path + "/state").tensors.map(\.name)
        #expect(names.allSatisfy { $0.contains("lora_") })
        let values = adapter.parameters.map { adapter.values(of: $0).bits }
        try trainer.step(batch)
        let after = adapter.parameters.map { adapter.values(of: $0).bits }
        let again = try Trainer(model, optimizer: optimizer)
        for (parameter, bits) in zip(adapter.parameters, values) {
            adapter.setValues(bits.map { Float(bitPattern: $0) }, of: parameter)
        }
        try again.loadState(from: directory.path + "/state")
        try again.step(batch)
        #expect(adapter.parameters.map { adapter.values(of: $0).bits } == after)
    }

    @Test func aTrainerTrainsTheAdapterItWasMadeFor() throws {
        let model = try RandomModel().model()
        let batch = try randomBatch([14, 9], vocabulary: 150, seed: 3)
        try model.addAdapter(name: "a")
        let trainer = try Trainer(model)
        try model.addAdapter(name: "b")
        #expect(model.adapterNames == ["a", "b"])
        #expect(model.activeAdapter == "b")
        #expect { try trainer.step(batch) } throws: { "\($0)".contains("adapter 'a' set, and now adapter 'b' is") }
        #expect(throws: QwenSFTError.self) { try trainer.evaluate(batch) }
        try model.setAdapter("a")
        try trainer.step(batch)
        try model.deleteAdapter("a")
        #expect(model.activeAdapter == nil)
        #expect { try trainer.step(batch) } throws: { "\($0)".contains("now no adapter is") }
        #expect { try model.setAdapter("a") } throws: { "\($0)".contains("no adapter 'a' ('b')") }
        #expect(throws: QwenSFTError.self) { try model.addAdapter(name: "b") }
        #expect(throws: QwenSFTError.self) { try model.addAdapter(name: "../x") }
    }

    /// The loss with dropout, at the same draw: its change along the gradient is the square of the gradient's norm.
    @Test func gradientsWithDropout() throws {
        let (model, adapter, _) = try Self.adapted(
            Case(testDescription: "dropout", change: { $0.dropout = 0.3 }, adapted: 14))
        let batch = try randomBatch([14, 9, 17], vocabulary: 150, seed: 3)
        let start = adapter.parameters.map { adapter.values(of: $0) }
        for recomputation in [false, true] {
            var options = TrainerOptions()
            options.recomputation = recomputation
            func loss(at step: Float, along direction: [[Float]]) throws -> Double {
                for (index, parameter) in adapter.parameters.enumerated() {
                    adapter.setValues(
                        zip(start[index], direction[index]).map { $0 + step * $1 }, of: parameter)
                }
                return try Trainer(model, optimizer: .sgd(SGD(learningRate: 0)), options: options).step(batch).loss
            }
            let gradient = try Trainer(model, options: options).gradients(batch)
            let squares = gradient.reduce(0.0) { $0 + $1.reduce(0.0) { $0 + Double($1) * Double($1) } }
            let step: Float = 0.01
            let slope = try (loss(at: step, along: gradient) - loss(at: -step, along: gradient)) / Double(2 * step)
            // Measured 4e-5; the third derivative and float32 losses.
            #expect(abs(slope / squares - 1) < 5e-4)
            let dropped = try loss(at: 0, along: gradient)
            #expect(abs(dropped / (try Trainer(model).evaluate(batch).loss) - 1) > 1e-4)
        }
    }

    @Test func dropoutDropsAsOftenAsAsked() {
        let compute = Compute()
        var x = [Float](repeating: 1, count: 64 * 1001)
        var y = x
        let mean = x.withUnsafeMutableBufferPointer { x in
            y.withUnsafeMutableBufferPointer { y in
                Dropout.apply(
                    MutableMatrix(y.baseAddress!, rows: 64, columns: 1001),
                    Matrix(x.baseAddress!, rows: 64, columns: 1001), rate: 0.25, key: 3, compute: compute)
                #expect(y.allSatisfy { $0 == 0 || $0 == Float(1 / 0.75) })
                return y.reduce(0, +) / Float(y.count)
            }
        }
        // Five standard deviations.
        #expect(abs(mean - 1) < 5 * (0.25 / 0.75 / 64064).squareRoot())
    }

    @Test func badValuesAreNamed() throws {
        let model = try RandomModel().model()
        func expect(_ name: String, _ change: (inout LoRAConfiguration) -> Void) {
            var configuration = LoRAConfiguration()
            change(&configuration)
            #expect { try model.addAdapter(configuration) } throws: { "\($0)".contains(name) }
        }
        expect("r must be from 1") { $0.rank = 0 }
        expect("lora_alpha must be") { $0.alpha = .nan }
        expect("lora_dropout must be") { $0.dropout = 1 }
        expect("target_modules") { $0.targets = .names(["lm_head"]) }
        #expect(model.adapterNames.isEmpty)
    }
}
