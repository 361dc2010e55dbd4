import QwenSFTCore
import Testing

/// What Qwen3 has that Qwen2 has not, in everything that can be done with a model. That the numbers are right is shown by
/// `ReferenceTests` (transformers), `ModelGradientTests` (the definition) and `DecodeTests`, which have Qwen3 models among theirs.
@Suite(.serialized, .processWide) struct Qwen3Tests {
    /// Matrices large enough for blocks of 64 weights; the heads together are wider than the residual stream.
    private static let spec = RandomModel(
        hidden: 64, intermediate: 96, heads: 4, keyValueHeads: 2, headDimension: 32, qkNorm: true, scale: 0.125)

    private static let ids: [Int32] = (0..<40).map { $0 * 37 % 150 }

    private func last(_ model: Model) throws -> [Float] {
        let all = try model.forward(Self.ids.map(Int64.init), rows: 1, columns: Self.ids.count)
        return Array(all.suffix(model.configuration.vocabularySize))
    }

    @Test func parameters() throws {
        let model = try Self.spec.model()
        let names = model.parameters.map(\.name)
        #expect(names.filter { $0.hasSuffix("bias") }.isEmpty)
        for name in ["model.layers.1.self_attn.q_norm.weight", "model.layers.1.self_attn.k_norm.weight"] {
            #expect(try model.parameter(named: name).shape == [32])
        }
        #expect(try model.parameter(named: "model.layers.0.self_attn.o_proj.weight").shape == [64, 128])
        #expect(model.parameters.reduce(0) { $0 + $1.count } == model.configuration.parameterCount)
    }

    /// Logits beside float32's, of a prompt at once and token by token, and answers of a copy.
    ///
    /// Measured, the three ways to the logits alike: 0.006 (bfloat16's rounding), 0.022, 0.038 and 0.158; twice that.
    @Test(arguments: [(Quantization.lossless, 0.012), (.int8, 0.045), (.int6, 0.077), (.int4, 0.32)])
    func quantized(_ quantization: Quantization, tolerance: Double) throws {
        let directory = try TestDirectory()
        try Self.spec.write(to: directory)
        let model = try Model(directory: directory.path, quantization: quantization)
        let expected = try last(Model(directory: directory.path, dtype: .float32))
        let pieces = [Array(Self.ids.dropLast(9))] + Self.ids.suffix(9).map { [$0] }
        #expect(worst(try last(model), expected) < tolerance)
        #expect(worst(try model.cachedLogits([Self.ids]), expected) < tolerance)
        #expect(worst(try model.cachedLogits(pieces), expected) < tolerance)
        #expect(
            try model.clone().generate(Self.ids, options: .greedy) == model.generate(Self.ids, options: .greedy))
    }

    /// A bfloat16 model trains, its norms of heads too; copies follow; a saved checkpoint is the model, and says so.
    @Test func trainedCopiedAndSaved() throws {
        let directory = try TestDirectory()
        try Self.spec.write(to: directory, as: .bfloat16)
        let model = try Model(directory: directory.path, dtype: .bfloat16)
        let norm = "model.layers.0.self_attn.q_norm.weight"
        let frozen = "model.layers.0.self_attn.k_norm.weight"
        let (before, copy) = (try model.allBits(), try model.clone())
        let kept = try model.values(named: frozen)
        try model.setTrainable(false, matching: frozen)
        let trainer = try Trainer(model, optimizer: .adamW(AdamW(learningRate: 1e-2)))
        let batch = try randomBatch([12, 30], vocabulary: 150, seed: 4)
        let first = try trainer.step(batch).loss
        for _ in 0..<5 { try trainer.step(batch) }
        #expect(try trainer.evaluate(batch).loss < first)
        #expect(try model.values(named: norm) != copy.values(named: norm))
        #expect(try model.values(named: frozen) == kept && copy.allBits() == before)

        try copy.copyWeights(from: model)
        #expect(try copy.allBits() == model.allBits())
        let target = directory.path + "/saved"
        try model.save(to: target)
        let again = try Model(directory: target, dtype: .bfloat16)
        #expect(again.configuration.modelType == "qwen3" && again.configuration.headDimension == 32)
        let stored = try SafetensorsCheckpoint(directory: target).tensors
        #expect(Set(stored.map(\.name)) == Set(model.parameters.map(\.name)))
        // Vectors are float32 in memory and bfloat16 in the file.
        for parameter in model.parameters {
            #expect(worst(try again.values(of: parameter), try model.values(of: parameter)) < 1.0 / 256)
        }
    }

    @Test func missingNorm() throws {
        let directory = try TestDirectory()
        try Self.spec.write(to: directory) { tensors in
            tensors.removeAll { $0.name.hasSuffix("1.self_attn.k_norm.weight") }
        }
        let error = #expect(throws: QwenSFTError.self) { try Model(directory: directory.path) }
        #expect(error?.message.contains("model.layers.1.self_attn.k_norm.weight") == true)
    }
}
