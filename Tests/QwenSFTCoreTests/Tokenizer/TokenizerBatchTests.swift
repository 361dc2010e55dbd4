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
        #expect(tokenizer.decodeBatch(try tokenizer.encodeBatch(texts)) == texts)
        expectError(.invalidArgument, "a maximum length of -1 tokens is negative") {
            try tokenizer.encodeBatch([], maxLength: -1)
        }
    }

    @Test func padding() throws {
        let batch = try tokenizer.pad([[1, 2, 3], [], [4]])
        #expect(batch.rows == 3 && batch.columns == 3)
        #expect(batch.inputIDs == [1, 2, 3, 151643, 151643, 151643, 4, 151643, 151643])
        #expect(batch.attentionMask == [1, 1, 1, 0, 0, 0, 1, 0, 0])
        // The mask goes by position: a pad token in the text is a token.
        #expect(try tokenizer.pad([[151643]], to: 2).attentionMask == [1, 0])
        expectError(.invalidArgument, "row 1 has 3 tokens, more than the 2 to pad to") {
            try tokenizer.pad([[1], [1, 2, 3]], to: 2)
        }
        expectError(.invalidArgument, "there is no row to pad") { try tokenizer.pad([]) }
    }
}
