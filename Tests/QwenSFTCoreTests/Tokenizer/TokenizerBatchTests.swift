import QwenSFTCore
import Testing

@Suite struct TokenizerBatchTests {
    let tokenizer: Tokenizer

    init() throws { tokenizer = try TokenizerFixtures.qwen2.get() }

    @Test func batchesAreTheirTexts() throws {
        let texts = (0..<300).map { "Text \($0) " + String(repeating: "naïve 你好 🦙 ", count: $0 % 40) }
        #expect(try tokenizer.encodeBatch(texts) == texts.map { try tokenizer.encode($0) })
        #expect(try tokenizer.encodeBatch([]) == [])
        let cut = try tokenizer.encodeBatch(texts, maxLength: 5)
        #expect(try cut == texts.map { Array(try tokenizer.encode($0).prefix(5)) })
        #expect(try tokenizer.encodeBatch(["<|im_end|>"], splitSpecialTokens: true)[0].count > 1)
        expectError(.invalidArgument, "a maximum length of -1 tokens is negative") {
            try tokenizer.encodeBatch([], maxLength: -1)
        }
    }
}
