import Foundation
import QwenSFTCore
import Testing

/// A base model that is taught to end its turns is to stop there, wherever it is loaded.
@Suite(.serialized, .processWide) struct LearnedStopTests {
    @Test func savedCheckpointStopsAtTheEndOfATurn() throws {
        let tiny = fixtures.deletingLastPathComponent().deletingLastPathComponent().appending(
            path: "Examples/tiny-qwen2")
        let directory = try TestDirectory()
        let base = URL(filePath: directory.path).appending(path: "base")
        try FileManager.default.copyItem(at: tiny, to: base)
        try? FileManager.default.removeItem(at: base.appending(path: "make"))
        let generation = base.appending(path: "generation_config.json")
        try #"{"eos_token_id": 0}"#.write(to: generation, atomically: true, encoding: .utf8)

        let tokenizer = try Tokenizer(directory: base.path)
        let end = try #require(tokenizer.tokenID(of: "<|im_end|>"))
        let model = try Model(directory: base.path)
        #expect(model.generationDefaults.eosTokenIDs == [0])
        let saved = directory.path + "/saved"
        try model.save(to: saved)
        #expect(try Model(directory: saved).generationDefaults.eosTokenIDs == [0])

        let batch = try Batch(
            [[Message(role: "user", content: "a"), Message(role: "assistant", content: "b")]], tokenizer: tokenizer)
        try Trainer(model).step(batch)
        try model.save(to: saved)
        #expect(try Model(directory: saved).generationDefaults.eosTokenIDs == [0, end])
    }
}
