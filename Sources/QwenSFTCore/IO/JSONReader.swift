import Libc

/// A pull parser for JSON (RFC 8259) that works on bytes and builds nothing.
///
///     try reader.beginObject()
///     while let key = try reader.nextKey() {
///         if key == "model" { … } else { try reader.skipValue() }
///     }
///     try reader.end()
///
/// Keys and strings come as byte slices: of the input itself, or, where they hold a backslash, of a buffer that the next
/// key or string reuses. Refused, with file, line and column (in bytes, from 1): everything the RFC refuses, bad UTF-8, lone
/// surrogates, nesting deeper than the limit. Duplicate keys are the business of whoever collects them.
package struct JSONReader: ~Copyable {
    package enum Kind: Sendable { case object, array, string, number, bool, null }

    package enum Dialect: Sendable {
        /// The RFC and nothing else: what Rust reads (tokenizer.json, safetensors), and data.
        case strict
        /// Also what Python's json module reads and writes: NaN, Infinity and -Infinity are numbers, a lone surrogate is a
        /// character (U+FFFD here), and of members with the same key the last one counts.
        case python
    }

    /// The bytes of a string or key, valid until the reader reads the next one.
    package typealias Bytes = UnsafeRawBufferPointer

    /// What messages call the document.
    package let file: String
    /// Where the next byte is read; the offset from the start of the document.
    package private(set) var position = 0
    /// Where the last key began: what an error about a duplicate key points at.
    package private(set) var keyPosition = 0
    private let input: UnsafeRawBufferPointer
    private let firstLine: Int
    private let firstColumn: Int
    private let depthLimit: Int
    package let dialect: Dialect
    private var depth = 0
    private var valueCount = 0
    /// A value of the innermost container has been read: a comma must come before the next.
    private var needsComma = false
    private var scratch = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    /// `bytes` must stay valid as long as the reader. `firstLine` (from 1) and `firstColumn` (from 0): where the first byte stands, for
    /// a document that is a part of a file.
    package init(
        _ bytes: UnsafeRawBufferPointer, file: String, firstLine: Int = 1, firstColumn: Int = 0, depthLimit: Int = 64,
        dialect: Dialect = .strict
    ) {
        input = bytes
        self.dialect = dialect
        self.file = file
        self.firstLine = firstLine
        self.firstColumn = firstColumn
        self.depthLimit = depthLimit
    }

    deinit { free(scratch.baseAddress) }

    // MARK: Structure

    /// The kind of the value that comes next.
    package mutating func peek() throws(QwenSFTError) -> Kind {
        skipWhitespace()
        switch byte {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        case UInt8(ascii: "N") where dialect == .python, UInt8(ascii: "I") where dialect == .python: return .number
        default: throw unexpected("a value")
        }
    }

    package mutating func beginObject() throws(QwenSFTError) { try open(UInt8(ascii: "{"), "an object") }

    package mutating func beginArray() throws(QwenSFTError) { try open(UInt8(ascii: "["), "an array") }

    /// The next key of the innermost object, its colon consumed; nil at the object's end.
    package mutating func nextKey() throws(QwenSFTError) -> Bytes? {
        guard try advance(to: UInt8(ascii: "}"), "an object") else { return nil }
        guard byte == UInt8(ascii: "\"") else { throw unexpected("an object key") }
        keyPosition = position
        let key = try scanString()
        skipWhitespace()
        guard byte == UInt8(ascii: ":") else { throw unexpected("':' after an object key") }
        position += 1
        return key
    }

    /// Whether another element of the innermost array follows; false consumes the array's end.
    package mutating func nextElement() throws(QwenSFTError) -> Bool {
        try advance(to: UInt8(ascii: "]"), "an array")
    }

    /// Nothing but white space may follow the document.
    package mutating func end() throws(QwenSFTError) {
        skipWhitespace()
        if position < input.count { throw unexpected("the end of the document") }
    }

    /// Reads over a value of any kind, checking it as strictly as if it were used.
    package mutating func skipValue() throws(QwenSFTError) {
        switch try peek() {
        case .object:
            try beginObject()
            while try nextKey() != nil { try skipValue() }
        case .array:
            try beginArray()
            while try nextElement() { try skipValue() }
        case .string: _ = try string()
        case .number: _ = try numberLiteral()
        case .bool: _ = try bool()
        case .null: try null()
        }
    }

    /// A tree's values each take a hundred times the memory of the shortest text they can have.
    private static let valueLimit = 4_000_000

    /// Notes that a value becomes a part of a tree.
    /// - Throws: `invalidFile` for more values than any checkpoint's files have.
    mutating func countValue() throws(QwenSFTError) {
        valueCount += 1
        if valueCount > Self.valueLimit { throw error("the document holds more than \(Self.valueLimit) values") }
    }

    // MARK: Scalars

    package mutating func string() throws(QwenSFTError) -> Bytes {
        skipWhitespace()
        guard byte == UInt8(ascii: "\"") else { throw unexpected("a string") }
        let result = try scanString()
        needsComma = true
        return result
    }

    package mutating func bool() throws(QwenSFTError) -> Bool {
        skipWhitespace()
        if byte == UInt8(ascii: "t") {
            try literal("true")
            return true
        }
        guard byte == UInt8(ascii: "f") else { throw unexpected("true or false") }
        try literal("false")
        return false
    }

    package mutating func null() throws(QwenSFTError) {
        skipWhitespace()
        guard byte == UInt8(ascii: "n") else { throw unexpected("null") }
        try literal("null")
    }

    /// An integer that fits into Int, written without fraction or exponent.
    package mutating func integer() throws(QwenSFTError) -> Int {
        skipWhitespace()
        let start = position
        let literal = try numberLiteral()
        guard let value = JSONReader.integer(literal) else { throw error("expected an integer of 64 bits", at: start) }
        return value
    }

    package mutating func number() throws(QwenSFTError) -> Double {
        skipWhitespace()
        let start = position
        let literal = try numberLiteral()
        guard let value = Double(String(decoding: literal, as: UTF8.self)), value.isFinite else {
            throw error("the number is too large", at: start)
        }
        return value
    }

    /// A number as it is written, its grammar checked.
    package mutating func numberLiteral() throws(QwenSFTError) -> Bytes {
        skipWhitespace()
        let start = position
        if dialect == .python, let word = nonFiniteLiteral() { return word }
        if byte == UInt8(ascii: "-") { position += 1 }
        guard isDigit(byte) else {
            throw position == start ? unexpected("a number") : unexpected("a digit")
        }
        if byte == UInt8(ascii: "0") {
            position += 1
            if isDigit(byte) { throw error("a number must not begin with 0", at: start) }
        } else {
            while isDigit(byte) { position += 1 }
        }
        if byte == UInt8(ascii: ".") {
            position += 1
            guard isDigit(byte) else { throw unexpected("a digit") }
            while isDigit(byte) { position += 1 }
        }
        if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
            position += 1
            if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { position += 1 }
            guard isDigit(byte) else { throw unexpected("a digit") }
            while isDigit(byte) { position += 1 }
        }
        needsComma = true
        return Bytes(rebasing: input[start..<position])
    }

    /// NaN, Infinity or -Infinity, if one of them comes next.
    private mutating func nonFiniteLiteral() -> Bytes? {
        for word in ["NaN", "Infinity", "-Infinity"] as [StaticString] where isNext(word) {
            let start = position
            position += word.utf8CodeUnitCount
            needsComma = true
            return Bytes(rebasing: input[start..<position])
        }
        return nil
    }

    static func integer(_ literal: Bytes) -> Int? {
        var digits = literal[...]
        let negative = digits.first == UInt8(ascii: "-")
        if negative { digits = digits.dropFirst() }
        var value = 0
        for digit in digits {
            guard isDigit(digit) else { return nil }
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let unit = Int(digit) - 48
            let (sum, overflow2) =
                negative ? tens.subtractingReportingOverflow(unit) : tens.addingReportingOverflow(unit)
            if overflow || overflow2 { return nil }
            value = sum
        }
        return value
    }

    // MARK: Errors

    /// `file:line:column: message`, at the reader's position or at `offset`.
    package borrowing func error(_ message: String, at offset: Int? = nil) -> QwenSFTError {
        let offset = min(offset ?? position, input.count)
        var line = firstLine
        var lineStart = -firstColumn
        for i in 0..<offset where input[i] == UInt8(ascii: "\n") {
            line += 1
            lineStart = i + 1
        }
        return QwenSFTError(.invalidFile, "\(file):\(line):\(offset - lineStart + 1): \(message)")
    }

    private borrowing func unexpected(_ expected: String) -> QwenSFTError {
        guard position < input.count else { return error("the document ends where \(expected) was expected") }
        let found = input[position]
        let shown =
            (0x21..<0x7F).contains(found)
            ? "'" + String(UnicodeScalar(found)) + "'"
            : "byte 0x" + String(found, radix: 16)
        return error("expected \(expected), found \(shown)")
    }

    // MARK: Bytes

    /// The byte at the position; 0, which no JSON text may hold outside of strings, past the end.
    private var byte: UInt8 {
        @inline(__always) get { position < input.count ? input[position] : 0 }
    }

    @inline(__always)
    private mutating func skipWhitespace() {
        while position < input.count {
            let b = input[position]
            guard b == 0x20 || b == 0x0A || b == 0x0D || b == 0x09 else { return }
            position += 1
        }
    }

    private mutating func open(_ bracket: UInt8, _ what: String) throws(QwenSFTError) {
        skipWhitespace()
        guard byte == bracket else { throw unexpected(what) }
        guard depth < depthLimit else { throw error("nested deeper than \(depthLimit) levels") }
        position += 1
        depth += 1
        needsComma = false
    }

    /// Moves to the next member of a container; false when `bracket` closes it.
    @inline(__always)
    private mutating func advance(to bracket: UInt8, _ what: String) throws(QwenSFTError) -> Bool {
        // Every loop over a document comes here, and most of them allocate.
        try Memory.check(file)
        skipWhitespace()
        if byte == bracket {
            position += 1
            depth -= 1
            needsComma = true
            return false
        }
        if needsComma {
            guard byte == UInt8(ascii: ",") else { throw unexpected("',' or the end of \(what)") }
            position += 1
            skipWhitespace()
            if byte == bracket { throw error("a comma must not stand before the end of \(what)") }
            needsComma = false
        }
        return true
    }

    private mutating func literal(_ word: StaticString) throws(QwenSFTError) {
        guard isNext(word) else { throw unexpected(word.description) }
        position += word.utf8CodeUnitCount
        needsComma = true
    }

    private func isNext(_ word: StaticString) -> Bool {
        guard let start = input.baseAddress, input.count - position >= word.utf8CodeUnitCount else { return false }
        return memcmp(start + position, word.utf8Start, word.utf8CodeUnitCount) == 0
    }

    /// A string from its opening quote on.
    @inline(__always)
    private mutating func scanString() throws(QwenSFTError) -> Bytes {
        let start = position + 1
        position = start
        let stop = try skipPlainText()
        if stop == UInt8(ascii: "\"") {
            position += 1
            return Bytes(rebasing: input[start..<position - 1])
        }
        return try scanEscapedString(from: start)
    }

    /// The rest of a string from its first backslash on, unescaped into the scratch buffer.
    private mutating func scanEscapedString(from start: Int) throws(QwenSFTError) -> Bytes {
        var count = 0
        var runStart = start
        while true {
            try append(Bytes(rebasing: input[runStart..<position]), &count)
            if input[position] == UInt8(ascii: "\"") {
                position += 1
                return Bytes(rebasing: Bytes(scratch)[0..<count])
            }
            let scalar = try escapedScalar()
            // UTF-8 of at most four bytes, lowest byte first.
            var units = UInt32(0)
            var length = 0
            for unit in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter {
                units |= UInt32(unit) << (8 * length)
                length += 1
            }
            units = units.littleEndian
            try withUnsafeBytes(of: &units) { (bytes) throws(QwenSFTError) in
                try append(Bytes(rebasing: bytes[0..<length]), &count)
            }
            runStart = position
            _ = try skipPlainText()
        }
    }

    private mutating func escapedScalar() throws(QwenSFTError) -> Unicode.Scalar {
        let start = position
        position += 1
        let letter = byte
        position += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(letter)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): break
        default: throw error("unknown escape in a string", at: start)
        }
        let first = try fourHexDigits(start)
        if let scalar = Unicode.Scalar(first) { return scalar }
        // The first half of a surrogate pair: the second half must follow at once.
        if first < 0xDC00, position + 1 < input.count, input[position] == UInt8(ascii: "\\"),
            input[position + 1] == UInt8(ascii: "u")
        {
            let afterFirst = position
            position += 2
            let second = try fourHexDigits(start)
            if (0xDC00...0xDFFF).contains(second),
                let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
            {
                return scalar
            }
            position = afterFirst
        }
        if dialect == .python { return "\u{FFFD}" }
        throw error("a lone surrogate is not a character", at: start)
    }

    private mutating func fourHexDigits(_ escapeStart: Int) throws(QwenSFTError) -> UInt32 {
        guard input.count - position >= 4 else { throw error("the document ends inside a string", at: input.count) }
        var value = UInt32(0)
        for i in position..<position + 4 {
            let digit: UInt8
            switch input[i] {
            case let d where isDigit(d): digit = d - 48
            case let d where (0x41...0x46).contains(d & 0xDF): digit = (d & 0xDF) - 55
            default: throw error("\\u needs four hexadecimal digits", at: escapeStart)
            }
            value = value << 4 | UInt32(digit)
        }
        position += 4
        return value
    }

    /// Appends to the first `count` bytes of the scratch buffer.
    private mutating func append(_ bytes: Bytes, _ count: inout Int) throws(QwenSFTError) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        if scratch.count - count < bytes.count {
            let capacity = max(2 * scratch.count, count + bytes.count, 256)
            guard let larger = realloc(scratch.baseAddress, capacity) else {
                throw QwenSFTError(.outOfMemory, "\(file): no memory for a string of \(capacity) bytes")
            }
            scratch = UnsafeMutableRawBufferPointer(start: larger, count: capacity)
        }
        guard let target = scratch.baseAddress else { return }
        memcpy(target + count, source, bytes.count)
        count += bytes.count
    }

    /// Moves over text that stands for itself, to a quote or backslash, which is returned. Checks UTF-8 on the way.
    @inline(__always)
    private mutating func skipPlainText() throws(QwenSFTError) -> UInt8 {
        var p = position
        let end = input.count
        while p < end {
            let b = input[p]
            if b < 0x80 {
                if b == UInt8(ascii: "\"") || b == UInt8(ascii: "\\") {
                    position = p
                    return b
                }
                if b < 0x20 {
                    position = p
                    throw error("a control character in a string must be escaped")
                }
                p += 1
            } else if b & 0xE0 == 0xC0, b >= 0xC2, p + 1 < end, isContinuation(input[p + 1]) {
                p += 2  // the usual case of a byte-level vocabulary
            } else {
                let length = utf8SequenceLength(input, at: p)
                if length == 0 {
                    position = p
                    throw error("invalid UTF-8")
                }
                p += length
            }
        }
        position = p
        throw error("the document ends inside a string")
    }
}

@inline(__always)
private func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }
