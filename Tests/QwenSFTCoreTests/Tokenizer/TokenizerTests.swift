import QwenSFTCore
import Testing

@Suite struct TokenizerTests {
    let tokenizer: Tokenizer

    init() throws { tokenizer = try TokenizerFixtures.qwen2.get() }

    @Test func vectorsOfLlamaCpp() throws {
        let separator = "\n__ggml_vocab_test__\n"
        var texts: [String] = []
        var rest = try TokenizerFixtures.text("tokenizer-vectors/qwen2.inp")[...]
        while let range = rest.firstRange(of: separator) {
            texts.append(String(rest[..<range.lowerBound]))
            rest = rest[range.upperBound...]
        }
        texts.append(String(rest))
        let ids = try TokenizerFixtures.text("tokenizer-vectors/qwen2.out").split(
            separator: "\n", omittingEmptySubsequences: false)
        #expect(texts.count == 47)
        for (text, line) in zip(texts, ids) {
            #expect(
                try tokenizer.encode(text) == line.split(separator: " ").map { Int32($0) }, "\(text.debugDescription)")
            #expect(tokenizer.decode(try tokenizer.encode(text)).unicodeScalars.elementsEqual(text.unicodeScalars))
        }
    }

    @Test func idsAndTextsOfHuggingFaceTokenizers() throws {
        try expectIDs(of: tokenizer, "/tokenizer-ids.json", atLeast: 1500)
    }

    @Test func qwen3() throws {
        let qwen3 = try qwen3Tokenizer()
        #expect(qwen3.count == 151669 && qwen3.vocabularySize == 151643 && qwen3.eosTokenID == 151645)
        try expectIDs(of: qwen3, "/qwen3-tokenizer/ids.json", atLeast: 100)
        #expect(try qwen3.encode("<think>") == [151667])
        #expect(qwen3.decode([151667, 151645], skipSpecialTokens: true) == "<think>")
    }

    /// A list of texts, their ids, and what the ids are decoded to without special tokens.
    private func expectIDs(of tokenizer: Tokenizer, _ file: String, atLeast count: Int) throws {
        let document = try JSONValue(contentsOf: TokenizerFixtures.directory + file)
        guard case .array(let cases) = document else {
            Issue.record("no list")
            return
        }
        #expect(cases.count > count)
        for case .array(let parts) in cases {
            guard parts.count == 3, let text = parts[0].string, case .array(let numbers) = parts[1],
                let decoded = parts[2].string
            else {
                Issue.record("no case")
                return
            }
            let expected = numbers.map { Int32($0.integer ?? -1) }
            let ids = try tokenizer.encode(text)
            #expect(ids == expected, "\(text.debugDescription)")
            #expect(tokenizer.decode(ids, skipSpecialTokens: true).unicodeScalars.elementsEqual(decoded.unicodeScalars))
        }
    }

    @Test func facts() throws {
        #expect(tokenizer.vocabularySize == 151643)
        #expect(tokenizer.count == 151646)
        #expect(tokenizer.modelMaxLength == 32768)
        #expect(tokenizer.eosTokenID == 151645)
        #expect(tokenizer.padTokenID == 151643)
        #expect(tokenizer.addedTokens.map(\.content) == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
        #expect(try tokenizer.chatTemplate().text.hasPrefix("{% for message in messages %}"))
        #expect(
            tokenizer.summary == """
                Tokenizer qwen2-tokenizer
                  vocab_size: 151643
                  model_max_length: 32768
                  special_tokens:
                    eos_token: <|im_end|>
                    pad_token: <|endoftext|>
                    additional_special_tokens: <|im_start|> <|im_end|>
                  added_tokens:
                    151643: <|endoftext|> (special)
                    151644: <|im_start|> (special)
                    151645: <|im_end|> (special)
                """)
    }

    @Test func addedTokensAreTextWhenAsked() throws {
        let text = "a<|im_start|>b"
        #expect(try tokenizer.encode(text) == [64, 151644, 65])
        let ids = try tokenizer.encode(text, splitSpecialTokens: true)
        #expect(!ids.contains(151644))
        #expect(tokenizer.decode(ids) == text)
        #expect(
            try tokenizer.encode("<|im_start|<|im_end|><|im_end|") == tokenizer.encode("<|im_start|") + [151645]
                + tokenizer.encode("<|im_end|"))
    }

    @Test func tokensAndIDs() {
        #expect(tokenizer.tokenID(of: "Ġhello") == 23811)
        #expect(tokenizer.token(of: 23811) == "Ġhello")
        #expect(tokenizer.tokenID(of: "<|im_end|>") == 151645)
        #expect(tokenizer.token(of: 151645) == "<|im_end|>")
        #expect(tokenizer.tokenID(of: " hello") == nil)
        #expect(tokenizer.tokenID(of: "") == nil)
        #expect(tokenizer.token(of: 151646) == nil)
        #expect(tokenizer.token(of: -1) == nil)
    }

    @Test func decoding() throws {
        #expect(tokenizer.decode([]) == "")
        #expect(tokenizer.decode([151646, 151935, -1, Int32.max, Int32.min]) == "")
        #expect(tokenizer.decode([151644, 9707, 151645], skipSpecialTokens: true) == "Hello")
        #expect(tokenizer.decode([151644, 9707, 151645]) == "<|im_start|>Hello<|im_end|>")
        // Half a character becomes one replacement character; a stray continuation byte one each.
        let bytes = try "你".utf8.map { try #require(tokenizer.tokenID(of: ByteSpelling.of($0))) }
        #expect(tokenizer.decode([bytes[0], bytes[1]]) == "\u{FFFD}")
        #expect(tokenizer.decode([bytes[1], bytes[1]]) == "\u{FFFD}\u{FFFD}")
        #expect(tokenizer.decode(bytes) == "你")
    }

    /// Into memory of the caller, who may have room for any text of this length, or just for the ids, or too little.
    @Test func textAsBytes() throws {
        for text in ["你好", "", "a", "<|im_start|>user\nHi", "cafe\u{301} and so on", "\u{1D160}\u{1D160}"] {
            let expected = try tokenizer.encode(text)
            for capacity in [0, 1, expected.count, expected.count + 1, text.utf8.count + 4, text.utf8.count + 100] {
                var ids = [Int32](repeating: -7, count: capacity)
                let count = try ids.withUnsafeMutableBufferPointer { (ids) throws(QwenSFTError) in
                    let ids = ids
                    return try Array(text.utf8).withUnsafeBufferPointer { (text) throws(QwenSFTError) in
                        try tokenizer.encode(utf8: text, splitSpecialTokens: false, to: ids)
                    }
                }
                #expect(count == expected.count)
                if count <= capacity {
                    #expect(ids.prefix(count) == expected[...], "\(text) to \(capacity)")
                } else {
                    #expect(ids.allSatisfy { $0 == -7 }, "too little room is left alone")
                }
            }
        }
        #expect(try tokenizer.encode("") == [])
    }

    @Test func longRunsAreNotQuadratic() throws {
        let clock = ContinuousClock()
        for unit in ["a", " ", "1", "的", "=", "한국어", "e\u{301}\u{323}", "\u{323}\u{301}", "<", "\n"] {
            let text = String(repeating: unit, count: 1_000_000 / unit.utf8.count)
            var ids: [Int32] = []
            let time = try clock.measure { ids = try tokenizer.encode(text) }
            #expect(time < .seconds(3), "\(unit.debugDescription) took \(time)")
            #expect(!ids.isEmpty)
        }
    }

    @Test func manyThreadsAtOnce() async throws {
        let texts = (0..<64).map { "Thread \($0): hello 你好 \(String(repeating: "word ", count: $0))" }
        let expected = try texts.map { try tokenizer.encode($0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask { [tokenizer] in
                    for (text, ids) in zip(texts, expected) {
                        let found = try tokenizer.encode(text)
                        #expect(found == ids)
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}

/// A byte as vocabulary files spell it.
enum ByteSpelling {
    private static let all: [Int: String] = Dictionary(
        uniqueKeysWithValues: TokenizerFixtures.smallVocabulary([]).map { ($0.value, $0.key) })

    static func of(_ byte: UInt8) -> String { all[Int(byte)] ?? "" }
}
