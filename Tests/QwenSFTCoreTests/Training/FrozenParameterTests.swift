import Foundation
import QwenSFTCore
import Testing

/// Parameters that are not trained take no memory of an optimizer and no room in its file, and change nothing else.
@Suite(.serialized, .processWide) struct FrozenParameterTests {
    private static let frozen = ["*k_proj*", "*embed_tokens*", "*layers.0.*layernorm*"]

    private static func trainer(_ optimizer: Optimizer, in directory: TestDirectory) throws -> Trainer {
        let model = try Model(directory: directory.path)
        for pattern in frozen { try model.setTrainable(false, matching: pattern) }
        return try Trainer(model, optimizer: optimizer)
    }

    private static func checkpoint() throws -> TestDirectory {
        let directory = try TestDirectory()
        try RandomModel(tied: false).write(to: directory)
        return directory
    }

    private static func batch(_ seed: Int) throws -> Batch { try randomBatch([9, 4, 12], vocabulary: 150, seed: seed) }

    /// The names of a safetensors file.
    private static func header(_ bytes: [UInt8]) throws -> (json: [String: Any], data: ArraySlice<UInt8>) {
        let size = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let json = try JSONSerialization.jsonObject(with: Data(bytes[8..<8 + size])) as? [String: Any]
        return (try #require(json), bytes[(8 + size)...])
    }

    @Test(arguments: [Optimizer.adamW(AdamW(learningRate: 0.01)), .sgd(SGD(learningRate: 0.1, momentum: 0.9))])
    func takeNoRoomInAState(_ optimizer: Optimizer) throws {
        let directory = try Self.checkpoint()
        let trainer = try Self.trainer(optimizer, in: directory)
        for step in 0..<2 { try trainer.step(Self.batch(step)) }
        let path = directory.path + "/state"
        try trainer.saveState(to: path)
        let model = trainer.model
        let trained = zip(model.parameters, model.trainable).filter { $0.1 }.map { $0.0 }
        let (json, data) = try Self.header(directory.read("state"))
        #expect(trained.count < model.parameters.count)
        #expect(Set(json.keys.filter { $0.hasPrefix("first.") }) == Set(trained.map { "first." + $0.name }))

        // A file of earlier times holds zeros for the others.
        var older = json
        var bytes = Array(data)
        for parameter in model.parameters where json["first." + parameter.name] == nil {
            for moment in ["first.", "second."] where moment == "first." || optimizer.name == "AdamW" {
                let end = bytes.count + 4 * parameter.count
                older[moment + parameter.name] = [
                    "dtype": "F32", "shape": parameter.shape, "data_offsets": [bytes.count, end],
                ]
                bytes += [UInt8](repeating: 0, count: 4 * parameter.count)
            }
        }
        let text = try JSONSerialization.data(withJSONObject: older)
        _ = try directory.write("older", (0..<8).map { UInt8(text.count >> (8 * $0) & 255) } + Array(text) + bytes)

        try trainer.model.save(to: directory.path + "/trained")
        try trainer.step(Self.batch(2))
        for name in ["state", "older"] {
            let resumed = try Model(directory: directory.path + "/trained")
            for pattern in Self.frozen { try resumed.setTrainable(false, matching: pattern) }
            let again = try Trainer(resumed, optimizer: optimizer)
            try again.loadState(from: directory.path + "/" + name)
            try again.step(Self.batch(2))
            #expect(try resumed.allBits() == model.allBits(), "\(name)")
        }
    }

    /// What is let go later begins with nothing; what is frozen later keeps what it has.
    @Test func mayChangeBetweenSteps() throws {
        let directory = try Self.checkpoint()
        let trainer = try Self.trainer(.adamW(AdamW(learningRate: 0.01)), in: directory)
        let model = trainer.model
        let start = try model.allBits()
        try trainer.step(Self.batch(0))
        for (index, parameter) in model.parameters.enumerated() {
            let isSame = try model.values(of: parameter).bits == start[index]
            #expect(isSame != model.trainable[index], "\(parameter.name)")
        }
        try model.setTrainable(true, matching: "*k_proj*")
        try model.setTrainable(false, matching: "*down_proj*")
        let middle = try model.allBits()
        try trainer.step(Self.batch(1))
        for (index, parameter) in model.parameters.enumerated() {
            let isSame = try model.values(of: parameter).bits == middle[index]
            #expect(isSame != model.trainable[index], "\(parameter.name)")
        }
        try trainer.saveState(to: directory.path + "/state")
        let (json, _) = try Self.header(directory.read("state"))
        for name in ["k_proj.weight", "down_proj.weight"] {
            #expect(json.keys.contains { $0.hasPrefix("first.") && $0.hasSuffix(name) })
        }
        #expect(json["first.model.embed_tokens.weight"] == nil)
    }

    @Test func haveGradientsOfZero() throws {
        let trainer = try Self.trainer(.adamW(AdamW()), in: Self.checkpoint())
        let gradients = try trainer.gradients(Self.batch(0))
        let norms = try trainer.gradientNorms(Self.batch(0))
        for (index, isTrainable) in trainer.model.trainable.enumerated() {
            #expect((norms[index] == 0) != isTrainable)
            #expect(gradients[index].allSatisfy { $0 == 0 } != isTrainable)
        }
    }
}

extension Optimizer {
    fileprivate var name: String { if case .adamW = self { "AdamW" } else { "SGD" } }
}
