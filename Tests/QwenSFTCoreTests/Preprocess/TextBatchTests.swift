import QwenSFTCore
import Testing

@Suite struct TextBatchTests {
    let texts = ["Hello, world!", "", "2+2等于几", "<|im_end|>"]

    @Test func rowsAreTheTextsPaddedToTheLongest() throws {
        let tokenizer = try tinyTokenizer()
        let rows = try texts.map { try tokenizer.encode($0) }
        let batch = try Batch(texts: texts, tokenizer: tokenizer)
        #expect(batch.rows == 4 && batch.columns == rows.map(\.count).max())
        let pad = Int64(try #require(tokenizer.padTokenID))
        for (r, row) in rows.enumerated() {
            let cells = r * batch.columns..<(r + 1) * batch.columns
            let padding = batch.columns - row.count
            #expect(Array(batch.inputIDs[cells]) == row.map(Int64.init) + Array(repeating: pad, count: padding))
            #expect(batch.attentionMask[cells].reduce(0, +) == Int64(row.count))
        }
        #expect(batch.labels.allSatisfy { $0 == -100 })
    }

    @Test(arguments: [(3, 0, 1, 3), (nil, 40, 1, 40), (3, 5, 4, 8), (nil, 0, 7, 14)])
    func columns(maxLength: Int?, minColumns: Int, multiple: Int, expected: Int) throws {
        let tokenizer = try tinyTokenizer()
        let text = try tokenizer.decode(Array(tokenizer.encode("Hello, world! Hello, world! Hello, world!").prefix(9)))
        var options = TextBatchOptions()
        options.maxLength = maxLength
        options.minColumns = minColumns
        options.padToMultipleOf = multiple
        let batch = try Batch(texts: [text], tokenizer: tokenizer, options: options)
        #expect(batch.columns == expected)
        #expect(batch.attentionMask.reduce(0, +) == Int64(min(maxLength ?? 9, 9)))
    }

    @Test func addedTokensAsText() throws {
        let tokenizer = try tinyTokenizer()
        var options = TextBatchOptions()
        options.splitSpecialTokens = true
        let batch = try Batch(texts: texts, tokenizer: tokenizer, options: options)
        #expect(!batch.inputIDs.contains(Int64(try #require(tokenizer.tokenID(of: "<|im_end|>")))))
    }

    @Test func refusals() throws {
        let tokenizer = try tinyTokenizer()
        func make(_ change: (inout TextBatchOptions) -> Void) throws -> Batch {
            var options = TextBatchOptions()
            change(&options)
            return try Batch(texts: texts, tokenizer: tokenizer, options: options)
        }
        expectError(.invalidArgument, "the batch holds no text") { try Batch(texts: [], tokenizer: tokenizer) }
        expectError(.invalidArgument, "max_length is no possible number of columns") { try make { $0.maxLength = 0 } }
        expectError(.invalidArgument, "min_columns is no possible number of columns") {
            try make { $0.minColumns = -1 }
        }
        expectError(.invalidArgument, "pad_to_multiple_of is no possible number of columns") {
            try make { $0.padToMultipleOf = 0 }
        }
        expectError(.invalidArgument, "4 rows of \(Int.max) columns have no possible size") {
            try make { $0.minColumns = .max }
        }
    }
}
