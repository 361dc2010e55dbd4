/// What tokenizer_config.json says (with special_tokens_map.json, added_tokens.json and chat_template.jinja): everything about a
/// tokenizer but its tables.
struct TokenizerConfiguration {
    /// `Int.max` where the files give no limit.
    var modelMaxLength = Int.max
    /// Special tokens by their keys, "eos_token", and those that have no key of their own under `additionalKey`; with the file
    /// that names them.
    var specialTokens: [(key: String, content: String, file: String)] = []
    /// Where they are listed.
    var addedTokens: AddedTokens = .nowhere
    /// Chat templates by name; the one that is used unless another is asked for is called "default".
    private(set) var chatTemplates: [(key: String, file: String, text: String)] = []

    enum AddedTokens {
        case nowhere
        /// In tokenizer_config.json, which describes them completely.
        case configuration([AddedToken])
        /// In added_tokens.json, as older checkpoints have them.
        case file([AddedToken])

        var tokens: [AddedToken] {
            switch self {
            case .nowhere: []
            case .configuration(let tokens), .file(let tokens): tokens
            }
        }
    }

    static let fileName = "tokenizer_config.json"
    static let additionalKey = "additional_special_tokens"
    private static let keys = [
        "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    ]

    var eosToken: String? { specialTokens.first { $0.key == "eos_token" }?.content }
    var padToken: String? { specialTokens.first { $0.key == "pad_token" }?.content }
    var additionalSpecialTokens: [String] {
        specialTokens.filter { $0.key == Self.additionalKey }.map(\.content)
    }

    init(_ files: NamedFiles) throws(QwenSFTError) {
        if let fields = try files.fields(Self.fileName) { try read(fields) }
        if case .nowhere = addedTokens { try readOlderFiles(files) }
        let name = "chat_template.jinja"
        if let text = try files.text(name) { add("default", name, text) }
        guard case .directory(let directory) = files else { return }
        let more = joinPath(directory, "additional_chat_templates")
        guard try fileKind(more) == .directory else { return }
        for name in try listDirectory(more) where name.hasSuffix(".jinja") {
            guard let text = try NamedFiles.directory(more).text(name) else { continue }
            add(String(name.dropLast(".jinja".count)), name, text)
        }
    }

    /// A file of its own goes before what tokenizer_config.json says.
    private mutating func add(_ key: String, _ file: String, _ text: String) {
        chatTemplates.removeAll { $0.key == key }
        chatTemplates.append((key, file, text))
    }

    private mutating func read(_ fields: JSONFields) throws(QwenSFTError) {
        for option in ["add_bos_token", "add_prefix_space"] where try fields.bool(option) == true {
            throw fields.unsupported(option, "is not supported: Qwen2 has it false")
        }
        if try fields.bool("add_eos_token") == true {
            Warnings.send("\(fields.file): 'add_eos_token' is true; texts are encoded without an end")
        }
        if let value = fields.value("model_max_length") {
            guard let length = value.double, length >= 1 else {
                throw fields.wrong("model_max_length", "must be a positive number")
            }
            // transformers writes 10³⁰ for "no limit".
            modelMaxLength = length < 1e15 ? Int(length) : Int.max
        }
        try readSpecialTokens(fields)
        if let decoder = try fields.object("added_tokens_decoder") {
            var tokens: [AddedToken] = []
            for (key, _) in decoder.object.members {
                guard let id = Int(key), let token = try decoder.object(key) else {
                    throw decoder.wrong(key, "must be an id with a token")
                }
                tokens.append(try AddedToken(token, id: id))
            }
            addedTokens = .configuration(tokens)
        }
        switch fields.value("chat_template") {
        case nil: break
        case .string(let text)?: add("default", fields.file, text)
        case .array(let templates)?:
            for template in templates {
                guard case .object(let object) = template, let name = object["name"]?.string,
                    let text = object["template"]?.string
                else { throw fields.wrong("chat_template", "must be a text or a list of named texts") }
                add(name, fields.file, text)
            }
        default: throw fields.wrong("chat_template", "must be a text or a list of named texts")
        }
    }

    /// special_tokens_map.json and added_tokens.json. As in transformers they count where tokenizer_config.json does not list the
    /// added tokens, and what the first one says goes before what tokenizer_config.json says.
    private mutating func readOlderFiles(_ files: NamedFiles) throws(QwenSFTError) {
        if let map = try files.fields("special_tokens_map.json") { try readSpecialTokens(map) }
        guard let fields = try files.fields("added_tokens.json") else { return }
        let special = Set(specialTokens.map { Array($0.content.utf8) } + [Array("<|endoftext|>".utf8)])
        var tokens: [AddedToken] = []
        for (content, value) in fields.object.members {
            guard let id = value.integer, id >= 0, id < Vocabulary.idLimit else {
                throw fields.wrong(printable(content), "must be an id")
            }
            if content.isEmpty { throw fields.wrong("", "is no token") }
            let isSpecial = special.contains(Array(content.utf8))
            tokens.append(
                AddedToken(id: Int32(id), content: content, isSpecial: isSpecial, isNormalized: !isSpecial))
        }
        addedTokens = .file(tokens)
    }

    /// Special tokens that a file names; what was known under the same key before is replaced.
    private mutating func readSpecialTokens(_ fields: JSONFields) throws(QwenSFTError) {
        for key in Self.keys {
            guard fields.object[key] != nil else { continue }
            specialTokens.removeAll { $0.key == key }
            if let content = try Self.content(fields, key), !content.isEmpty {
                specialTokens.append((key, content, fields.file))
            }
        }
        var known = Set(additionalSpecialTokens.map { Array($0.utf8) })
        for key in [Self.additionalKey, "extra_special_tokens"] {
            var values: [JSONValue] = []
            switch fields.value(key) {
            case .array(let list)?: values = list
            case .object(let object)?: values = object.members.map(\.value)  // each with a name, since transformers 5
            default: continue
            }
            for value in values {
                guard let content = value.string ?? Self.content(of: value) else {
                    throw fields.wrong(key, "must be a list of tokens")
                }
                if !content.isEmpty, known.insert(Array(content.utf8)).inserted {
                    specialTokens.append((Self.additionalKey, content, fields.file))
                }
            }
        }
    }

    private static func content(of value: JSONValue) -> String? {
        if case .object(let object) = value { object["content"]?.string } else { nil }
    }

    /// A token written as its text or as an object with `content`.
    private static func content(_ fields: JSONFields, _ key: String) throws(QwenSFTError) -> String? {
        if case .object? = fields.value(key) {
            guard let object = try fields.object(key), let content = try object.string("content") else {
                throw fields.wrong(key, "must have a content")
            }
            return content
        }
        return try fields.string(key)
    }
}

extension AddedToken {
    /// Reads an added token as tokenizer.json and tokenizer_config.json both write it.
    init(_ fields: JSONFields, id: Int) throws(QwenSFTError) {
        guard let content = try fields.string("content") else { throw fields.missing("content") }
        guard !content.isEmpty else { throw fields.wrong("content", "must not be empty") }
        guard id >= 0, id < Vocabulary.idLimit else {
            throw QwenSFTError(
                .invalidFile, "\(fields.file): \(id) is no id for the added token '\(printable(content))'")
        }
        for option in ["single_word", "lstrip", "rstrip"] where try fields.bool(option) == true {
            throw QwenSFTError(
                .unsupported,
                "\(fields.file): the added token '\(printable(content))' has \(option), which is not supported")
        }
        self.init(
            id: Int32(id), content: content, isSpecial: try fields.bool("special") ?? false,
            isNormalized: try fields.bool("normalized") ?? false)
    }
}
