/// The tokenizer of a Qwen2 checkpoint: byte-level byte pair encoding. Ids are those of Hugging Face `tokenizers`, with
/// Unicode 15.0.
///
/// Text goes through four stages, each in a file of its own name:
///
///     added tokens (AddedTokens) ─ NFC (Normalizer) ─ words (PreTokenizer) ─ merges (BytePairMerger)
///
/// `EncodingWorkspace` takes a word through them. What makes it fast: words are found 64 bytes at a time (text.h); one seen before
/// is read from a table (`WordCache`); a new one starts from characters instead of bytes (`CharacterTokens`) and is merged
/// together with three others (`WaitingWords`); no strings, no allocation per word.
///
/// Immutable; any number of threads may use one at once.
public final class Tokenizer: Sendable {
    /// The directory's last component: what the tokenizer is called in its summary.
    public let name: String
    /// Regular tokens, without the added ones: transformers' `vocab_size`.
    public let vocabularySize: Int
    /// All tokens: `len(tokenizer)`.
    public let count: Int
    /// Rows of a model that belong to a token: one more than the largest id.
    var rowCount: Int { addedTokens.reduce(vocabularySize) { max($0, Int($1.id) + 1) } }
    /// The longest input the model was made for, in tokens; `Int.max` where the files give none.
    public let modelMaxLength: Int
    /// By id.
    public let addedTokens: [AddedToken]
    public let eosTokenID: Int32?
    public let padTokenID: Int32?
    /// The checkpoint's chat templates by name: of chat_template.jinja, tokenizer_config.json and additional_chat_templates.
    let chatTemplates: [(key: String, template: ChatTemplate)]
    private let templateTokens: [(name: String, token: String)]

    private let vocabulary: Vocabulary
    private let texts: TokenTexts
    private let beforeNormalization: AddedTokenMatcher
    private let afterNormalization: AddedTokenMatcher
    private let noAddedTokens = AddedTokenMatcher([])
    private let workspaces: EncodingWorkspacePool
    private let additionalSpecialTokens: [String]

    /// Opens the tokenizer of a checkpoint directory: tokenizer.json, else vocab.json with merges.txt, else a `.tiktoken`
    /// vocabulary; with tokenizer_config.json, special_tokens_map.json, added_tokens.json and chat_template.jinja where they are.
    /// Or a GGUF file, which holds its tokenizer.
    ///
    /// - Throws: `notFound`, `io`; `invalidFile` where a file is broken or contradicts itself; `unsupported` where it describes
    ///   another kind of tokenizer.
    public convenience init(directory: String) throws(QwenSFTError) {
        try self.init(directory: directory, fromBytes: false)
    }

    /// - Parameter fromBytes: Words start from bytes, not characters; for comparison.
    package convenience init(directory: String, fromBytes: Bool) throws(QwenSFTError) {
        let files: NamedFiles
        switch try fileKind(directory) {
        case .directory: files = .directory(directory)
        case .file: files = .memory(try GGUFTokenizer.files(GGUFFile(directory)), of: directory)
        case nil: throw QwenSFTError(.notFound, "\(directory): no such file or directory")
        case .other: throw QwenSFTError(.notFound, "\(directory): is not a directory")
        }
        try self.init(files, fromBytes: fromBytes)
    }

    init(_ source: NamedFiles, fromBytes: Bool = false) throws(QwenSFTError) {
        let files = try TokenizerFiles(source)
        let vocabulary = files.vocabulary
        let merges = try MergeTable(files.merges, file: files.file)
        let characters =
            fromBytes ? try CharacterTokens(bytesOnly: vocabulary) : try CharacterTokens(vocabulary, merges)
        let added = files.addedTokens
        name = fileName(source.place)
        vocabularySize = vocabulary.count
        count = vocabulary.count + added.count { vocabulary.bytes(of: Int($0.id)).isEmpty }
        modelMaxLength = files.configuration.modelMaxLength
        addedTokens = added
        let configuration = files.configuration
        let templateTokens = configuration.specialTokens.filter { $0.key != TokenizerConfiguration.additionalKey }
            .map { (name: $0.key, token: $0.content) }
        self.templateTokens = templateTokens
        let templates = configuration.chatTemplates.map { named in
            let name = named.key == "default" ? named.file : "'\(named.key)' of \(named.file)"
            return (key: named.key, template: ChatTemplate(named.text, name: name, specialTokens: templateTokens))
        }
        let toolUse = templates.first { $0.key == "tool_use" }?.template
        chatTemplates = templates.map {
            ($0.key, $0.key == "default" ? $0.template.with(toolUse: toolUse) : $0.template)
        }
        additionalSpecialTokens = files.configuration.additionalSpecialTokens
        self.vocabulary = vocabulary
        texts = try TokenTexts(vocabulary, added, file: files.file)
        beforeNormalization = AddedTokenMatcher(
            added.filter { !$0.isNormalized }.map { (Array($0.content.utf8), $0.id) })
        afterNormalization = AddedTokenMatcher(
            try added.filter { $0.isNormalized }.map { (token) throws(QwenSFTError) in
                var normalized: [UInt8] = []
                try Array(token.content.utf8).withUnsafeBufferPointer { (text) throws(QwenSFTError) in
                    try Normalizer.append(text, to: &normalized)
                }
                return (normalized, token.id)
            })
        workspaces = EncodingWorkspacePool { () throws(QwenSFTError) in
            try EncodingWorkspace(vocabulary: vocabulary, merges: merges, characters: characters)
        }

        // A special token that is none of the tokens was warned of when they were read.
        func id(of content: String?) -> Int32? {
            guard let content else { return nil }
            if let token = added.first(where: { $0.content.utf8.elementsEqual(content.utf8) }) { return token.id }
            return Self.regularID(of: content, vocabulary)
        }
        eosTokenID = id(of: files.configuration.eosToken)
        padTokenID = id(of: files.configuration.padToken)
    }

    /// A tokenizer with the tables of another, and a chat template of its own.
    private init(_ other: Tokenizer, chatTemplates: [(key: String, template: ChatTemplate)]) {
        name = other.name
        vocabularySize = other.vocabularySize
        count = other.count
        modelMaxLength = other.modelMaxLength
        addedTokens = other.addedTokens
        eosTokenID = other.eosTokenID
        padTokenID = other.padTokenID
        self.chatTemplates = chatTemplates
        templateTokens = other.templateTokens
        vocabulary = other.vocabulary
        texts = other.texts
        beforeNormalization = other.beforeNormalization
        afterNormalization = other.afterNormalization
        workspaces = other.workspaces
        additionalSpecialTokens = other.additionalSpecialTokens
    }

    /// The same tokenizer, with `template` for the one that is used unless another is asked for.
    public func withChatTemplate(_ template: ChatTemplate) -> Tokenizer {
        Tokenizer(self, chatTemplates: chatTemplates.filter { $0.key != "default" } + [("default", template)])
    }

    // MARK: Text to ids

    /// - Parameters:
    ///   - text: any text.
    ///   - splitSpecialTokens: Added tokens in the text are plain text (as when the text is a stranger's); otherwise
    ///     they become their ids.
    /// - Throws: `tooLong` for a text of 2 GiB or more.
    public func encode(_ text: String, splitSpecialTokens: Bool = false) throws(QwenSFTError) -> [Int32] {
        try Self.checkLength(text.utf8.count)
        let workspace = try workspaces.take()
        defer { workspaces.giveBack(workspace) }
        var text = text
        let result: Result<Void, QwenSFTError> = text.withUTF8 { utf8 in
            Result { () throws(QwenSFTError) in try encode(utf8, splitSpecialTokens, workspace) }
        }
        try result.get()
        return try array(workspace.result)
    }

    /// The ids of a text given as well-formed UTF-8.
    package func encode(utf8: UnsafeBufferPointer<UInt8>, splitSpecialTokens: Bool) throws(QwenSFTError) -> [Int32] {
        try Self.checkLength(utf8.count)
        let workspace = try workspaces.take()
        defer { workspaces.giveBack(workspace) }
        try encode(utf8, splitSpecialTokens, workspace)
        return try array(workspace.result)
    }

    private func array(_ ids: UnsafeBufferPointer<Int32>) throws(QwenSFTError) -> [Int32] {
        try Memory.require(ids.count, of: Int32.self, for: "token ids")
        return Array(ids)
    }

    /// Writes the ids of a text given as well-formed UTF-8 to `output`, if there is room for all; returns how many there are.
    ///
    /// - Throws: `tooLong` for 2 GiB or more.
    package func encode(
        utf8: UnsafeBufferPointer<UInt8>, splitSpecialTokens: Bool, to output: UnsafeMutableBufferPointer<Int32>
    ) throws(QwenSFTError) -> Int {
        try Self.checkLength(utf8.count)
        let workspace = try workspaces.take()
        defer { workspaces.giveBack(workspace) }
        try encode(utf8, splitSpecialTokens, workspace, output)
        let ids = workspace.result
        // Where the output was large enough for any text of this length, the ids are there already.
        if let base = output.baseAddress, ids.baseAddress != UnsafePointer(base), ids.count <= output.count {
            _ = output.update(fromContentsOf: ids)
        }
        return ids.count
    }

    private static func checkLength(_ count: Int) throws(QwenSFTError) {
        guard count < Int(Int32.max) else {
            throw QwenSFTError(.tooLong, "a text of \(count) bytes is too long to encode at once")
        }
    }

    private func encode(
        _ text: UnsafeBufferPointer<UInt8>, _ splitSpecialTokens: Bool, _ workspace: EncodingWorkspace,
        _ output: UnsafeMutableBufferPointer<Int32>? = nil
    ) throws(QwenSFTError) {
        let isNormalized = Normalizer.firstUnsettled(text) == nil
        // Text that stays as it is has at most one id for each byte.
        if isNormalized, let output, output.count >= text.count + EncodingWorkspace.slack { workspace.lend(output) }
        // The parts between added tokens are normalized, and split once more by those looked for after that.
        try Self.split(text, splitSpecialTokens ? noAddedTokens : beforeNormalization, workspace) {
            (part) throws(QwenSFTError) in
            guard !isNormalized, Normalizer.firstUnsettled(part) != nil else {
                return try appendNormalized(part, splitSpecialTokens, workspace)
            }
            var normalized = workspace.normalized
            workspace.normalized = []  // one owner, so that appending does not copy
            normalized.removeAll(keepingCapacity: true)
            try Normalizer.append(part, to: &normalized)
            try normalized.withUnsafeBufferPointer { (text) throws(QwenSFTError) in
                try appendNormalized(text, splitSpecialTokens, workspace)
            }
            workspace.normalized = normalized
        }
    }

    private func appendNormalized(
        _ text: UnsafeBufferPointer<UInt8>, _ splitSpecialTokens: Bool, _ workspace: EncodingWorkspace
    ) throws(QwenSFTError) {
        try Self.split(text, splitSpecialTokens ? noAddedTokens : afterNormalization, workspace) {
            (part) throws(QwenSFTError) in try workspace.append(words: part)
        }
    }

    /// Appends the ids of added tokens and hands on what stands between them.
    private static func split(
        _ text: UnsafeBufferPointer<UInt8>, _ matcher: AddedTokenMatcher, _ workspace: EncodingWorkspace,
        _ plain: (UnsafeBufferPointer<UInt8>) throws(QwenSFTError) -> Void
    ) throws(QwenSFTError) {
        var start = 0
        while let match = matcher.first(in: text, from: start) {
            if start < match.range.lowerBound {
                try plain(UnsafeBufferPointer(rebasing: text[start..<match.range.lowerBound]))
            }
            try workspace.append(match.id)
            start = match.range.upperBound
        }
        if start < text.count { try plain(UnsafeBufferPointer(rebasing: text[start...])) }
    }

    // MARK: Ids to text

    /// Ids without a token stand for nothing; bytes that are no UTF-8 (tokens may hold parts of characters) become U+FFFD.
    public func decode(_ ids: [Int32], skipSpecialTokens: Bool = false) -> String {
        String(decoding: decodeBytes(ids, skipSpecialTokens: skipSpecialTokens), as: UTF8.self)
    }

    /// The bytes of the text in memory that can be refused; U+FFFD stands already where they were not UTF-8.
    /// - Throws: `outOfMemory`.
    package func decode(
        _ ids: UnsafeBufferPointer<Int32>, skipSpecialTokens: Bool
    ) throws(QwenSFTError) -> LargeArray<UInt8> {
        let joined = try texts.joined(ids, skipSpecialTokens: skipSpecialTokens)
        let isGood = try joined.withBuffer { (bytes) throws(QwenSFTError) in
            firstInvalidUTF8(in: UnsafeRawBufferPointer(bytes)) == nil
        }
        if isGood { return joined }
        // Every byte becomes a character of three at most; the string's copy may grow by doubling.
        try Memory.require(joined.count * 9, for: "the text of \(ids.count) ids")
        var repaired = try joined.withBuffer { (bytes) throws(QwenSFTError) in String(decoding: bytes, as: UTF8.self) }
        var text = LargeArray<UInt8>(purpose: "text")
        try text.append(contentsOf: &repaired)
        return text
    }

    package func decodeBytes(_ ids: [Int32], skipSpecialTokens: Bool) -> [UInt8] {
        ids.withUnsafeBufferPointer { texts.join($0, skipSpecialTokens: skipSpecialTokens) }
    }

    // MARK: Chat templates

    /// The names of the checkpoint's chat templates.
    public var chatTemplateNames: [String] { chatTemplates.map(\.key) }

    /// A template that sees the tokenizer's special tokens.
    func makeChatTemplate(_ text: String, name: String) -> ChatTemplate {
        ChatTemplate(text, name: name, specialTokens: templateTokens)
    }

    // MARK: Tokens

    /// The id of a token as the files spell it (`Ġhello`), nil if it is none.
    public func tokenID(of token: String) -> Int32? {
        if let added = addedTokens.first(where: { $0.content.utf8.elementsEqual(token.utf8) }) { return added.id }
        return Self.regularID(of: token, vocabulary)
    }

    private static func regularID(of token: String, _ vocabulary: Vocabulary) -> Int32? {
        var bytes: [UInt8] = []
        let isSpelling = Array(token.utf8).withUnsafeBytes { ByteAlphabet.appendBytes(of: $0, to: &bytes) }
        return isSpelling ? bytes.withUnsafeBufferPointer { vocabulary.id(of: $0) } : nil
    }

    /// The token as the files spell it, nil for an id that has none.
    public func token(of id: Int32) -> String? {
        if let added = addedTokens.first(where: { $0.id == id }) { return added.content }
        let bytes = vocabulary.bytes(of: Int(id))
        return bytes.isEmpty ? nil : ByteAlphabet.spelling(of: bytes)
    }

    /// Sizes, special and added tokens, for people to read.
    public var summary: String {
        func named(_ key: String, _ id: Int32?) -> String? { id.flatMap { token(of: $0) }.map { "\(key): \($0)" } }
        var special = [named("eos_token", eosTokenID), named("pad_token", padTokenID)].compactMap { $0 }
        if !additionalSpecialTokens.isEmpty {
            special.append("additional_special_tokens: " + additionalSpecialTokens.joined(separator: " "))
        }
        var lines = [
            "Tokenizer \(name)",
            "  vocab_size: \(vocabularySize)",
            "  model_max_length: \(modelMaxLength == Int.max ? "none" : String(modelMaxLength))",
        ]
        if !special.isEmpty {
            lines.append("  special_tokens:")
            lines += special.map { "    " + $0 }
        }
        lines.append("  added_tokens:")
        lines += addedTokens.map { "    \($0.id): \($0.content)\($0.isSpecial ? " (special)" : "")" }
        return lines.joined(separator: "\n")
    }
}
