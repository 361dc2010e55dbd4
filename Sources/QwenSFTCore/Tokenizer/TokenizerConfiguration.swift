/// What tokenizer_config.json says (and chat_template.jinja): everything about a tokenizer but its tables.
struct TokenizerConfiguration {
    /// `Int.max` where the files give no limit.
    var modelMaxLength = Int.max
    var eosToken: String?
    var padToken: String?
    var additionalSpecialTokens: [String] = []
    /// nil: the file does not list them.
    var addedTokens: [AddedToken]?
    var chatTemplate: String?

    static let fileName = "tokenizer_config.json"

    init(directory: String) throws(QwenSFTError) {
        let path = joinPath(directory, Self.fileName)
        if try fileExists(path) { try read(JSONFields(contentsOf: path)) }
        let template = joinPath(directory, "chat_template.jinja")
        if try fileExists(template) {
            let contents = try FileContents(template)
            chatTemplate = try contents.withBytes { (bytes) throws(QwenSFTError) in
                if let bad = firstInvalidUTF8(in: bytes) {
                    throw QwenSFTError(.invalidFile, "chat_template.jinja: byte \(bad) is no UTF-8")
                }
                return String(decoding: bytes, as: UTF8.self)
            }
        }
    }

    private mutating func read(_ fields: JSONFields) throws(QwenSFTError) {
        for option in ["add_bos_token", "add_prefix_space"] where try fields.bool(option) == true {
            throw fields.unsupported(option, "is not supported: Qwen2 has it false")
        }
        if let value = fields.value("model_max_length") {
            guard let length = value.double, length >= 1 else {
                throw fields.wrong("model_max_length", "must be a positive number")
            }
            // transformers writes 10³⁰ for "no limit".
            modelMaxLength = length < 1e15 ? Int(length) : Int.max
        }
        eosToken = try Self.content(fields, "eos_token")
        padToken = try Self.content(fields, "pad_token")
        if case .array(let tokens)? = fields.value("additional_special_tokens") {
            for token in tokens {
                if let content = token.string {
                    additionalSpecialTokens.append(content)
                } else if case .object(let object) = token, let content = object["content"]?.string {
                    additionalSpecialTokens.append(content)
                } else {
                    throw fields.wrong("additional_special_tokens", "must be a list of tokens")
                }
            }
        }
        if let decoder = try fields.object("added_tokens_decoder") {
            var tokens: [AddedToken] = []
            for (key, _) in decoder.object.members {
                guard let id = Int(key), let token = try decoder.object(key) else {
                    throw decoder.wrong(key, "must be an id with a token")
                }
                tokens.append(try AddedToken(token, id: id))
            }
            addedTokens = tokens
        }
        switch fields.value("chat_template") {
        case nil: break
        case .string(let text)?: chatTemplate = text
        case .array(let templates)?:
            // Several by name; the one that is used unless another is asked for is called "default".
            for case .object(let template) in templates where template["name"]?.string == "default" {
                chatTemplate = template["template"]?.string
            }
        default: throw fields.wrong("chat_template", "must be a text or a list of named texts")
        }
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
