/// How tokenizer files spell bytes: each byte as one printable character (GPT-2's table). Visible Latin-1 characters stand
/// for themselves, the other 68 bytes for U+0100 and on, in order: the space is `Ġ`, the newline `Ċ`.
enum ByteAlphabet {
    private static let scalars: [UInt32] = {
        var shifted: UInt32 = 0x100
        return (0..<256).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return UInt32(byte)
            default:
                defer { shifted += 1 }
                return shifted
            }
        }
    }()

    /// By code point: its byte, or −1.
    private static let bytes: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { table[Int(scalar)] = Int16(byte) }
        return table
    }()

    /// Appends the bytes that `spelling` (well-formed UTF-8) stands for; false at a character that stands for none.
    static func appendBytes(of spelling: UnsafeRawBufferPointer, to output: inout [UInt8]) -> Bool {
        bytes.withUnsafeBufferPointer { table in
            var p = 0
            while p < spelling.count {
                let first = Int(spelling[p])
                var scalar = first
                if first >= 0x80 {
                    // Two bytes reach U+07FF, beyond the table's end.
                    guard first < 0xE0, p + 1 < spelling.count else { return false }
                    scalar = (first & 0x1F) << 6 | Int(spelling[p + 1] & 0x3F)
                    p += 1
                }
                guard scalar < table.count, table[scalar] >= 0 else { return false }
                output.append(UInt8(truncatingIfNeeded: table[scalar]))
                p += 1
            }
            return true
        }
    }

    static func spelling(of bytes: UnsafeBufferPointer<UInt8>) -> String {
        var result = String.UnicodeScalarView()
        for byte in bytes { if let scalar = Unicode.Scalar(scalars[Int(byte)]) { result.append(scalar) } }
        return String(result)
    }
}
