/// The added tokens of all files together, by id.
///
/// tokenizer.json and tokenizer_config.json must agree; added_tokens.json, which is older than both, adds what tokenizer.json does
/// not have. Where no file lists any (a bare vocabulary), Qwen2's three control tokens follow the vocabulary. A special token that
/// is a regular one is matched as a whole too, as in transformers.
/// - Parameter listed: those of tokenizer.json.
func joinedAddedTokens(
    _ listed: [AddedToken], _ configuration: TokenizerConfiguration, _ vocabulary: Vocabulary, file: String
) throws(QwenSFTError) -> [AddedToken] {
    var joined = Joined(vocabulary: vocabulary, file: file)
    for token in listed { try joined.add(token) }
    switch configuration.addedTokens {
    case .configuration(let tokens): for token in tokens { try joined.add(token) }
    case .file(let tokens): for token in tokens where !joined.contains(token.content) { try joined.add(token) }
    case .nowhere:
        if !listed.isEmpty { break }
        var next = vocabulary.idEnd
        for content in ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] {
            let regular = vocabulary.plainID(of: content)
            try joined.add(AddedToken(id: regular ?? Int32(next), content: content, isSpecial: true))
            if regular == nil { next += 1 }
        }
    }
    for (key, content, source) in configuration.specialTokens where !joined.contains(content) {
        if let id = vocabulary.plainID(of: content), !joined.contains(id) {
            try joined.add(AddedToken(id: id, content: content, isSpecial: true))
        } else {
            Warnings.send("\(source): '\(key)' is '\(printable(content))', which is no token; it is not used")
        }
    }
    return joined.tokens.sorted { $0.id < $1.id }
}

/// Added tokens, found by id and by content.
private struct Joined {
    let vocabulary: Vocabulary
    let file: String
    private(set) var tokens: [AddedToken] = []
    private var byID: [Int32: AddedToken] = [:]
    private var byContent: [[UInt8]: AddedToken] = [:]

    init(vocabulary: Vocabulary, file: String) {
        self.vocabulary = vocabulary
        self.file = file
    }

    func contains(_ content: String) -> Bool { byContent[Array(content.utf8)] != nil }
    func contains(_ id: Int32) -> Bool { byID[id] != nil }

    /// - Throws: `invalidFile` where the token contradicts one that is there, or the vocabulary.
    mutating func add(_ token: AddedToken) throws(QwenSFTError) {
        let content = Array(token.content.utf8)
        if let same = byID[token.id] ?? byContent[content] {
            if same.id == token.id, same.content.utf8.elementsEqual(content) { return }
            throw QwenSFTError(
                .invalidFile,
                "\(file): the added tokens '\(printable(same.content))' (\(same.id)) and '\(printable(token.content))' (\(token.id)) contradict each other"
            )
        }
        let regular = vocabulary.bytes(of: Int(token.id))
        if !regular.isEmpty, !regular.elementsEqual(content) {
            throw QwenSFTError(
                .invalidFile,
                "\(file): the id \(token.id) of the added token '\(printable(token.content))' belongs to '\(ByteAlphabet.spelling(of: regular))'"
            )
        }
        if let regular = vocabulary.plainID(of: token.content), regular != token.id {
            throw QwenSFTError(
                .invalidFile,
                "\(file): the added token '\(printable(token.content))' has the id \(token.id), and in the vocabulary \(regular)"
            )
        }
        byID[token.id] = token
        byContent[content] = token
        tokens.append(token)
    }
}

extension Vocabulary {
    /// The regular token that files spell as it reads, as control tokens are where they stand in a vocabulary: all of its
    /// characters stand for themselves in the byte alphabet.
    fileprivate func plainID(of content: String) -> Int32? {
        let bytes = Array(content.utf8)
        guard bytes.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        return bytes.withUnsafeBufferPointer { id(of: $0) }
    }
}
