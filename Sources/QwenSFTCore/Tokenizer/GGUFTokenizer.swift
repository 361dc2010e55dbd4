/// The tokenizer of a GGUF file as the files that a checkpoint directory has: tokenizer.json and tokenizer_config.json. They are what
/// it is opened from, and what a saved checkpoint gets.
enum GGUFTokenizer {
    static let prefix = GGUFKeys.tokenizer
    static let tokensKey = GGUFKeys.tokens
    static let template = "tokenizer.chat_template"
    static let templates = "tokenizer.chat_templates"

    /// Kinds of tokens, as llama.cpp numbers them.
    enum Kind: Int {
        case normal = 1
        case unknown, control, userDefined, unused, byte
    }

    /// Keys of ids, and what tokenizer_config.json calls their tokens.
    static let specialTokens = [
        (key: "eos_token_id", name: "eos_token"), ("padding_token_id", "pad_token"), ("unknown_token_id", "unk_token"),
        ("seperator_token_id", "sep_token"), ("cls_token_id", "cls_token"), ("mask_token_id", "mask_token"),
    ]

    /// Pre-tokenizers that split as Qwen2's does.
    private static let knownSplits: Set<String> = ["qwen2", "deepseek-r1-qwen", "megrez"]

    /// - Throws: `unsupported` for another kind of tokenizer, `invalidFile` for one that contradicts itself.
    static func files(_ gguf: GGUFFile) throws(QwenSFTError) -> [MemoryFile] {
        let tokens = try Tokens(gguf)
        let configuration = try configuration(gguf, tokens)
        return [
            MemoryFile(
                "tokenizer.json", shownName: gguf.name,
                try FileContents(tokenizerJSON(gguf, tokens), path: gguf.file.path)),
            MemoryFile(
                TokenizerConfiguration.fileName, shownName: gguf.name,
                try FileContents(
                    JSONValue.object(configuration).serialized(indented: true), path: gguf.file.path)),
        ]
    }

    /// The tokens by id, and which of them are added ones.
    private struct Tokens {
        let texts: ByteTexts
        let kinds: [Kind]

        init(_ gguf: GGUFFile) throws(QwenSFTError) {
            guard let model = try gguf.string(prefix + "model") else { throw gguf.missing(prefix + "model") }
            guard model == "gpt2" else {
                throw gguf.unsupported(prefix + "model", "is '\(printable(model))'; Qwen2's is 'gpt2'")
            }
            if let split = try gguf.string(prefix + "pre") {
                guard knownSplits.contains(split) else {
                    throw gguf.unsupported(prefix + "pre", "is '\(printable(split))'; Qwen2's is 'qwen2'")
                }
            } else {
                Warnings.send("\(gguf.name): '\(prefix)pre' is missing; texts are split as Qwen2's tokenizer does")
            }
            for key in ["add_space_prefix", "normalizer_lowercase", "normalizer_strip_accents"]
            where try gguf.bool(prefix + key) == true {
                throw gguf.unsupported(prefix + key, "is not supported: Qwen2 has it false")
            }
            guard let texts = try gguf.strings(tokensKey) else { throw gguf.missing(tokensKey) }
            guard let numbers = gguf.value(prefix + "token_type") else { throw gguf.missing(prefix + "token_type") }
            guard let numbers = numbers.integers, numbers.count == texts.count else {
                throw gguf.wrong(prefix + "token_type", "must have an integer for every token")
            }
            guard texts.count <= Vocabulary.idLimit else {
                throw gguf.unsupported(tokensKey, "has \(texts.count) tokens, more than can be numbered")
            }
            self.texts = texts
            var kinds: [Kind] = []
            for (id, number) in numbers.enumerated() {
                guard let kind = Kind(rawValue: number) else {
                    throw gguf.wrong(prefix + "token_type", "is \(number) for the token \(id)")
                }
                guard kind != .unknown, kind != .byte else {
                    throw gguf.unsupported(
                        prefix + "token_type",
                        "is \(number) for the token \(id); a byte-level vocabulary has no such tokens")
                }
                kinds.append(kind)
            }
            self.kinds = kinds
        }

        func text(_ id: Int) -> String { String(decoding: texts[id], as: UTF8.self) }

        /// Added tokens as both files list them.
        var added: [(id: Int, object: JSONObject)] {
            kinds.indices.filter { kinds[$0] == .control || kinds[$0] == .userDefined }.map { id in
                var token = JSONObject()
                token["content"] = .string(text(id))
                for option in ["single_word", "lstrip", "rstrip", "normalized"] { token[option] = .bool(false) }
                token["special"] = .bool(kinds[id] == .control)
                return (id, token)
            }
        }
    }

    /// Written by hand, as it is long: the rest is what `requireQwen2Pipeline` asks for.
    private static func tokenizerJSON(_ gguf: GGUFFile, _ tokens: Tokens) throws(QwenSFTError) -> [UInt8] {
        guard let merges = try gguf.strings(prefix + "merges") else { throw gguf.missing(prefix + "merges") }
        var json: [UInt8] = []
        try json.makeRoom(for: 2 * (tokens.texts.byteCount + merges.byteCount) + (1 << 20), purpose: gguf.name)
        let added = tokens.added.map { id, object in
            var token = JSONObject()
            token["id"] = .integer(id)
            for (key, value) in object.members { token[key] = value }
            return JSONValue.object(token)
        }
        json += #"{"version":"1.0","truncation":null,"padding":null,"added_tokens":"#.utf8
        json += JSONValue.array(added).serialized()
        let bytes = #""add_prefix_space":false,"trim_offsets":false,"use_regex":false}"#
        json += #","normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":["#.utf8
        json += #"{"type":"Split","pattern":{"Regex":"#.utf8
        JSONValue.write(PreTokenizer.pattern.utf8, into: &json)
        json += #"},"behavior":"Isolated","invert":false},{"type":"ByteLevel",\#(bytes)]}"#.utf8
        for part in ["post_processor", "decoder"] { json += #","\#(part)":{"type":"ByteLevel",\#(bytes)"#.utf8 }
        json += #","model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":"","#.utf8
        json += #""end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{"#.utf8
        var isFirst = true
        for (id, kind) in tokens.kinds.enumerated() where kind == .normal {
            try json.makeRoom(for: 6 * tokens.texts[id].count + 32, purpose: gguf.name)
            if !isFirst { json.append(UInt8(ascii: ",")) }
            isFirst = false
            JSONValue.write(tokens.texts[id], into: &json)
            json.append(UInt8(ascii: ":"))
            json += String(id).utf8
        }
        json += #"},"merges":["#.utf8
        for index in 0..<merges.count {
            try json.makeRoom(for: 6 * merges[index].count + 32, purpose: gguf.name)
            if index > 0 { json.append(UInt8(ascii: ",")) }
            JSONValue.write(merges[index], into: &json)
        }
        json += "]}}".utf8
        return json
    }

    private static func configuration(_ gguf: GGUFFile, _ tokens: Tokens) throws(QwenSFTError) -> JSONObject {
        var document = JSONObject()
        for option in ["add_bos_token", "add_eos_token"] {
            document[option] = .bool(try gguf.bool(prefix + option) ?? false)
        }
        document["add_prefix_space"] = .bool(false)
        var decoder = JSONObject()
        for (id, token) in tokens.added { decoder[String(id)] = .object(token) }
        document["added_tokens_decoder"] = .object(decoder)
        document["bos_token"] = .null
        for (key, name) in specialTokens {
            guard let id = try gguf.integer(prefix + key) else { continue }
            guard tokens.kinds.indices.contains(id) else {
                throw gguf.wrong(prefix + key, "is \(id), which is no token")
            }
            if tokens.kinds[id] == .control || tokens.kinds[id] == .userDefined {
                document[name] = .string(tokens.text(id))
            } else {
                Warnings.send("\(gguf.name): '\(prefix + key)' is \(id), which is an ordinary token; it is not used")
            }
        }
        if let template = try templates(gguf) { document["chat_template"] = template }
        document["clean_up_tokenization_spaces"] = .bool(false)
        document["errors"] = .string("replace")
        if let architecture = try gguf.string("general.architecture"),
            let length = try gguf.integer(architecture + ".context_length")
        {
            document["model_max_length"] = .integer(length)
        }
        document["split_special_tokens"] = .bool(false)
        document["tokenizer_class"] = .string("Qwen2Tokenizer")
        return document
    }

    /// One template as its text, several as a list by name; nil where there is none.
    private static func templates(_ gguf: GGUFFile) throws(QwenSFTError) -> JSONValue? {
        let text = try gguf.string(template)
        guard let names = try gguf.strings(templates), names.count > 0 else { return text.map { JSONValue.string($0) } }
        var list: [JSONValue] = []
        func add(_ name: String, _ text: String) {
            var object = JSONObject()
            object["name"] = .string(name)
            object["template"] = .string(text)
            list.append(.object(object))
        }
        if let text { add("default", text) }
        for index in 0..<names.count {
            let name = String(decoding: names[index], as: UTF8.self)
            guard let text = try gguf.string(template + "." + name) else { throw gguf.missing(template + "." + name) }
            add(name, text)
        }
        return .array(list)
    }
}
