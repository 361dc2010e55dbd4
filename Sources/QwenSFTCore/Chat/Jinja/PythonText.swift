/// Texts as Python sees them: sequences of code points with its idea of white space.
enum PythonText {
    /// The bytes of the white space character that begins at `i`; 0 where there is none. (`str.isspace`)
    static func spaceLength(_ bytes: [UInt8], at i: Int) -> Int {
        let b = bytes[i]
        if b < 0x80 { return (9...13).contains(b) || (28...32).contains(b) ? 1 : 0 }
        if b == 0xC2 { return i + 1 < bytes.count && (bytes[i + 1] == 0x85 || bytes[i + 1] == 0xA0) ? 2 : 0 }
        guard (0xE1...0xE3).contains(b), i + 2 < bytes.count else { return 0 }
        switch (b, bytes[i + 1], bytes[i + 2]) {
        case (0xE1, 0x9A, 0x80), (0xE2, 0x80, 0x80...0x8A), (0xE2, 0x80, 0xA8...0xA9), (0xE2, 0x80, 0xAF),
            (0xE2, 0x81, 0x9F), (0xE3, 0x80, 0x80):
            return 3
        default: return 0
        }
    }

    static func isBoundary(_ byte: UInt8) -> Bool { byte & 0xC0 != 0x80 }

    /// Where the character before `end` begins.
    static func before(_ bytes: [UInt8], _ end: Int) -> Int {
        var i = end - 1
        while i > 0, !isBoundary(bytes[i]) { i -= 1 }
        return i
    }

    static func after(_ bytes: [UInt8], _ start: Int) -> Int {
        var i = start + 1
        while i < bytes.count, !isBoundary(bytes[i]) { i += 1 }
        return i
    }

    static func skipSpace(_ bytes: [UInt8], from start: Int) -> Int {
        var i = start
        while i < bytes.count {
            let length = spaceLength(bytes, at: i)
            if length == 0 { break }
            i += length
        }
        return i
    }

    static func endWithoutSpace(_ bytes: [UInt8], from start: Int, to end: Int) -> Int {
        var end = end
        while end > start {
            let i = before(bytes, end)
            if i < start || spaceLength(bytes, at: i) == 0 { break }
            end = i
        }
        return end
    }

    /// What `strip`, `lstrip` and `rstrip` leave. `characters`: nil: white space.
    static func strip(_ text: JinjaText, _ characters: JinjaText?, left: Bool, right: Bool) -> Range<Int> {
        let bytes = text.bytes
        guard let characters else {
            let start = left ? skipSpace(bytes, from: 0) : 0
            return start..<(right ? endWithoutSpace(bytes, from: start, to: bytes.count) : bytes.count)
        }
        func isStripped(_ range: Range<Int>) -> Bool { find(bytes[range], in: characters.bytes, from: 0) != nil }
        var (start, end) = (0, bytes.count)
        while left, start < end, isStripped(start..<after(bytes, start)) { start = after(bytes, start) }
        while right, start < end, isStripped(before(bytes, end)..<end) { end = before(bytes, end) }
        return start..<end
    }

    /// The first place at or after `start` where `needle` stands.
    static func find(_ needle: some Collection<UInt8>, in bytes: [UInt8], from start: Int) -> Int? {
        guard let first = needle.first else { return start <= bytes.count ? start : nil }
        let count = needle.count
        var i = start
        while i + count <= bytes.count {
            guard let next = bytes[i...(bytes.count - count)].firstIndex(of: first) else { return nil }
            if bytes[next..<next + count].elementsEqual(needle) { return next }
            i = next + 1
        }
        return nil
    }

    static func findLast(_ needle: [UInt8], in bytes: [UInt8], before end: Int) -> Int? {
        var i = end - needle.count
        while i >= 0 {
            if bytes[i..<i + needle.count].elementsEqual(needle) { return i }
            i -= 1
        }
        return nil
    }

    /// The lines, as `splitlines` cuts them.
    static func lines(_ bytes: [UInt8], keepsEnds: Bool) -> [Range<Int>] {
        var lines: [Range<Int>] = []
        var start = 0
        var i = 0
        while i < bytes.count {
            var length = 0
            switch bytes[i] {
            case 0x0D: length = i + 1 < bytes.count && bytes[i + 1] == 0x0A ? 2 : 1
            case 0x0A...0x0C, 0x1C...0x1E: length = 1
            case 0xC2 where bytes[i...].starts(with: [0xC2, 0x85]): length = 2
            case 0xE2
            where bytes[i...].starts(with: [0xE2, 0x80, 0xA8]) || bytes[i...].starts(with: [0xE2, 0x80, 0xA9]):
                length = 3
            default: break
            }
            if length > 0 {
                lines.append(start..<(keepsEnds ? i + length : i))
                start = i + length
            }
            i += max(1, length)
        }
        if start < bytes.count { lines.append(start..<bytes.count) }
        return lines
    }

    /// Number of code points.
    static func length(_ bytes: some Sequence<UInt8>) -> Int { bytes.reduce(0) { $0 + (isBoundary($1) ? 1 : 0) } }

    /// Where each code point begins, and the end.
    static func boundaries(_ bytes: [UInt8]) -> [Int] {
        bytes.indices.filter { isBoundary(bytes[$0]) } + [bytes.count]
    }

    /// The first character in title case, the others in lower case; `everyWord`: after every character that has no case.
    static func titled(_ text: String, everyWord: Bool) -> String {
        var result = ""
        var isInWord = false
        for (i, scalar) in text.unicodeScalars.enumerated() {
            let properties = scalar.properties
            let begins = everyWord ? !isInWord : i == 0
            result += begins ? properties.titlecaseMapping : properties.lowercaseMapping
            isInWord = properties.isCased
        }
        return result
    }

    /// A float as Python prints it: the shortest digits that give it back.
    static func describe(_ value: Double) -> String {
        if value.isNaN { return "nan" }
        if value.isInfinite { return value < 0 ? "-inf" : "inf" }
        var digits = ""
        var exponent = 0  // of ten, for a point after the first digit
        var isFraction = false
        var leading = 0
        let written = String(value.magnitude.description)
        let parts = written.split(separator: "e")
        for c in parts.first ?? "" {
            if c == "." {
                isFraction = true
            } else {
                digits.append(c)
                if !isFraction { leading += 1 }
            }
        }
        exponent = leading - 1 + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0)
        while digits.hasPrefix("0"), digits.count > 1 {
            digits.removeFirst()
            exponent -= 1
        }
        while digits.hasSuffix("0"), digits.count > 1 { digits.removeLast() }
        if digits == "0" { exponent = 0 }
        let sign = value.sign == .minus ? "-" : ""
        let count = digits.count
        if exponent >= 16 || exponent < -4 {
            let mantissa = count == 1 ? digits : "\(digits.prefix(1)).\(digits.dropFirst())"
            let size = exponent.magnitude < 10 ? "0\(exponent.magnitude)" : "\(exponent.magnitude)"
            return "\(sign)\(mantissa)e\(exponent < 0 ? "-" : "+")\(size)"
        }
        if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + digits }
        if count <= exponent + 1 { return sign + digits + String(repeating: "0", count: exponent + 1 - count) + ".0" }
        return "\(sign)\(digits.prefix(exponent + 1)).\(digits.dropFirst(exponent + 1))"
    }

    /// A string literal as `repr` writes it.
    static func represent(_ bytes: [UInt8]) -> [UInt8] {
        let quote: UInt8 =
            bytes.contains(UInt8(ascii: "'")) && !bytes.contains(UInt8(ascii: "\""))
            ? UInt8(ascii: "\"") : UInt8(ascii: "'")
        var result = [quote]
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
            switch scalar {
            case "\n": result += "\\n".utf8
            case "\r": result += "\\r".utf8
            case "\t": result += "\\t".utf8
            case "\\": result += "\\\\".utf8
            case " ": result.append(0x20)
            default:
                let value = scalar.value
                if value == UInt32(quote) {
                    result += [UInt8(ascii: "\\"), quote]
                } else if (0x21..<0x7F).contains(value) || isPrintable(scalar) {
                    result += UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter
                } else {
                    let (letter, width) = value < 0x100 ? ("x", 2) : value < 0x10000 ? ("u", 4) : ("U", 8)
                    result += "\\\(letter)\(hexadecimal(value, width))".utf8
                }
            }
        }
        return result + [quote]
    }

    static func hexadecimal(_ value: UInt32, _ width: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator,
            .spaceSeparator:
            false
        default: scalar.value >= 0x20
        }
    }
}
