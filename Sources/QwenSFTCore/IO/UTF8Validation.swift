import CText

@inline(__always)
func isContinuation(_ byte: UInt8) -> Bool { byte & 0xC0 == 0x80 }

/// The length of the well-formed UTF-8 sequence that starts at `p` (1...4), 0 where there is none.
/// Well-formed: the table of the Unicode Standard, section 3.9 (no overlong forms, no surrogates, nothing past U+10FFFF).
package func utf8SequenceLength(_ bytes: UnsafeRawBufferPointer, at p: Int) -> Int {
    let left = bytes.count - p
    let first = bytes[p]
    switch first {
    case 0x00...0x7F: return 1
    case 0xC2...0xDF:
        return left >= 2 && isContinuation(bytes[p + 1]) ? 2 : 0
    case 0xE0...0xEF:
        guard left >= 3, isContinuation(bytes[p + 1]), isContinuation(bytes[p + 2]) else { return 0 }
        if first == 0xE0 && bytes[p + 1] < 0xA0 || first == 0xED && bytes[p + 1] > 0x9F { return 0 }
        return 3
    case 0xF0...0xF4:
        guard left >= 4, isContinuation(bytes[p + 1]), isContinuation(bytes[p + 2]), isContinuation(bytes[p + 3])
        else { return 0 }
        if first == 0xF0 && bytes[p + 1] < 0x90 || first == 0xF4 && bytes[p + 1] > 0x8F { return 0 }
        return 4
    default: return 0
    }
}

/// The offset of the first byte that is not part of well-formed UTF-8; nil where all is well.
package func firstInvalidUTF8(in bytes: UnsafeRawBufferPointer) -> Int? {
    guard let base = bytes.baseAddress else { return nil }
    var p = qk_utf8_prefix(base.assumingMemoryBound(to: UInt8.self), bytes.count)
    while p < bytes.count {
        let length = utf8SequenceLength(bytes, at: p)
        if length == 0 { return p }
        p += length
    }
    return nil
}
