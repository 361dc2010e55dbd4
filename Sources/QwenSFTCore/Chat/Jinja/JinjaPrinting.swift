/// How values are printed: as `str` and `repr` do it, and as JSON.
extension TaggedText {
    /// Appends `str(value)`. An undefined value and what has no printed form that a template could want print nothing.
    mutating func appendString(_ value: JinjaValue) throws(QwenSFTError) {
        switch value {
        case .text(let text): append(text)
        case .undefined, .missing: break
        default: try appendRepresentation(value, .template)
        }
    }

    /// Appends `repr(value)`.
    mutating func appendRepresentation(_ value: JinjaValue, _ origin: TextOrigin) throws(QwenSFTError) {
        switch value {
        case .null: append("None".utf8, origin)
        case .bool(let value): append((value ? "True" : "False").utf8, origin)
        case .int(let value): append(String(value).utf8, origin)
        case .float(let value): append(PythonText.describe(value).utf8, origin)
        case .largeInteger(let digits): append(digits)
        case .text(let text): append(PythonText.represent(text.bytes), text.dominantOrigin)
        case .undefined, .missing: append("Undefined".utf8, origin)
        case .list(let list):
            let isTuple = list.kind == .tuple
            guard isTuple || list.kind == .list else { throw unprintable(value) }
            append(UInt8(ascii: isTuple ? "(" : "["), list.origin)
            for (i, element) in list.elements.enumerated() {
                if i > 0 { append(", ".utf8, list.origin) }
                try appendRepresentation(element, list.origin)
            }
            if isTuple, list.elements.count == 1 { append(UInt8(ascii: ","), list.origin) }
            append(UInt8(ascii: isTuple ? ")" : "]"), list.origin)
        case .dict(let dict):
            append(UInt8(ascii: "{"), dict.origin)
            for (i, entry) in dict.entries.enumerated() {
                if i > 0 { append(", ".utf8, dict.origin) }
                try appendRepresentation(entry.key, dict.origin)
                append(": ".utf8, dict.origin)
                try appendRepresentation(entry.value, dict.origin)
            }
            append(UInt8(ascii: "}"), dict.origin)
        case .namespace, .loop, .macro, .function: throw unprintable(value)
        }
    }

    private func unprintable(_ value: JinjaValue) -> QwenSFTError {
        QwenSFTError(.unsupported, "printing a value of type \(value.typeName) is not supported")
    }
}

/// `json.dumps`, with the arguments that transformers' `tojson` has.
struct JinjaJSON {
    var asciiOnly = false
    /// nil: everything on one line.
    var indent: JinjaText?
    var itemSeparator = JinjaText(", ")
    var keySeparator = JinjaText(": ")
    var sortsKeys = false
    private(set) var output = TaggedText()

    mutating func write(_ value: JinjaValue, _ origin: TextOrigin = .template, level: Int = 0) throws(QwenSFTError) {
        switch value {
        case .null: output.append("null".utf8, origin)
        case .bool(let value): output.append((value ? "true" : "false").utf8, origin)
        case .int(let value): output.append(String(value).utf8, origin)
        case .float(let value): output.append(JinjaJSON.describe(value).utf8, origin)
        case .largeInteger(let digits): output.append(digits)
        case .text(let text): writeString(text)
        case .list(let list) where list.kind == .list || list.kind == .tuple:
            try writeContainer("[", "]", list.elements, list.origin, level) { (json, element) throws(QwenSFTError) in
                try json.write(element, list.origin, level: level + 1)
            }
        case .dict(let dict):
            var entries = dict.entries
            if sortsKeys { entries.sort { JinjaJSON.key($0.key).lexicographicallyPrecedes(JinjaJSON.key($1.key)) } }
            try writeContainer("{", "}", entries, dict.origin, level) { (json, entry) throws(QwenSFTError) in
                guard case .text(let key) = entry.key else {
                    switch entry.key {
                    case .null, .bool, .int, .float:
                        json.output.append(UInt8(ascii: "\""), dict.origin)
                        try json.write(entry.key, dict.origin)
                        json.output.append(UInt8(ascii: "\""), dict.origin)
                    default: throw JinjaJSON.wrong(entry.key)
                    }
                    json.output.append(json.keySeparator)
                    return try json.write(entry.value, dict.origin, level: level + 1)
                }
                json.writeString(key)
                json.output.append(json.keySeparator.bytes, dict.origin)
                try json.write(entry.value, dict.origin, level: level + 1)
            }
        default: throw JinjaJSON.wrong(value)
        }
    }

    private static func wrong(_ value: JinjaValue) -> QwenSFTError {
        QwenSFTError(.invalidArgument, "a value of type \(value.typeName) cannot be written as JSON")
    }

    private static func key(_ value: JinjaValue) -> [UInt8] {
        if case .text(let text) = value { text.bytes } else { [] }
    }

    private static func describe(_ value: Double) -> String {
        value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : PythonText.describe(value)
    }

    private mutating func writeContainer<Element>(
        _ opening: String, _ closing: String, _ elements: [Element], _ origin: TextOrigin, _ level: Int,
        _ write: (inout JinjaJSON, Element) throws(QwenSFTError) -> Void
    ) throws(QwenSFTError) {
        output.append(opening.utf8, origin)
        for (i, element) in elements.enumerated() {
            if i > 0 { output.append(itemSeparator.bytes, origin) }
            newline(level + 1, origin)
            try write(&self, element)
        }
        if !elements.isEmpty { newline(level, origin) }
        output.append(closing.utf8, origin)
    }

    private mutating func newline(_ level: Int, _ origin: TextOrigin) {
        guard let indent else { return }
        output.append(UInt8(ascii: "\n"), origin)
        for _ in 0..<level { output.append(indent.bytes, origin) }
    }

    private mutating func writeString(_ text: JinjaText) {
        var escaped: [UInt8] = [UInt8(ascii: "\"")]
        escaped.reserveCapacity(text.bytes.count + 2)
        func escape(_ unit: UInt32) { escaped += "\\u\(PythonText.hexadecimal(unit, 4))".utf8 }
        for (i, byte) in text.bytes.enumerated() {
            switch byte {
            case UInt8(ascii: "\""): escaped += "\\\"".utf8
            case UInt8(ascii: "\\"): escaped += "\\\\".utf8
            case 0x0A: escaped += "\\n".utf8
            case 0x0D: escaped += "\\r".utf8
            case 0x09: escaped += "\\t".utf8
            case 0x0C: escaped += "\\f".utf8
            case 0x08: escaped += "\\b".utf8
            case 0..<0x20: escape(UInt32(byte))
            case 0x7F where asciiOnly: escape(0x7F)
            case 0x80... where asciiOnly:
                if !PythonText.isBoundary(byte) { continue }
                let end = PythonText.after(text.bytes, i)
                for unit in String(decoding: text.bytes[i..<end], as: UTF8.self).utf16 { escape(UInt32(unit)) }
            default: escaped.append(byte)
            }
        }
        escaped.append(UInt8(ascii: "\""))
        output.append(escaped, text.dominantOrigin)
    }
}
