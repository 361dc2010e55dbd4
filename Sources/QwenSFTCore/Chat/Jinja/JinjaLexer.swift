/// A piece of a template.
struct JinjaToken {
    enum Kind: Equatable {
        case data, name, string, integer, float, end
        case variableBegin, variableEnd, blockBegin, blockEnd
        /// `+`, `==`, `{` and the others.
        case symbol
    }

    let kind: Kind
    /// A name or symbol as it is written; the value of a string; the text of a number; data.
    let bytes: [UInt8]
    /// From 1.
    let line: Int

    var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// Cuts a template into tokens, with trim_blocks and lstrip_blocks set and one final newline taken away, as transformers has it.
struct JinjaLexer {
    private let source: [UInt8]
    private var position = 0
    private var line = 1
    private var tokens: [JinjaToken] = []

    /// - Throws: `invalidFile` with the line.
    static func tokens(_ text: [UInt8]) throws(QwenSFTError) -> [JinjaToken] {
        var lexer = JinjaLexer(text)
        try lexer.run()
        return lexer.tokens
    }

    private init(_ text: [UInt8]) {
        var lines: [UInt8] = []
        lines.reserveCapacity(text.count)
        for (i, byte) in text.enumerated() {
            // CRLF and CR are newlines.
            if byte == 0x0A, i > 0, text[i - 1] == 0x0D { continue }
            lines.append(byte == 0x0D ? 0x0A : byte)
        }
        if lines.last == 0x0A { lines.removeLast() }
        source = lines
    }

    private mutating func run() throws(QwenSFTError) {
        while position < source.count {
            guard let tag = nextTag() else {
                append(.data, Array(source[position...]))
                advance(to: source.count)
                break
            }
            let kind = source[tag + 1]
            let sign = tag + 2 < source.count ? source[tag + 2] : 0
            let isSigned = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+")
            appendData(upTo: tag, sign, isVariable: kind == UInt8(ascii: "{"))
            advance(to: tag + (isSigned ? 3 : 2))
            switch kind {
            case UInt8(ascii: "#"): try skipComment()
            case UInt8(ascii: "{"): try readTag(.variableBegin, .variableEnd)
            default:
                if try !readRaw() { try readTag(.blockBegin, .blockEnd) }
            }
        }
        append(.end, [])
    }

    private func nextTag() -> Int? {
        var i = position
        while let brace = source[i...].firstIndex(of: UInt8(ascii: "{")), brace + 1 < source.count {
            switch source[brace + 1] {
            case UInt8(ascii: "{"), UInt8(ascii: "%"), UInt8(ascii: "#"): return brace
            default: i = brace + 1
            }
        }
        return nil
    }

    /// The text before a tag, less the white space that the tag takes away.
    private mutating func appendData(upTo tag: Int, _ sign: UInt8, isVariable: Bool) {
        var end = tag
        if sign == UInt8(ascii: "-") {
            end = PythonText.endWithoutSpace(source, from: position, to: tag)
        } else if sign != UInt8(ascii: "+"), !isVariable {
            let newline = source[position..<tag].lastIndex(of: 0x0A)
            let lineStart = newline.map { $0 + 1 } ?? position
            let isAtLineStart = newline != nil || position == 0 || source[position - 1] == 0x0A
            if isAtLineStart, PythonText.endWithoutSpace(source, from: lineStart, to: tag) == lineStart {
                end = lineStart
            }
        }
        if end > position { append(.data, Array(source[position..<end])) }
        advance(to: tag)
    }

    private mutating func skipComment() throws(QwenSFTError) {
        let start = position
        guard let end = PythonText.find("#}".utf8, in: source, from: position) else {
            throw error("the comment has no end")
        }
        advance(to: end + 2)
        finishTag(sign: end > start ? source[end - 1] : 0)
    }

    /// White space after the end of a block or comment.
    private mutating func finishTag(sign: UInt8) {
        if sign == UInt8(ascii: "-") {
            advance(to: PythonText.skipSpace(source, from: position))
        } else if sign != UInt8(ascii: "+"), position < source.count, source[position] == 0x0A {
            advance(to: position + 1)
        }
    }

    /// `{% raw %}` up to `{% endraw %}`; false where something else begins.
    private mutating func readRaw() throws(QwenSFTError) -> Bool {
        guard let (bodyStart, isStripped) = tagEnd(position, "raw") else { return false }
        advance(to: isStripped ? PythonText.skipSpace(source, from: bodyStart) : bodyStart)
        if position == source.count { return true }  // Jinja does not mind
        var search = position
        while let tag = PythonText.find("{%".utf8, in: source, from: search) {
            let sign = tag + 2 < source.count ? source[tag + 2] : 0
            let isSigned = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+")
            if let (end, _) = tagEnd(tag + (isSigned ? 3 : 2), "endraw") {
                appendData(upTo: tag, sign, isVariable: false)
                advance(to: end)
                finishTag(sign: source[end - 3])
                return true
            }
            search = tag + 2
        }
        throw error("{% raw %} has no {% endraw %}")
    }

    /// Where a tag that holds nothing but `word` ends.
    private func tagEnd(_ start: Int, _ word: String) -> (Int, isStripped: Bool)? {
        var i = PythonText.skipSpace(source, from: start)
        guard source[i...].starts(with: word.utf8) else { return nil }
        i = PythonText.skipSpace(source, from: i + word.utf8.count)
        for (end, isStripped) in [("-%}", true), ("%}", false), ("+%}", false)]
        where source[i...].starts(with: end.utf8) {
            if end == "+%}" && word == "raw" { continue }
            return (i + end.utf8.count, isStripped)
        }
        return nil
    }

    // MARK: Inside of a tag

    private mutating func readTag(_ begin: JinjaToken.Kind, _ end: JinjaToken.Kind) throws(QwenSFTError) {
        append(begin, [])
        var brackets: [UInt8] = []
        while true {
            advance(to: PythonText.skipSpace(source, from: position))
            guard position < source.count else { throw error("the tag has no end") }
            if brackets.isEmpty, readEnd(end) { return }
            let byte = source[position]
            switch byte {
            case UInt8(ascii: "'"), UInt8(ascii: "\""): try readString(byte)
            case UInt8(ascii: "0")...UInt8(ascii: "9"): readNumber()
            case UInt8(ascii: "_"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                0x80...:
                let end = source[position...].firstIndex { !Self.isName($0) } ?? source.count
                append(.name, Array(source[position..<end]))
                advance(to: end)
            default: try readSymbol(&brackets)
            }
        }
    }

    private mutating func readEnd(_ end: JinjaToken.Kind) -> Bool {
        let closing = end == .variableEnd ? "}}" : "%}"
        var sign = source[position]
        var after = position
        if sign == UInt8(ascii: "-") || (sign == UInt8(ascii: "+") && end == .blockEnd) { after += 1 } else { sign = 0 }
        guard source[after...].starts(with: closing.utf8) else { return false }
        append(end, [])
        advance(to: after + 2)
        if end == .blockEnd || sign != 0 { finishTag(sign: sign) }
        return true
    }

    private mutating func readSymbol(_ brackets: inout [UInt8]) throws(QwenSFTError) {
        let two = position + 1 < source.count ? String(decoding: source[position...position + 1], as: UTF8.self) : ""
        if ["//", "**", "==", "!=", ">=", "<="].contains(two) {
            append(.symbol, Array(two.utf8))
            return advance(to: position + 2)
        }
        let byte = source[position]
        guard "+-/*%~[](){}><=.:|,;".utf8.contains(byte) else {
            throw error("unexpected '\(printable(String(UnicodeScalar(byte))))'")
        }
        switch byte {
        case UInt8(ascii: "("): brackets.append(UInt8(ascii: ")"))
        case UInt8(ascii: "["), UInt8(ascii: "{"): brackets.append(byte + 2)
        case UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: "}"):
            guard brackets.popLast() == byte else { throw error("unexpected '\(String(UnicodeScalar(byte)))'") }
        default: break
        }
        append(.symbol, [byte])
        advance(to: position + 1)
    }

    private mutating func readNumber() {
        var end = position
        func digits() {
            while end < source.count,
                Self.isDigit(source[end])
                    || (source[end] == UInt8(ascii: "_") && end + 1 < source.count && Self.isDigit(source[end + 1]))
            {
                end += 1
            }
        }
        func follows(_ offset: Int) -> Bool { end + offset < source.count && Self.isDigit(source[end + offset]) }
        var kind = JinjaToken.Kind.integer
        if source[position] == UInt8(ascii: "0"), position + 1 < source.count,
            "xXoObB".utf8.contains(source[position + 1])
        {
            end = source[position...].firstIndex { !Self.isName($0) } ?? source.count
        } else {
            digits()
            let isAfterDot = position > 0 && source[position - 1] == UInt8(ascii: ".")
            if !isAfterDot, end < source.count, source[end] == UInt8(ascii: "."), follows(1) {
                kind = .float
                end += 1
                digits()
            }
            if !isAfterDot, end < source.count, source[end] | 0x20 == UInt8(ascii: "e") {
                let sign = end + 1 < source.count && "+-".utf8.contains(source[end + 1]) ? 1 : 0
                if follows(1 + sign) {
                    kind = .float
                    end += 1 + sign
                    digits()
                }
            }
        }
        append(kind, source[position..<end].filter { $0 != UInt8(ascii: "_") })
        advance(to: end)
    }

    /// A string literal with Python's escapes.
    private mutating func readString(_ quote: UInt8) throws(QwenSFTError) {
        var value: [UInt8] = []
        var i = position + 1
        while true {
            guard i < source.count else { throw error("the string has no end") }
            let byte = source[i]
            if byte == quote { break }
            i += 1
            guard byte == UInt8(ascii: "\\") else {
                value.append(byte)
                continue
            }
            guard i < source.count else { throw error("the string has no end") }
            let letter = source[i]
            i += 1
            switch letter {
            case 0x0A: break
            case UInt8(ascii: "n"): value.append(0x0A)
            case UInt8(ascii: "t"): value.append(0x09)
            case UInt8(ascii: "r"): value.append(0x0D)
            case UInt8(ascii: "a"): value.append(0x07)
            case UInt8(ascii: "b"): value.append(0x08)
            case UInt8(ascii: "f"): value.append(0x0C)
            case UInt8(ascii: "v"): value.append(0x0B)
            case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): value.append(letter)
            case UInt8(ascii: "x"): value += try character(&i, digits: 2)
            case UInt8(ascii: "u"): value += try character(&i, digits: 4)
            case UInt8(ascii: "U"): value += try character(&i, digits: 8)
            case UInt8(ascii: "0")...UInt8(ascii: "7"):
                var code = UInt32(letter - 48)
                var count = 1
                while count < 3, i < source.count, (48...55).contains(source[i]) {
                    code = code * 8 + UInt32(source[i] - 48)
                    (i, count) = (i + 1, count + 1)
                }
                value += UnicodeScalar(code).flatMap { UTF8.encode($0) }.map(Array.init) ?? []
            case UInt8(ascii: "N"): throw error("the escape \\N is not supported", .unsupported)
            default: value += [UInt8(ascii: "\\"), letter]
            }
        }
        append(.string, value)
        advance(to: i + 1)
    }

    private func character(_ i: inout Int, digits: Int) throws(QwenSFTError) -> [UInt8] {
        let end = min(i + digits, source.count)
        let text = String(decoding: source[i..<end], as: UTF8.self)
        guard text.utf8.count == digits, text.utf8.allSatisfy({ Self.isHexadecimal($0) }),
            let scalar = UInt32(text, radix: 16).flatMap(UnicodeScalar.init), let bytes = UTF8.encode(scalar)
        else { throw error("the string holds an escape that is no character") }
        i = end
        return Array(bytes)
    }

    // MARK: Parts

    private mutating func append(_ kind: JinjaToken.Kind, _ bytes: [UInt8]) {
        tokens.append(JinjaToken(kind: kind, bytes: bytes, line: line))
    }

    private mutating func advance(to end: Int) {
        for i in position..<end where source[i] == 0x0A { line += 1 }
        position = end
    }

    private func error(_ message: String, _ code: QwenSFTError.Code = .invalidFile) -> QwenSFTError {
        QwenSFTError(code, "chat template, line \(line): \(message)")
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
    private static func isHexadecimal(_ byte: UInt8) -> Bool { isDigit(byte) || (97...102).contains(byte | 0x20) }
    private static func isName(_ byte: UInt8) -> Bool {
        isDigit(byte) || byte == UInt8(ascii: "_") || (97...122).contains(byte | 0x20) || byte >= 0x80
    }
}
