import QwenSFTCore
import Testing

@Suite struct TokenizerFilesTests {
    private func open(_ json: String, config: String? = nil) throws -> Tokenizer {
        let directory = try TestDirectory()
        try directory.write("tokenizer.json", json)
        if let config { try directory.write("tokenizer_config.json", config) }
        return try Tokenizer(directory: directory.path)
    }

    @Test func tokenizerJSON() throws {
        let tokenizer = try open(
            try TokenizerFixtures.smallTokenizerJSON(),
            config: #"{"eos_token": {"content": "<|end|>"}, "model_max_length": 1e30}"#)
        #expect(try tokenizer.encode("hello<|end|>hel") == [259, 260, 256, 75 + 33])
        #expect(tokenizer.vocabularySize == 260)
        #expect(tokenizer.count == 261)
        #expect(tokenizer.eosTokenID == 260)
        #expect(tokenizer.padTokenID == nil)
        #expect(tokenizer.modelMaxLength == Int.max)
        #expect(tokenizer.chatTemplateText == nil)
    }

    @Test func mergesAsPairs() throws {
        let tokenizer = try open(
            try TokenizerFixtures.smallTokenizerJSON(replacing: [(#""h e", "l l""#, #"["h", "e"], ["l", "l"]"#)]))
        #expect(try tokenizer.encode("hello") == [259])
    }

    @Test func addedTokensAfterNormalization() throws {
        let tokenizer = try open(
            try TokenizerFixtures.smallTokenizerJSON(
                added:
                    #"{"id": 260, "content": "é", "normalized": true}, {"id": 261, "content": "éh", "normalized": false}"#
            ))
        #expect(try tokenizer.encode("e\u{301}héh") == [260, 104, 261])
        #expect(try tokenizer.encode("éh") == [261])
        #expect(try tokenizer.encode("éh", splitSpecialTokens: true) == [0xC3, 0xA9, 104])
    }

    @Test func leftmostThenLongest() throws {
        let tokenizer = try open(
            try TokenizerFixtures.smallTokenizerJSON(
                added: ["ab", "abcd", "bcdef", "中"].enumerated().map { #"{"id": \#(260 + $0), "content": "\#($1)"}"# }
                    .joined(separator: ",")))
        #expect(try tokenizer.encode("abcdef") == [261, 101, 102])
        #expect(try tokenizer.encode("abcx中") == [260, 99, 120, 263])
        #expect(try tokenizer.encode("xbcdef") == [120, 262])
        #expect(tokenizer.decode([263, 261], skipSpecialTokens: true) == "中abcd")
    }

    @Test func canonicallyEquivalentTokensAreDifferent() throws {
        // U+212B and U+00C5 are equal as Swift strings; as tokens they are E2 84 AB and C3 85.
        let tokens = ["âĦ", "âĦ«", "Ãħ"]
        let tokenizer = try open(
            try TokenizerFixtures.smallTokenizerJSON(tokens: tokens, merges: ["â Ħ", "âĦ «", "Ã ħ"], added: ""))
        #expect(tokenizer.decode([257]).unicodeScalars.first == "\u{212B}")
        #expect(tokenizer.decode([258]).unicodeScalars.first == "\u{C5}")
        #expect(try tokenizer.encode("\u{212B}") == [258])
    }

    @Test func vocabularyAndMerges() throws {
        let directory = try TestDirectory()
        let vocabulary = TokenizerFixtures.smallVocabulary(["he", "ll"])
        var object = JSONObject()
        for (key, value) in vocabulary { object[key] = .integer(value) }
        try directory.write("vocab.json", JSONValue.object(object).serialized())
        try directory.write("merges.txt", "#version: 0.2\r\nh e\r\nl l\n\n")
        let tokenizer = try Tokenizer(directory: directory.path)
        #expect(try tokenizer.encode("hell<|im_end|>") == [256, 257, 260])
        #expect(tokenizer.count == 261)

        try directory.write("merges.txt", "#version: 0.2\nh e\nh x\n")
        expectError(.invalidFile, "merges.txt: merge 2 needs the token 'hx', which the vocabulary does not have") {
            try Tokenizer(directory: directory.path)
        }
        try directory.write("merges.txt", "#version: 0.2\nhe\n")
        expectError(.invalidFile, "merges.txt:2: merge 1, 'he', must be two tokens and a space") {
            try Tokenizer(directory: directory.path)
        }
        try directory.write("merges.txt", "h e\nh e\n")
        expectError(.invalidFile, "vocab.json: merge 2 repeats merge 1") { try Tokenizer(directory: directory.path) }
    }

    @Test func tiktoken() throws {
        let qwen2 = try TokenizerFixtures.qwen2.get()
        let directory = try TestDirectory()
        var lines: [String] = []
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        for id in 0..<Int32(20_000) {
            let bytes = qwen2.decodeBytes([id], skipSpecialTokens: false)
            var text = ""
            for start in stride(from: 0, to: bytes.count, by: 3) {
                let group = (0..<3).map { start + $0 < bytes.count ? Int(bytes[start + $0]) : 0 }
                let bits = group[0] << 16 | group[1] << 8 | group[2]
                for i in 0..<4 {
                    text.append(start * 4 / 3 + i <= bytes.count * 4 / 3 ? alphabet[bits >> (18 - 6 * i) & 63] : "=")
                }
            }
            lines.append("\(text) \(id)")
        }
        try directory.write("qwen.tiktoken", lines.joined(separator: "\n") + "\n")
        let tokenizer = try Tokenizer(directory: directory.path)
        #expect(tokenizer.vocabularySize == 20_000)
        #expect(tokenizer.tokenID(of: "<|im_start|>") == 20_001)
        let text = "Hello, world! This is a test of 12 numbers, and it's the first one.\n\nfor (int i = 0; i < 10; i++)"
        // Merges below 20,000 are the same, so texts of common tokens have the same ids.
        let expected = try qwen2.encode(text)
        if expected.allSatisfy({ $0 < 20_000 }) {
            #expect(try tokenizer.encode(text) == expected)
        } else {
            Issue.record("\(expected)")
        }

        try directory.write("qwen.tiktoken", "IQ== 0\nIg=! 1\n")
        expectError(.invalidFile, "qwen.tiktoken:2: must be a token in Base64, a space and its rank") {
            try Tokenizer(directory: directory.path)
        }
        try directory.write("qwen.tiktoken", lines.dropFirst(5).joined(separator: "\n"))
        expectError(.unsupported, "qwen.tiktoken: the byte 0x21 has no token; every byte needs one") {
            try Tokenizer(directory: directory.path)
        }
        try directory.write("other.tiktoken", "")
        expectError(.invalidFile, "\(directory.path): holds 2 .tiktoken files; which one is meant?") {
            try Tokenizer(directory: directory.path)
        }
    }

    @Test func missing() throws {
        let directory = try TestDirectory()
        expectError(
            .notFound,
            "\(directory.path): holds no tokenizer (tokenizer.json, vocab.json with merges.txt, or a .tiktoken file)"
        ) { try Tokenizer(directory: directory.path) }
        expectError(.notFound, "\(directory.path)/nowhere: no such directory") {
            try Tokenizer(directory: directory.path + "/nowhere")
        }
        try directory.write("vocab.json", "{}")
        expectError(.notFound, "\(directory.path)/merges.txt: no such file or directory") {
            try Tokenizer(directory: directory.path)
        }
    }

    struct Broken: Sendable, CustomTestStringConvertible {
        let old: String
        let new: String
        let code: QwenSFTError.Code
        let message: String
        var testDescription: String { message }
        init(_ old: String, _ new: String, _ code: QwenSFTError.Code, _ message: String) {
            (self.old, self.new, self.code, self.message) = (old, new, code, "tokenizer.json" + message)
        }
    }

    @Test(arguments: [
        Broken(#""NFC""#, #""NFKC""#, .unsupported, ": 'normalizer' is not NFC, which Qwen2 has"),
        Broken(#"{"type": "NFC"}"#, "null", .unsupported, ": 'normalizer' is not NFC, which Qwen2 has"),
        Broken(
            #"\\p{N}|"#, #"\\p{N}{1,3}|"#, .unsupported,
            ": 'pre_tokenizer' is not Qwen2's: a split by its pattern, then bytes"),
        Broken(
            #""Isolated""#, #""Removed""#, .unsupported,
            ": 'pre_tokenizer' is not Qwen2's: a split by its pattern, then bytes"),
        Broken(#""invert": false"#, #""invert": 0"#, .invalidFile, ": 'invert' must be true or false"),
        Broken(
            #""decoder": {"type": "ByteLevel"}"#, #""decoder": null"#, .unsupported,
            ": 'decoder' is not ByteLevel, which Qwen2 has"),
        Broken(
            #""post_processor": null"#, #""post_processor": {"type": "TemplateProcessing"}"#, .unsupported,
            ": 'post_processor' is not ByteLevel, which Qwen2 has"),
        Broken(#""BPE""#, #""WordPiece""#, .unsupported, ": 'type' of the model is 'WordPiece'; only BPE is supported"),
        Broken(
            #""byte_fallback": false"#, #""byte_fallback": true"#, .unsupported,
            ": 'byte_fallback' is not supported: Qwen2 has it false"),
        Broken(#""dropout": null"#, #""dropout": 0.1"#, .unsupported, ": 'dropout' is not supported"),
        Broken(#""hello": 259"#, #""hello": 258"#, .invalidFile, ": two tokens have the id 258, 'hello' is one"),
        Broken(#""hello": 259"#, #""hell": 259"#, .invalidFile, ": the token 'hell' occurs twice"),
        Broken(#""hello": 259"#, #""hello": -1"#, .invalidFile, ": -1 is no id for the token 'hello'"),
        Broken(
            #""hello": 259"#, #""hello": 99999999999"#, .invalidFile, ": 99999999999 is no id for the token 'hello'"),
        Broken(
            #""hello": 259"#, #""hel lo": 259"#, .invalidFile,
            ": the token 'hel lo' holds a character that stands for no byte"),
        Broken(
            #""hello": 259"#, #""hel你": 259"#, .invalidFile,
            ": the token 'hel你' holds a character that stands for no byte"),
        Broken(#""hello": 259"#, #""": 259"#, .invalidFile, ": the token of id 259 is empty"),
        Broken(#""!": 33, "#, "", .unsupported, ": the byte 0x21 has no token; every byte needs one"),
        Broken(
            #""hell o""#, #""hell x""#, .invalidFile,
            ": merge 4 needs the token 'hellx', which the vocabulary does not have"),
        Broken(#""hell o""#, #""l l""#, .invalidFile, ": merge 4 repeats merge 2"),
        Broken(#""hell o""#, #""hello""#, .invalidFile, ": merge 4, 'hello', must be two tokens and a space"),
        Broken(#""hell o""#, #""hell ""#, .invalidFile, ": merge 4 has a side '' that spells no bytes"),
        Broken(#""id": 260"#, #""id": 97"#, .invalidFile, ": the id 97 of the added token '<|end|>' belongs to 'a'"),
        Broken(#""id": 260, "#, "", .invalidFile, ": 'id' is missing"),
        Broken(#""content": "<|end|>""#, #""content": """#, .invalidFile, ": 'content' must not be empty"),
        Broken(
            #""normalized": false"#, #""lstrip": true"#, .unsupported,
            ": the added token '<|end|>' has lstrip, which is not supported"),
    ])
    func broken(_ broken: Broken) throws {
        let json = try TokenizerFixtures.smallTokenizerJSON(replacing: [(broken.old, broken.new)])
        expectError(broken.code, broken.message) { try open(json) }
    }

    @Test func contradictingFiles() throws {
        let json = try TokenizerFixtures.smallTokenizerJSON()
        expectError(.invalidFile, "tokenizer_config.json: 'eos_token' is '<|over|>', which is no token") {
            try open(json, config: #"{"eos_token": "<|over|>"}"#)
        }
        expectError(
            .invalidFile, "tokenizer.json: the added tokens '<|end|>' (260) and '<|end|>' (261) contradict each other"
        ) { try open(json, config: #"{"added_tokens_decoder": {"261": {"content": "<|end|>"}}}"#) }
        expectError(.unsupported, "tokenizer_config.json: 'add_bos_token' is not supported: Qwen2 has it false") {
            try open(json, config: #"{"add_bos_token": true}"#)
        }
        let more = try open(
            json, config: #"{"added_tokens_decoder": {"270": {"content": "<|more|>", "special": true}}}"#)
        #expect(try more.encode("<|more|>") == [270])
        #expect(more.decode([265, 270]) == "<|more|>")
        #expect(more.count == 262)
    }
}
