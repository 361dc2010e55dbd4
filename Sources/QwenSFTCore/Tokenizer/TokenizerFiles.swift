/// What the files of a tokenizer hold, before tables are made of it. Three layouts are read: tokenizer.json;
/// vocab.json with merges.txt; a `.tiktoken` vocabulary. A GGUF file is read as the first one (`GGUFTokenizer`).
struct TokenizerFiles {
    var vocabulary: Vocabulary
    var merges: [MergeTable.Merge]
    var addedTokens: [AddedToken]
    var configuration: TokenizerConfiguration
    /// The file that messages about the vocabulary name.
    var file: String

    init(_ files: NamedFiles) throws(QwenSFTError) {
        configuration = try TokenizerConfiguration(files)
        let limit = FileContents.vocabularyLimit
        let whole = try files.read("tokenizer.json", limit: limit) { (bytes, file) throws(QwenSFTError) in
            try Self.readTokenizerJSON(bytes, file: file)
        }
        if let source = try whole == nil ? Self.readParts(files) : whole {
            file = source.file
            vocabulary = try Vocabulary(source.entries, file: file)
            merges = try source.merges.resolve(vocabulary, file: source.mergesFile)
            addedTokens = try joinedAddedTokens(source.addedTokens, configuration, vocabulary, file: file)
            return
        }
        guard let (entries, file) = try Self.readTiktoken(files) else {
            throw QwenSFTError(
                .notFound,
                "\(files.place): holds no tokenizer (tokenizer.json, vocab.json with merges.txt, or a .tiktoken file)")
        }
        self.file = file
        vocabulary = try Vocabulary(entries, file: file)
        merges = try mergesOfTiktoken(entries, vocabulary, file: file)
        addedTokens = try joinedAddedTokens([], configuration, vocabulary, file: file)
    }

    private struct Source {
        var file: String
        var entries: Vocabulary.Entries
        var merges: SpelledMerges
        var mergesFile: String
        var addedTokens: [AddedToken] = []
    }

    // MARK: tokenizer.json

    private static func readTokenizerJSON(
        _ bytes: UnsafeRawBufferPointer, file: String
    ) throws(QwenSFTError) -> Source {
        var reader = JSONReader(bytes, file: file)
        var model: (Vocabulary.Entries, SpelledMerges)?
        // Everything but the model is small: read as a tree, with the tree's care for duplicate keys.
        var rest = JSONObject()
        try reader.beginObject()
        while let bytes = try reader.nextKey() {
            let key = String(decoding: bytes, as: UTF8.self)
            if rest[key] != nil || (key == "model" && model != nil) {
                throw reader.error("the key '\(printable(key))' occurs twice", at: reader.keyPosition)
            }
            if key == "model" { model = try readModel(&reader) } else { rest[key] = try reader.value() }
        }
        try reader.end()
        guard let model else { throw QwenSFTError(.invalidFile, "\(file): 'model' is missing") }
        let fields = try JSONFields(.object(rest), file: file)
        try requireQwen2Pipeline(fields)
        var source = Source(file: file, entries: model.0, merges: model.1, mergesFile: file)
        if let value = fields.value("added_tokens") {
            guard case .array(let tokens) = value else { throw fields.wrong("added_tokens", "must be a list") }
            for token in tokens {
                guard case .object = token else { throw fields.wrong("added_tokens", "must be a list of tokens") }
                let token = try JSONFields(token, file: file)
                guard let id = try token.integer("id", in: 0...Vocabulary.idLimit, "must be an id") else {
                    throw token.missing("id")
                }
                source.addedTokens.append(try AddedToken(token, id: id))
            }
        }
        return source
    }

    private static func readModel(_ reader: inout JSONReader) throws(QwenSFTError) -> (
        Vocabulary.Entries, SpelledMerges
    ) {
        var entries: Vocabulary.Entries?
        var merges: SpelledMerges?
        var rest = JSONObject()
        try reader.beginObject()
        while let bytes = try reader.nextKey() {
            let key = String(decoding: bytes, as: UTF8.self)
            if rest[key] != nil || (key == "vocab" && entries != nil) || (key == "merges" && merges != nil) {
                throw reader.error("the key '\(printable(key))' occurs twice", at: reader.keyPosition)
            }
            switch key {
            case "vocab" where try reader.peek() == .object: entries = try readVocabulary(&reader)
            case "merges": merges = try readMerges(&reader)
            default: rest[key] = try reader.value()
            }
        }
        let model = try JSONFields(.object(rest), file: reader.file)
        let type = try model.string("type") ?? "BPE"
        guard type == "BPE" else {
            throw model.unsupported("type", "of the model is '\(printable(type))'; only BPE is supported")
        }
        guard let entries else { throw model.missing("model.vocab") }
        guard let merges else { throw model.missing("model.merges") }
        for option in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if let text = try model.string(option), !text.isEmpty {
                throw model.unsupported(option, "is not supported")
            }
        }
        for option in ["byte_fallback", "ignore_merges"] where try model.bool(option) == true {
            throw model.unsupported(option, "is not supported: Qwen2 has it false")
        }
        if let dropout = try model.number("dropout"), dropout != 0 {
            throw model.unsupported("dropout", "is not supported")
        }
        return (entries, merges)
    }

    private static func readVocabulary(_ reader: inout JSONReader) throws(QwenSFTError) -> Vocabulary.Entries {
        var entries = Vocabulary.Entries()
        try reader.beginObject()
        while let key = try reader.nextKey() {
            // The key's bytes live until the next string is read; an id is none.
            try entries.append(spelling: key, id: try reader.integer(), file: reader.file)
        }
        return entries
    }

    private static func readMerges(_ reader: inout JSONReader) throws(QwenSFTError) -> SpelledMerges {
        var merges = SpelledMerges()
        try reader.beginArray()
        while try reader.nextElement() {
            if try reader.peek() == .array {
                // Written so since tokenizers 0.20, so that tokens may hold spaces.
                try reader.beginArray()
                var sides = 0
                while try reader.nextElement() {
                    try merges.appendSide(reader.string(), file: reader.file)
                    sides += 1
                }
                guard sides == 2 else { throw reader.error("a merge must have two sides") }
            } else {
                try merges.append(line: reader.string(), file: reader.file)
            }
        }
        return merges
    }

    // MARK: vocab.json and merges.txt

    private static func readParts(_ files: NamedFiles) throws(QwenSFTError) -> Source? {
        let limit = FileContents.vocabularyLimit
        let read = try files.read("vocab.json", limit: limit) { (bytes, file) throws(QwenSFTError) in
            var reader = JSONReader(bytes, file: file)
            let entries = try readVocabulary(&reader)
            try reader.end()
            return (file: file, entries: entries)
        }
        guard let read else { return nil }
        let name = "merges.txt"
        let merges = try files.read(name, limit: limit) { (bytes, file) throws(QwenSFTError) in
            var merges = SpelledMerges()
            for (number, line) in lines(of: bytes).enumerated() {
                if line.isEmpty || number == 0 && line.starts(with: "#version".utf8) { continue }
                try merges.append(line: line, file: "\(file):\(number + 1)")
            }
            return merges
        }
        guard let merges else {
            throw QwenSFTError(.notFound, "\(joinPath(files.place, name)): no such file or directory")
        }
        return Source(file: read.file, entries: read.entries, merges: merges, mergesFile: name)
    }

    private static func readTiktoken(
        _ files: NamedFiles
    ) throws(QwenSFTError) -> (entries: Vocabulary.Entries, file: String)? {
        let names = try files.names(ending: ".tiktoken")
        if names.count > 1 {
            throw QwenSFTError(
                .invalidFile, "\(files.place): holds \(names.count) .tiktoken files; which one is meant?")
        }
        guard let name = names.first else { return nil }
        return try files.read(name, limit: FileContents.vocabularyLimit) { (bytes, file) throws(QwenSFTError) in
            (try entriesOfTiktoken(bytes, file: file), file)
        }
    }
}

/// Merges as files spell them, in the order of their ranks.
struct SpelledMerges {
    /// The bytes of left, right, left, …
    private var text: [UInt8] = []
    private var ends: [Int] = []

    init() {
        text.reserveCapacity(1 << 20)
        ends.reserveCapacity(304_000)
    }

    mutating func appendSide(_ spelling: UnsafeRawBufferPointer, file: String) throws(QwenSFTError) {
        let start = text.count
        try text.makeRoom(for: spelling.count, purpose: file)
        try ends.makeRoom(for: 1, purpose: file)
        guard ByteAlphabet.appendBytes(of: spelling, to: &text), text.count > start else {
            throw QwenSFTError(
                .invalidFile,
                "\(file): merge \(ends.count / 2 + 1) has a side '\(shown(spelling))' that spells no bytes")
        }
        ends.append(text.count)
    }

    /// Both sides with a space between them.
    mutating func append(line: UnsafeRawBufferPointer, file: String) throws(QwenSFTError) {
        guard let space = line.firstIndex(of: UInt8(ascii: " ")) else {
            throw QwenSFTError(
                .invalidFile, "\(file): merge \(ends.count / 2 + 1), '\(shown(line))', must be two tokens and a space")
        }
        try appendSide(UnsafeRawBufferPointer(rebasing: line[..<space]), file: file)
        try appendSide(UnsafeRawBufferPointer(rebasing: line[(space + 1)...]), file: file)
    }

    func resolve(_ vocabulary: Vocabulary, file: String) throws(QwenSFTError) -> [MergeTable.Merge] {
        var pairs: [MergeTable.Merge] = []
        try pairs.makeRoom(for: ends.count / 2, purpose: file)
        let failed = text.withUnsafeBufferPointer { text -> Range<Int>? in
            var start = 0
            for i in stride(from: 0, to: ends.count - 1, by: 2) {
                let (middle, end) = (ends[i], ends[i + 1])
                guard let left = vocabulary.id(of: UnsafeBufferPointer(rebasing: text[start..<middle])) else {
                    return start..<middle
                }
                guard let right = vocabulary.id(of: UnsafeBufferPointer(rebasing: text[middle..<end])) else {
                    return middle..<end
                }
                guard let merged = vocabulary.id(of: UnsafeBufferPointer(rebasing: text[start..<end])) else {
                    return start..<end
                }
                pairs.append(MergeTable.Merge(left: left, right: right, merged: merged))
                start = end
            }
            return nil
        }
        if let failed {
            let spelling = text.withUnsafeBufferPointer {
                ByteAlphabet.spelling(of: UnsafeBufferPointer(rebasing: $0[failed]))
            }
            throw QwenSFTError(
                .invalidFile,
                "\(file): merge \(pairs.count + 1) needs the token '\(printable(spelling))', which the vocabulary does not have"
            )
        }
        return pairs
    }
}

/// The lines of a text file, without their ends (`\n` or `\r\n`).
func lines(of bytes: UnsafeRawBufferPointer) -> [UnsafeRawBufferPointer] {
    var lines: [UnsafeRawBufferPointer] = []
    var start = 0
    while start < bytes.count {
        let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
        let stop = end > start && bytes[end - 1] == UInt8(ascii: "\r") ? end - 1 : end
        lines.append(UnsafeRawBufferPointer(rebasing: bytes[start..<stop]))
        start = end + 1
    }
    return lines
}
