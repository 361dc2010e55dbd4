/// Ids to text, one id at a time: characters are handed out as soon as they are certain.
///
/// A token may end in the middle of a character; its bytes wait for the rest. All texts put together are what
/// `Tokenizer.decode` makes of all ids.
public struct StreamingDecoder: Sendable {
    private let tokenizer: Tokenizer
    private let skipSpecialTokens: Bool
    /// Bytes of a character that is not complete.
    private var waiting: [UInt8] = []

    public init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = false) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
    }

    /// The characters that `id` completes; often one word, possibly none.
    public mutating func append(_ id: Int32) -> String {
        waiting += tokenizer.decodeBytes([id], skipSpecialTokens: skipSpecialTokens)
        let end = waiting.count - Self.openBytes(at: waiting)
        let text = String(decoding: waiting[..<end], as: UTF8.self)
        waiting.removeSubrange(..<end)
        return text
    }

    /// What still waits, as U+FFFD: no more ids follow. The decoder is as new.
    public mutating func finish() -> String {
        defer { waiting.removeAll() }
        return String(decoding: waiting, as: UTF8.self)
    }

    /// How many bytes at the end begin a character that more bytes could complete.
    private static func openBytes(at bytes: [UInt8]) -> Int {
        for count in 1...3 where count <= bytes.count {
            let start = bytes.count - count
            let lead = bytes[start]
            guard lead & 0xC0 != 0x80 else { continue }  // not the first of a character
            let length =
                lead >= 0xF0 && lead <= 0xF4 ? 4 : lead >= 0xE0 && lead < 0xF0 ? 3 : lead >= 0xC2 && lead < 0xE0 ? 2 : 1
            guard length > count else { return 0 }
            guard count > 1 else { return 1 }
            // The second byte's range is narrower after some (no overlong forms, no surrogates, nothing above U+10FFFF).
            let least: UInt8 = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80
            let most: UInt8 = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF
            return (least...most).contains(bytes[start + 1]) ? count : 0
        }
        return 0
    }
}
