import QwenSFTCore
import Testing

@Suite(.processWide) struct TokenizerFilesTests {
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
        #expect(tokenizer.chatTemplateNames.isEmpty)
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
        let long = "\n" + String(repeating: "QUFB", count: 400) + " 20000\n"
        try directory.write("qwen.tiktoken", lines.joined(separator: "\n") + long)
        expectError(
            .unsupported, "qwen.tiktoken: the token of rank 20000 has 1200 bytes, more than any token"
        ) { try Tokenizer(directory: directory.path) }
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
        expectError(.notFound, "\(directory.path)/nowhere: no such file or directory") {
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
        Broken(#""NFC""#, #""NFKC""#, .unsupported, ": 'normalizer' is NFKC, not NFC, which Qwen2 has"),
        Broken(#"{"type": "NFC"}"#, "null", .unsupported, ": 'normalizer' is nothing, not NFC, which Qwen2 has"),
        Broken(
            #"{"type": "NFC"}"#, #"{"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}"#,
            .unsupported, ": 'normalizer' is NFC and Lowercase, not NFC, which Qwen2 has"),
        Broken(
            #"{"type": "NFC"}"#, #"{"type": "Sequence", "normalizers": []}"#, .unsupported,
            ": 'normalizer' is nothing, not NFC, which Qwen2 has"),
        Broken(
            #"{"type": "NFC"}"#, #"{"type": "Sequence", "normalizers": {}}"#, .invalidFile,
            ": 'normalizer.normalizers' must be a list"),
        Broken(
            #"\\p{N}|"#, #"\\p{N}{1,3}|"#, .unsupported,
            ": 'pre_tokenizer' is Split and ByteLevel, not Qwen2's: a split by its pattern, then bytes"),
        Broken(
            #""Isolated""#, #""Removed""#, .unsupported,
            ": 'pre_tokenizer' is Split and ByteLevel, not Qwen2's: a split by its pattern, then bytes"),
        Broken(#""invert": false"#, #""invert": 0"#, .invalidFile, ": 'invert' must be true or false"),
        Broken(
            #""decoder": {"type": "ByteLevel"}"#, #""decoder": null"#, .unsupported,
            ": 'decoder' is nothing, not ByteLevel, which Qwen2 has"),
        Broken(
            #""post_processor": null"#, #""post_processor": {"type": "TemplateProcessing"}"#, .unsupported,
            ": 'post_processor' is TemplateProcessing, which adds tokens; Qwen2 has ByteLevel, which does not"),
        Broken(
            #""post_processor": null"#,
            #""post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}]}"#,
            .unsupported,
            ": 'post_processor' is ByteLevel and TemplateProcessing, which adds tokens; Qwen2 has ByteLevel, which does not"
        ),
        Broken(
            #""use_regex": false"#, #""use_regex": true"#, .unsupported,
            ": 'pre_tokenizer' is Split and ByteLevel, not Qwen2's: a split by its pattern, then bytes"),
        Broken(
            #""add_prefix_space": false"#, #""add_prefix_space": true"#, .unsupported,
            ": 'pre_tokenizer' is Split and ByteLevel, not Qwen2's: a split by its pattern, then bytes"),
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

    /// The ways to write Qwen2's pipeline that change no id.
    @Test(arguments: [
        (#"{"type": "NFC"}"#, #"{"type": "Sequence", "normalizers": [{"type": "NFC"}]}"#),
        (
            #"{"type": "NFC"}"#,
            #"{"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [{"type": "NFC"}]}]}"#
        ),
        (
            #""decoder": {"type": "ByteLevel"}"#,
            #""decoder": {"type": "Sequence", "decoders": [{"type": "ByteLevel"}]}"#
        ),
        (
            #""decoder": {"type": "ByteLevel"}"#,
            #""decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}"#
        ),
        (
            #""post_processor": null"#,
            #""post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true}"#
        ),
        (
            #""post_processor": null"#,
            #""post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel", "trim_offsets": false}]}"#
        ),
        (#""post_processor": null"#, #""post_processor": {"type": "Sequence", "processors": []}"#),
        (
            #""post_processor": null"#,
            #""post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}}"#
        ),
        (#""pretokenizers": ["#, #""pretokenizers": [{"type": "Sequence", "pretokenizers": []}, "#),
        (#""trim_offsets": false"#, #""trim_offsets": true"#), (#""unk_token": null"#, #""unk_token": "<|end|>""#),
        (#""version": "1.0""#, #""version": "1.0", "truncation": null, "padding": {"strategy": "BatchLongest"}"#),
    ])
    func variants(old: String, new: String) throws {
        let tokenizer = try open(
            try TokenizerFixtures.smallTokenizerJSON(replacing: [(old, new)]))
        #expect(try tokenizer.encode("e\u{301}hello<|end|>hel") == [0xC3, 0xA9, 259, 260, 256, 75 + 33])
    }

    // MARK: Older layouts

    /// A directory with vocab.json of the 256 bytes, "he" and "ll" (256, 257) and `more`.
    private func older(_ files: [String: String], more: [String: Int] = [:]) throws -> Tokenizer {
        let directory = try TestDirectory()
        var object = JSONObject()
        for (key, value) in TokenizerFixtures.smallVocabulary(["he", "ll"]) { object[key] = .integer(value) }
        for (key, value) in more { object[key] = .integer(value) }
        try directory.write("vocab.json", JSONValue.object(object).serialized())
        try directory.write("merges.txt", "#version: 0.2\nh e\nl l\n")
        for (name, text) in files { try directory.write(name, text) }
        return try Tokenizer(directory: directory.path)
    }

    @Test func addedTokensFile() throws {
        let added = #"{"<|im_end|>": 262, "<|im_start|>": 261, "<|endoftext|>": 259, "<pad>": 270, "<é>": 271}"#
        let map = """
            {"eos_token": {"content": "<|im_end|>", "lstrip": false}, "pad_token": "<pad>",
             "additional_special_tokens": ["<|im_start|>", {"content": "<|im_end|>"}]}
            """
        let tokenizer = try older([
            "added_tokens.json": added, "special_tokens_map.json": map,
            "tokenizer_config.json": #"{"eos_token": "<|endoftext|>", "model_max_length": 99}"#,
        ])
        #expect(
            tokenizer.addedTokens == [
                AddedToken(id: 259, content: "<|endoftext|>", isSpecial: true),
                AddedToken(id: 261, content: "<|im_start|>", isSpecial: true),
                AddedToken(id: 262, content: "<|im_end|>", isSpecial: true),
                AddedToken(id: 270, content: "<pad>", isSpecial: true),
                AddedToken(id: 271, content: "<é>", isSpecial: false, isNormalized: true),
            ])
        #expect(try tokenizer.encode("<|im_start|>he<|im_end|><pad><e\u{301}>") == [261, 256, 262, 270, 271])
        #expect(tokenizer.eosTokenID == 262 && tokenizer.padTokenID == 270 && tokenizer.modelMaxLength == 99)
        #expect(tokenizer.decode([261, 256, 271], skipSpecialTokens: true) == "he<é>")
        #expect(try tokenizer.applyChatTemplate([Message(role: "user", content: "he")]).first == 261)
    }

    @Test func addedTokensFileBesideTokenizerJSON() throws {
        let directory = try TestDirectory()
        try directory.write("tokenizer.json", TokenizerFixtures.smallTokenizerJSON())
        try directory.write("added_tokens.json", #"{"<|end|>": 999, "<|more|>": 262}"#)
        let tokenizer = try Tokenizer(directory: directory.path)
        #expect(try tokenizer.encode("<|end|><|more|>") == [260, 262])
        // tokenizer_config.json describes the added tokens completely, where it does.
        try directory.write(
            "tokenizer_config.json",
            #"{"added_tokens_decoder": {"260": {"content": "<|end|>", "special": true}}, "eos_token": "<|end|>"}"#)
        try directory.write("special_tokens_map.json", #"{"eos_token": "a"}"#)
        let newer = try Tokenizer(directory: directory.path)
        #expect(try newer.encode("<|end|>") == [260])
        #expect(newer.addedTokens.count == 1 && newer.eosTokenID == 260)
    }

    @Test(arguments: [
        (#"{"<|x|>": -1}"#, "added_tokens.json: '<|x|>' must be an id"),
        (#"{"<|x|>": "260"}"#, "added_tokens.json: '<|x|>' must be an id"),
        (#"{"<|x|>": 99999999999}"#, "added_tokens.json: '<|x|>' must be an id"),
        (#"[1]"#, "added_tokens.json: the document must be an object"),
        (#"{"<|x|>": 97}"#, "vocab.json: the id 97 of the added token '<|x|>' belongs to 'a'"),
        (#"{"he": 300}"#, "vocab.json: the added token 'he' has the id 300, and in the vocabulary 256"),
        (
            #"{"<|x|>": 300, "<|y|>": 300}"#,
            "vocab.json: the added tokens '<|x|>' (300) and '<|y|>' (300) contradict each other"
        ),
    ])
    func brokenAddedTokensFile(text: String, message: String) {
        expectError(.invalidFile, message) { try older(["added_tokens.json": text]) }
    }

    /// Control tokens that stand in the vocabulary itself keep their ids, and are matched as wholes.
    @Test func controlTokensInTheVocabulary() throws {
        let tokenizer = try older(
            ["tokenizer_config.json": #"{"eos_token": "<|im_end|>", "pad_token": "<|pad|>"}"#],
            more: ["<|endoftext|>": 258, "<|im_end|>": 259, "<|pad|>": 260])
        #expect(try tokenizer.encode("<|endoftext|><|im_end|><|im_start|><|pad|>") == [258, 259, 261, 260])
        #expect(tokenizer.eosTokenID == 259 && tokenizer.padTokenID == 260)
        #expect(tokenizer.vocabularySize == 261 && tokenizer.count == 262)
    }

    @Test(arguments: [
        (#"{"pad_token": "[PAD]"}"#, ["'pad_token' is '[PAD]', which is no token; it is not used"]),
        (
            #"{"pad_token": {"content": "[PAD]"}, "eos_token": "<|over|>"}"#,
            [
                "'eos_token' is '<|over|>', which is no token; it is not used",
                "'pad_token' is '[PAD]', which is no token; it is not used",
            ]
        ),
        (
            #"{"extra_special_tokens": {"image_token": "<|image|>"}}"#,
            ["'additional_special_tokens' is '<|image|>', which is no token; it is not used"]
        ),
        (#"{"pad_token": null, "eos_token": "<|end|>", "extra_special_tokens": ["<|end|>"]}"#, []),
        (#"{"add_eos_token": true}"#, ["'add_eos_token' is true; texts are encoded without an end"]),
    ])
    func tokensOutsideTheVocabulary(config: String, expected: [String]) throws {
        let (tokenizer, warnings) = try catchingWarnings {
            try open(try TokenizerFixtures.smallTokenizerJSON(), config: config)
        }
        #expect(warnings == expected.map { "tokenizer_config.json: " + $0 })
        #expect(tokenizer.padTokenID == nil)
        #expect(try tokenizer.encode("[PAD]") == Array("[PAD]".utf8).map(Int32.init))
    }
}
