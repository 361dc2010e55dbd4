import Foundation
import QwenSFTCore
import Testing

/// Adapters with rows of their own for a few tokens: what training, switching, cloning and files make of them.
@Suite(.serialized, .processWide) struct TokenRowsTests {
    private static let tokens = [7, 3, 149]
    private static let delta = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
    private let batch: Batch
    private let ids: [Int64]

    init() throws {
        batch = try randomBatch([14, 9, 17], vocabulary: 150, seed: 3)
        ids = [3, 1, 4, 7, 149, 5, 3, 2]
    }

    private func adapted(_ model: Model, name: String = "default") throws -> Adapter {
        var configuration = LoRAConfiguration()
        configuration.trainableTokens = Self.tokens
        return try model.addAdapter(configuration, name: name)
    }

    private func logits(_ model: Model) throws -> [Float] { try model.forward(ids, rows: 1, columns: ids.count) }

    /// Rows begin as the base's, whatever it is kept in, and only these rows move.
    @Test(arguments: [nil] + Quantization.allCases.map(Optional.some), [true, false])
    func rowsBeginAsTheBases(_ quantization: Quantization?, tied: Bool) throws {
        let directory = try TestDirectory()
        try RandomModel(hidden: 80, headDimension: 20, tied: tied).write(to: directory)
        let model = try Model(directory: directory.path, dtype: .bfloat16, quantization: quantization)
        let before = try logits(model)
        let adapter = try adapted(model)
        let rows = try #require(adapter.parameters.last)
        #expect(rows.name == Self.delta && rows.shape == [3, 80])
        let embedding = try model.values(of: model.parameter(named: "model.embed_tokens.weight"))
        #expect(adapter.values(of: rows) == Self.tokens.flatMap { embedding[$0 * 80..<($0 + 1) * 80] })
        // The columns of these tokens are a product in float32, and the others' rounds.
        let after = try logits(model)
        #expect(worst(after, before.doubles) < 2e-2)
        let trainer = try Trainer(model, optimizer: .adamW(AdamW(learningRate: 0.01)))
        let first = try trainer.step(batch).loss
        for _ in 0..<20 { try trainer.step(batch) }
        #expect(try trainer.evaluate(batch).loss < 0.9 * first)
        #expect(adapter.values(of: rows) != Self.tokens.flatMap { embedding[$0 * 80..<($0 + 1) * 80] })
        #expect(try model.values(of: model.parameter(named: "model.embed_tokens.weight")) == embedding)
        try model.setAdapter(nil)
        #expect(try logits(model).bits == before.bits)
    }

    /// One token after the other, and several at once as in a prompt.
    @Test(arguments: [true, false]) func decodesAsForwardDoes(tied: Bool) throws {
        let model = try RandomModel(tied: tied).model()
        let adapter = try adapted(model)
        var noise = Noise(4)
        for parameter in adapter.parameters { adapter.setValues(noise.floats(parameter.count), of: parameter) }
        let expected = try logits(model).suffix(150).map(Double.init)
        let ids = ids.map { Int32($0) }
        for pieces in [ids.map { [$0] }, [ids], [Array(ids.prefix(3)), Array(ids.dropFirst(3))]] {
            #expect(worst(try model.cachedLogits(pieces), expected) < 1e-5)
        }
    }

    /// The state of a trainer, and the adapter's own files, are enough to go on bit for bit.
    @Test(arguments: [
        Optimizer.sgd(SGD(learningRate: 0.1, momentum: 0.9)), .adamW(AdamW(learningRate: 0.01, stateBits: 8)),
    ])
    func goesOnFromFiles(_ optimizer: Optimizer) throws {
        let directory = try TestDirectory()
        let model = try RandomModel().model()
        let adapter = try adapted(model)
        let trainer = try Trainer(model, optimizer: optimizer)
        for _ in 0..<3 { try trainer.step(batch) }
        try trainer.saveState(to: directory.path + "/state")
        try model.saveAdapter(to: directory.path + "/adapter")
        try trainer.step(batch)
        let names = try SafetensorsFile(directory.path + "/state").tensors.map(\.name)
        #expect(names.contains { $0.contains("trainable_tokens_delta") })

        let again = try RandomModel().model()
        let reread = try again.loadAdapter(directory.path + "/adapter")
        let other = try Trainer(again, optimizer: optimizer)
        try other.loadState(from: directory.path + "/state")
        try other.step(batch)
        for (a, b) in zip(adapter.parameters, reread.parameters) {
            #expect(adapter.values(of: a).bits == reread.values(of: b).bits, "\(a.name)")
        }
    }

    @Test func adaptersTakeTurnsAndClonesHaveTheirOwn() throws {
        let model = try RandomModel().model()
        let base = try logits(model)
        _ = try adapted(model, name: "a")
        for _ in 0..<5 { try Trainer(model, optimizer: .adamW(AdamW(learningRate: 0.01))).step(batch) }
        let a = try logits(model)
        try model.addAdapter(name: "b")
        #expect(try logits(model).bits == base.bits)
        try model.setAdapter("a")
        #expect(try logits(model).bits == a.bits)

        let clone = try model.clone()
        try Trainer(model, optimizer: .adamW(AdamW(learningRate: 0.01))).step(batch)
        #expect(try logits(clone).bits == a.bits)
        #expect(try logits(model).bits != a.bits)
        try clone.copyWeights(from: model)
        #expect(try logits(clone).bits == logits(model).bits)
        try model.setAdapter("b")
        try model.deleteAdapter("a")
        try model.setAdapter(nil)
        #expect(try logits(model).bits == base.bits)
    }

    /// Merged, saved and opened again; and what a bfloat16 checkpoint cannot hold is left out of it.
    @Test(arguments: [DType.float32, .bfloat16]) func mergesIntoTheCheckpoint(_ dtype: DType) throws {
        let directory = try TestDirectory()
        try RandomModel().write(to: directory)
        let model = try Model(directory: directory.path, dtype: dtype)
        let adapter = try adapted(model)
        let rows = try #require(adapter.parameters.last)
        var noise = Noise(4)
        var values = noise.floats(rows.count)
        adapter.setValues([.greatestFiniteMagnitude] + values.dropFirst(), of: rows)
        let embedding = try model.parameter(named: "model.embed_tokens.weight")
        let before = try model.values(of: embedding)
        #expect(throws: QwenSFTError.self) { try model.mergeAdapter() }
        #expect(try model.values(of: embedding) == before && model.adapterNames == ["default"])
        adapter.setValues(values, of: rows)
        let adapted = try logits(model)
        try model.mergeAdapter()
        try model.save(to: directory.path + "/merged")
        let merged = try Model(directory: directory.path + "/merged")
        #expect(worst(try logits(merged), adapted.doubles) < (dtype == .float32 ? 1e-5 : 3e-2))
        if dtype == .bfloat16 {
            values = values.map {
                Float(bitPattern: ($0.bitPattern + 0x7FFF + ($0.bitPattern >> 16 & 1)) & 0xFFFF_0000)
            }
        }
        let after = try merged.values(of: embedding)
        for (index, id) in Self.tokens.enumerated() {
            #expect(Array(after[id * 16..<(id + 1) * 16]) == Array(values[index * 16..<(index + 1) * 16]))
        }
    }

    @Test(arguments: [
        (#""trainable_token_indices": [7, 3]"#, "has shape [3, 30], this model needs [2, 30]"),
        (#""trainable_token_indices": null"#, "no rows of tokens"),
        (#""trainable_token_indices": {"lm_head": [7, 3, 130]}"#, "no rows of tokens"),
        (
            #""trainable_token_indices": {"embed_tokens": [7, 3, 130], "lm_head": [4]}"#,
            "holds no tensor 'base_model.model.lm_head"
        ),
    ])
    func damagedFilesAreRefused(_ change: String, _ message: String) throws {
        try expectRefusal(of: fixtures.appending(path: "adapters/tokens").path, with: change, message)
    }
}
