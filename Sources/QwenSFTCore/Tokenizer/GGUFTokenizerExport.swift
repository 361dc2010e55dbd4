extension GGUFTokenizer {
    /// A checkpoint's tokenizer as llama.cpp's converter describes it.
    /// - Parameters:
    ///   - vocabularySize: rows of the embedding; ids without a token get names of their own.
    ///   - stopIDs: at which this library ends an answer, the most usual one first; llama.cpp ends at these and, because of
    ///     their names, at `<|im_end|>` and `<|endoftext|>`.
    ///   - otherIDs: of `bos_token_id` and `pad_token_id` where tokenizer_config.json names no such token.
    static func entries(
        _ files: TokenizerFiles, vocabularySize: Int, stopIDs: [Int32], otherIDs: [(key: String, id: Int)]
    ) throws(QwenSFTError) -> [GGUFEntry] {
        let tokens = try Table(files, count: vocabularySize)
        var entries = [
            GGUFEntry(prefix + "model", .string("gpt2")), GGUFEntry(prefix + "pre", .string("qwen2")),
            GGUFEntry(tokensKey, .strings(tokens.texts)),
            GGUFEntry(prefix + "token_type", .array(.int32, tokens.kinds)),
            GGUFEntry(prefix + "merges", .strings(try merges(files))),
        ]
        var ids: [(key: String, id: Int)] = []
        for (key, name) in specialTokens + [(key: "bos_token_id", name: "bos_token")] {
            guard let token = files.configuration.specialTokens.first(where: { $0.key == name })?.content,
                let id = tokens.id(of: token)
            else { continue }
            ids.append((key, id))
        }
        for (key, id) in otherIDs where !ids.contains(where: { $0.key == key }) { ids.append((key, id)) }
        addStopIDs(stopIDs, endOfText: tokens.id(of: "<|endoftext|>"), to: &ids)
        for (key, id) in ids { entries.append(GGUFEntry(prefix + key, .uint32(id))) }
        for key in ["add_bos_token", "add_eos_token"] { entries.append(GGUFEntry(prefix + key, .bool(false))) }
        return try entries + templates(files.configuration)
    }

    /// Makes sure that generation stops at all of `stopIDs` and, as far as that is in our hands, at no others: there are three
    /// keys for ids that end a text, its end, a turn's and a message's.
    private static func addStopIDs(
        _ stopIDs: [Int32], endOfText: Int?, to ids: inout [(key: String, id: Int)]
    ) {
        guard let first = stopIDs.first.map(Int.init) else { return }
        var end = first
        if let place = ids.firstIndex(where: { $0.key == "eos_token_id" }) {
            if stopIDs.contains(Int32(ids[place].id)) { end = ids[place].id } else { ids[place].id = first }
        } else {
            ids.append((key: "eos_token_id", id: first))
        }
        // The end of the text has a name that says what it is.
        let others = stopIDs.map { Int($0) }.filter { $0 != end && $0 != endOfText }
        for (key, id) in zip(["eot_token_id", "eom_token_id"], others) { ids.append((key: key, id: id)) }
        if others.count > 2 {
            Warnings.send(
                "GGUF has no room for more than three ids that end an answer; left out: "
                    + others[2...].map { "\($0)" }.joined(separator: ", "))
        }
    }

    /// All tokens by id, and their kinds.
    private struct Table {
        private(set) var texts = ByteTexts()
        /// Numbers of 32 bits, little-endian.
        private(set) var kinds: [UInt8] = []
        private var addedIDs: [[UInt8]: Int] = [:]

        init(_ files: TokenizerFiles, count: Int) throws(QwenSFTError) {
            var added: [Int: AddedToken] = [:]
            for token in files.addedTokens {
                guard token.id < count else {
                    throw QwenSFTError(
                        .invalidFile,
                        "\(files.file): the token '\(printable(token.content))' has the id \(token.id), and the model has \(count)"
                    )
                }
                added[Int(token.id)] = token
                addedIDs[Array(token.content.utf8)] = Int(token.id)
            }
            guard files.vocabulary.idEnd <= count else {
                throw QwenSFTError(
                    .invalidFile,
                    "\(files.file): has ids up to \(files.vocabulary.idEnd - 1), and the model has \(count)")
            }
            for id in 0..<count {
                let bytes = files.vocabulary.bytes(of: id)
                if let token = added[id] {
                    try append(
                        Array(token.content.utf8),
                        token.isSpecial || Self.looksSpecial(token.content) ? .control : .userDefined, files.file)
                } else if bytes.isEmpty {
                    try append(Array("[PAD\(id)]".utf8), .unused, files.file)
                } else {
                    try append(Array(ByteAlphabet.spelling(of: bytes).utf8), .normal, files.file)
                }
            }
        }

        func id(of token: String) -> Int? { addedIDs[Array(token.utf8)] }

        private mutating func append(_ text: [UInt8], _ kind: Kind, _ file: String) throws(QwenSFTError) {
            try texts.append(text, purpose: file)
            kinds += [UInt8(kind.rawValue), 0, 0, 0]
        }

        /// llama.cpp's converter takes tokens of such names for control tokens, whatever the files say.
        private static func looksSpecial(_ token: String) -> Bool {
            (token.hasPrefix("<|") && token.hasSuffix("|>")) || (token.hasPrefix("<｜") && token.hasSuffix("｜>"))
        }
    }

    private static func merges(_ files: TokenizerFiles) throws(QwenSFTError) -> ByteTexts {
        var texts = ByteTexts()
        for merge in files.merges {
            let sides = [merge.left, merge.right].map {
                ByteAlphabet.spelling(of: files.vocabulary.bytes(of: Int($0)))
            }
            try texts.append(Array((sides[0] + " " + sides[1]).utf8), purpose: files.file)
        }
        return texts
    }

    private static func templates(_ configuration: TokenizerConfiguration) throws(QwenSFTError) -> [GGUFEntry] {
        var (entries, names) = ([GGUFEntry](), ByteTexts())
        for named in configuration.chatTemplates where named.key != "default" {
            // Other names would not be keys.
            let name = String(named.key.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
            try names.append(Array(name.utf8), purpose: named.file)
            entries.append(GGUFEntry(template + "." + name, .string(named.text)))
        }
        if names.count > 0 { entries.append(GGUFEntry(templates, .strings(names))) }
        if let named = configuration.chatTemplates.first(where: { $0.key == "default" }) {
            entries.append(GGUFEntry(template, .string(named.text)))
        }
        return entries
    }
}
