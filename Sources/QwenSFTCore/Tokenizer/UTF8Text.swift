import CText

/// Text as the tokenizer walks it: well-formed UTF-8 (checked where it enters), between two pointers.
package typealias UTF8Pointer = UnsafePointer<UInt8>

/// A code point and the bytes it takes.
struct DecodedScalar {
    let value: UInt32
    let length: Int

    /// Reads the character at `p`, which must begin a well-formed sequence.
    @inline(__always)
    init(at p: UTF8Pointer) {
        let first = UInt32(p[0])
        if first < 0x80 {
            value = first
            length = 1
        } else if first < 0xE0 {
            value = (first & 0x1F) << 6 | UInt32(p[1] & 0x3F)
            length = 2
        } else if first < 0xF0 {
            value = (first & 0x0F) << 12 | UInt32(p[1] & 0x3F) << 6 | UInt32(p[2] & 0x3F)
            length = 3
        } else {
            value = (first & 0x07) << 18 | UInt32(p[1] & 0x3F) << 12 | UInt32(p[2] & 0x3F) << 6 | UInt32(p[3] & 0x3F)
            length = 4
        }
    }
}

/// Appends the UTF-8 of a code point.
func appendUTF8(_ value: UInt32, to output: inout [UInt8]) {
    switch value {
    case 0..<0x80:
        output.append(UInt8(truncatingIfNeeded: value))
    case 0x80..<0x800:
        output.append(UInt8(truncatingIfNeeded: 0xC0 | value >> 6))
        output.append(UInt8(truncatingIfNeeded: 0x80 | value & 0x3F))
    case 0x800..<0x10000:
        output.append(UInt8(truncatingIfNeeded: 0xE0 | value >> 12))
        output.append(UInt8(truncatingIfNeeded: 0x80 | value >> 6 & 0x3F))
        output.append(UInt8(truncatingIfNeeded: 0x80 | value & 0x3F))
    default:
        output.append(UInt8(truncatingIfNeeded: 0xF0 | value >> 18))
        output.append(UInt8(truncatingIfNeeded: 0x80 | value >> 12 & 0x3F))
        output.append(UInt8(truncatingIfNeeded: 0x80 | value >> 6 & 0x3F))
        output.append(UInt8(truncatingIfNeeded: 0x80 | value & 0x3F))
    }
}
