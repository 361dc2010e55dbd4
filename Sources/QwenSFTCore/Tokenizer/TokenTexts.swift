/// The bytes of every token, regular and added, in one block: what decoding copies from.
struct TokenTexts: Sendable {
    private struct Entry: BitwiseCopyable {
        var start: UInt32 = 0
        var length: UInt32 = 0
    }

    /// One more than the highest id.
    let idEnd: Int
    private let text: FlatArray<UInt8>
    /// By id; the lowest bit of `length` says that the token is special. Ids without a token are empty.
    private let entries: FlatArray<Entry>

    /// Short tokens are copied as one block of this size, whatever their length.
    private static let block = 16

    init(_ vocabulary: Vocabulary, _ added: [AddedToken], file: String) throws(QwenSFTError) {
        idEnd = added.reduce(vocabulary.idEnd) { max($0, Int($1.id) + 1) }
        entries = try FlatArray(repeating: Entry(), count: idEnd)
        var length = 0
        for id in 0..<vocabulary.idEnd { length += vocabulary.bytes(of: id).count }
        for token in added { length += token.content.utf8.count }
        guard length < Int(UInt32.max) / 2 else {
            throw QwenSFTError(.unsupported, "\(file): more than 2 GB of tokens")
        }
        text = try FlatArray(repeating: 0, count: length + Self.block)
        var end = 0
        func put(_ bytes: some Sequence<UInt8>, id: Int, isSpecial: Bool) {
            let start = end
            for byte in bytes {
                text.base[end] = byte
                end += 1
            }
            entries.base[id] = Entry(start: UInt32(start), length: UInt32(end - start) << 1 | (isSpecial ? 1 : 0))
        }
        for id in 0..<vocabulary.idEnd { put(vocabulary.bytes(of: id), id: id, isSpecial: false) }
        for token in added { put(token.content.utf8, id: Int(token.id), isSpecial: token.isSpecial) }
    }

    /// The token's bytes; none for an id without a token.
    func bytes(of id: Int32) -> UnsafeBufferPointer<UInt8> {
        guard id >= 0, Int(id) < idEnd else { return UnsafeBufferPointer(start: nil, count: 0) }
        let entry = entries.base[Int(id)]
        return UnsafeBufferPointer(start: text.base + Int(entry.start), count: Int(entry.length >> 1))
    }

    /// The bytes of all tokens, one after the other; special ones left out if asked.
    func join(_ ids: UnsafeBufferPointer<Int32>, skipSpecialTokens: Bool) -> [UInt8] {
        let length = length(of: ids, skipSpecialTokens: skipSpecialTokens)
        return [UInt8](unsafeUninitializedCapacity: length + Self.block) { buffer, initialized in
            guard let output = buffer.baseAddress else { return }
            write(ids, skipSpecialTokens: skipSpecialTokens, to: output)
            initialized = length
        }
    }

    /// The same in memory that can be refused.
    func joined(
        _ ids: UnsafeBufferPointer<Int32>, skipSpecialTokens: Bool
    ) throws(QwenSFTError) -> LargeArray<UInt8> {
        let length = length(of: ids, skipSpecialTokens: skipSpecialTokens)
        var result = LargeArray<UInt8>(purpose: "the text of \(ids.count) ids")
        try result.reserve(length + Self.block)
        try result.append(length) { write(ids, skipSpecialTokens: skipSpecialTokens, to: $0) }
        return result
    }

    private func length(of ids: UnsafeBufferPointer<Int32>, skipSpecialTokens: Bool) -> Int {
        let skipped: UInt32 = skipSpecialTokens ? 1 : 0
        var length = 0
        for id in ids where id >= 0 && Int(id) < idEnd {
            let entry = entries.base[Int(id)]
            if entry.length & skipped == 0 { length &+= Int(entry.length >> 1) }
        }
        return length
    }

    /// Writes the bytes, and up to a block more behind them.
    private func write(
        _ ids: UnsafeBufferPointer<Int32>, skipSpecialTokens: Bool, to target: UnsafeMutablePointer<UInt8>
    ) {
        let skipped: UInt32 = skipSpecialTokens ? 1 : 0
        var output = UnsafeMutableRawPointer(target)
        for id in ids where id >= 0 && Int(id) < idEnd {
            let entry = entries.base[Int(id)]
            if entry.length & skipped != 0 { continue }
            let count = Int(entry.length >> 1)
            let source = UnsafeRawPointer(text.base + Int(entry.start))
            if count <= Self.block {
                output.storeBytes(of: source.loadUnaligned(as: SIMD16<UInt8>.self), as: SIMD16<UInt8>.self)
            } else {
                output.copyMemory(from: source, byteCount: count)
            }
            output += count
        }
    }
}
