/// The regular tokens: bytes ↔ id, without a Swift string anywhere (`String` takes canonically equivalent texts for equal,
/// a vocabulary does not).
struct Vocabulary: Sendable {
    /// Ids stay below this, so that merge.c has one that is none.
    static let idLimit = 1 << 21 - 1

    /// Tokens.
    let count: Int
    /// One more than the highest id.
    let idEnd: Int
    /// The id of each single byte's token.
    let byteIDs: FlatArray<Int32>
    /// The bytes of all tokens, with `padding` bytes after the last.
    private let text: FlatArray<UInt8>
    /// By id: where its bytes stand; empty where no token has the id.
    private let spans: FlatArray<Span>
    /// Open addressing by the bytes' hash; −1: free.
    private let slots: FlatArray<Int32>

    /// So many bytes may be read past a token's end.
    static let padding = 16

    struct Span: BitwiseCopyable {
        var start: UInt32
        var length: UInt32
    }

    @inline(__always)
    func bytes(of id: Int) -> UnsafeBufferPointer<UInt8> {
        guard id >= 0, id < idEnd else { return UnsafeBufferPointer(start: nil, count: 0) }
        let span = spans.base[id]
        return UnsafeBufferPointer(start: text.base + Int(span.start), count: Int(span.length))
    }

    func id(of bytes: UnsafeBufferPointer<UInt8>) -> Int32? {
        let found = slots.base[Self.slot(of: bytes, slots, text, spans)]
        return found < 0 ? nil : found
    }

    /// The slot where the token with these bytes is or would be.
    private static func slot(
        of bytes: UnsafeBufferPointer<UInt8>, _ slots: FlatArray<Int32>, _ text: FlatArray<UInt8>,
        _ spans: FlatArray<Span>
    ) -> Int {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash(bytes)) & mask
        while true {
            let id = slots.base[slot]
            if id < 0 { return slot }
            let span = spans.base[Int(id)]
            if Int(span.length) == bytes.count, equal(text.base + Int(span.start), bytes) { return slot }
            slot = (slot + 1) & mask
        }
    }

    @inline(__always)
    private static func equal(_ token: UnsafeMutablePointer<UInt8>, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        for i in 0..<bytes.count where token[i] != bytes[i] { return false }
        return true
    }

    @inline(__always)
    private static func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
        var h: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { h = (h ^ UInt64(byte)) &* 0x9E37_79B9_7F4A_7C15 }
        return h ^ h >> 32
    }
}

extension Vocabulary {
    /// What a file says, token by token in its order.
    struct Entries {
        /// Of all tokens, one after the other.
        var text: [UInt8] = []
        var entries: [(id: Int32, start: Int, length: Int)] = []

        init() {
            text.reserveCapacity(1 << 20)
            entries.reserveCapacity(152_000)
        }

        /// Adds a token that a file spells in the byte alphabet.
        mutating func append(spelling: UnsafeRawBufferPointer, id: Int, file: String) throws(QwenSFTError) {
            let start = text.count
            try text.makeRoom(for: spelling.count, purpose: file)
            try entries.makeRoom(for: 1, purpose: file)
            guard ByteAlphabet.appendBytes(of: spelling, to: &text) else {
                throw QwenSFTError(
                    .invalidFile, "\(file): the token '\(shown(spelling))' holds a character that stands for no byte")
            }
            guard text.count > start else {
                throw QwenSFTError(.invalidFile, "\(file): the token of id \(id) is empty")
            }
            guard id >= 0, id < Vocabulary.idLimit else {
                throw QwenSFTError(.invalidFile, "\(file): \(id) is no id for the token '\(shown(spelling))'")
            }
            entries.append((Int32(id), start, text.count - start))
        }
    }

    /// - Throws: `invalidFile` where two tokens have the same id or the same bytes, or a byte has no token.
    init(_ source: Entries, file: String) throws(QwenSFTError) {
        let idEnd = source.entries.reduce(0) { max($0, Int($1.id) + 1) }
        let text = try FlatArray<UInt8>(repeating: 0, count: source.text.count + Vocabulary.padding)
        let spans = try FlatArray<Span>(repeating: Span(start: 0, length: 0), count: idEnd)
        // At most a third full, for short searches.
        var capacity = 1024
        while capacity < 3 * source.entries.count { capacity *= 2 }
        let slots = try FlatArray<Int32>(repeating: -1, count: capacity)
        guard source.text.count < Int(UInt32.max) else {
            throw QwenSFTError(.unsupported, "\(file): more than 4 GB of tokens")
        }
        for (i, byte) in source.text.enumerated() { text.base[i] = byte }
        for (id, start, length) in source.entries {
            let bytes = UnsafeBufferPointer(start: UnsafePointer(text.base + start), count: length)
            if spans.base[Int(id)].length > 0 {
                throw QwenSFTError(
                    .invalidFile, "\(file): two tokens have the id \(id), '\(ByteAlphabet.spelling(of: bytes))' is one")
            }
            spans.base[Int(id)] = Span(start: UInt32(start), length: UInt32(length))
            let slot = Self.slot(of: bytes, slots, text, spans)
            if slots.base[slot] >= 0 {
                throw QwenSFTError(
                    .invalidFile, "\(file): the token '\(ByteAlphabet.spelling(of: bytes))' occurs twice")
            }
            slots.base[slot] = id
        }
        count = source.entries.count
        self.idEnd = idEnd
        self.text = text
        self.spans = spans
        self.slots = slots
        byteIDs = try FlatArray(repeating: -1, count: 256)
        for value in UInt8.min...UInt8.max {
            let found = [value].withUnsafeBufferPointer { self.id(of: $0) }
            guard let found else {
                throw QwenSFTError(
                    .unsupported, "\(file): the byte 0x\(String(value, radix: 16)) has no token; every byte needs one")
            }
            byteIDs.base[Int(value)] = found
        }
    }
}

/// A token from a file, as it may stand in a message.
func shown(_ bytes: UnsafeRawBufferPointer) -> String { printable(String(decoding: bytes, as: UTF8.self)) }
