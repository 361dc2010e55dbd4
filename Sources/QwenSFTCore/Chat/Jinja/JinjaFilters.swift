/// `value | filter`
enum JinjaFilter: String {
    case abs, capitalize, `default`, dictsort, escape, first, float, indent, int, items, join, last, length, list,
        lower, map
    case max, min, reject, rejectattr, replace, reverse, round, safe, select, selectattr, sort, string, sum, title,
        tojson
    case trim, unique, upper

    init?(name: String) {
        switch name {
        case "count": self = .length
        case "d": self = .default
        case "e": self = .escape
        default: self.init(rawValue: name)
        }
    }

    func apply(_ value: JinjaValue, _ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue
    {
        func bind(_ names: [String], required: Int = 0) throws(QwenSFTError) -> [JinjaValue?] {
            try arguments.bind(names, required: required, of: "the filter '\(rawValue)'", r)
        }
        func text() throws(QwenSFTError) -> JinjaText {
            _ = try bind([])
            let text = try r.string(value)
            try r.charge(bytes: text.bytes.count)
            return text
        }
        switch self {
        case .default:
            let values = try bind(["default_value", "boolean"])
            let isMissing = value.isUndefined || (values[1]?.isTrue ?? false) && !value.isTrue
            return isMissing ? values[0] ?? .text(.empty) : value
        case .length:
            _ = try bind([])
            return .int(try length(value, r))
        case .string: return .text(try text())
        case .safe: return .text(JinjaText(markup: try text()))
        case .escape:
            let text = try text()
            return .text(text.isMarkup ? text : JinjaText(markup: Self.escaped(text)))
        case .upper: return .text(try text().mapped { $0.uppercased() })
        case .lower: return .text(try text().mapped { $0.lowercased() })
        case .capitalize:
            let text = try text()
            return .text(JinjaText(PythonText.titled(text.string, everyWord: false), text.dominantOrigin))
        case .title:
            let text = try text()
            return .text(JinjaText(Self.titled(text.string), text.dominantOrigin))
        case .trim:
            var characters: JinjaText?
            if case .text(let given)? = try bind(["chars"])[0] { characters = given }
            let text = try r.string(value)
            try r.charge(bytes: text.bytes.count)
            return .text(text.slice(PythonText.strip(text, characters, left: true, right: true)))
        case .replace:
            let values = try bind(["old", "new", "count"], required: 2)
            let limit = values[2]?.integer ?? -1
            return .text(
                try Self.replaced(
                    r.string(value), r.string(values[0] ?? .null), r.string(values[1] ?? .null),
                    limit: limit < 0 ? Int.max : limit, r))
        case .indent: return try .text(indented(r.string(value), bind(["width", "first", "blank"]), r))
        case .tojson: return try json(value, bind(["ensure_ascii", "indent", "separators", "sort_keys"]), r)
        case .abs, .int, .float, .round:
            return try number(
                value,
                bind(self == .int ? ["default", "base"] : self == .round ? ["precision", "method"] : ["default"]), r)
        default: return try applyToList(value, arguments, r)
        }
    }

    private func length(_ value: JinjaValue, _ r: JinjaRenderer) throws(QwenSFTError) -> Int {
        switch value {
        case .text(let text):
            try r.charge(bytes: text.bytes.count)
            return PythonText.length(text.bytes)
        case .list(let list) where list.kind != .generator: return list.elements.count
        case .dict(let dict): return dict.entries.count
        case .loop(let loop): return loop.items.count
        case .undefined: return 0
        default: throw r.wrongType("there is no length of", value)
        }
    }

    private func number(_ value: JinjaValue, _ values: [JinjaValue?], _ r: JinjaRenderer) throws(QwenSFTError)
        -> JinjaValue
    {
        switch self {
        case .abs:
            if let number = value.integer, number > Int.min { return .int(Swift.abs(number)) }
            if case .float(let number) = value { return .float(Swift.abs(number)) }
            throw r.wrongType("there is no absolute value of", value)
        case .round:
            guard let number = value.number else { throw r.wrongType("there is no rounding", value) }
            guard values[1] == nil else { throw r.error("the method of 'round' is not supported", .unsupported) }
            let precision = values[0]?.integer ?? 0
            guard precision == 0 else { throw r.error("the precision of 'round' is not supported", .unsupported) }
            return .float(number.rounded(.toNearestOrEven))
        case .float:
            if let number = value.number { return .float(number) }
            if case .text(let text) = value, let number = Self.number(text) { return .float(number) }
            return values[0] ?? .float(0)
        default:
            if values[1] != nil { throw r.error("the base of 'int' is not supported", .unsupported) }
            if let number = value.integer { return .int(number) }
            if case .largeInteger = value { return value }
            var number: Double?
            if case .text(let text) = value {
                let trimmed = text.slice(PythonText.strip(text, nil, left: true, right: true)).string
                if let integer = Int(trimmed) { return .int(integer) }
                number = Self.number(text)
            } else {
                number = value.number
            }
            if let number, let integer = Int(exactly: number.rounded(.towardZero)) { return .int(integer) }
            return values[0] ?? .int(0)
        }
    }

    private static func number(_ text: JinjaText) -> Double? {
        Double(text.slice(PythonText.strip(text, nil, left: true, right: true)).string)
    }

    /// As Jinja's filter has it: a word begins after white space, a hyphen or an opening bracket.
    private static func titled(_ text: String) -> String {
        var result = ""
        var begins = true
        for scalar in text.unicodeScalars {
            let isBreak =
                "-({[<".unicodeScalars.contains(scalar) || PythonText.spaceLength(Array(String(scalar).utf8), at: 0) > 0
            result += begins ? scalar.properties.uppercaseMapping : scalar.properties.lowercaseMapping
            begins = isBreak
        }
        return result
    }

    static func escaped(_ text: JinjaText) -> JinjaText {
        text.mapped { part in
            var result = ""
            for scalar in part.unicodeScalars {
                switch scalar {
                case "&": result += "&amp;"
                case "<": result += "&lt;"
                case ">": result += "&gt;"
                case "'": result += "&#39;"
                case "\"": result += "&#34;"
                default: result.unicodeScalars.append(scalar)
                }
            }
            return result
        }
    }

    static func replaced(
        _ text: JinjaText, _ old: JinjaText, _ new: JinjaText, limit: Int, _ r: JinjaRenderer
    ) throws(QwenSFTError) -> JinjaText {
        var result = TaggedText()
        var start = 0
        var count = 0
        try r.charge(bytes: text.bytes.count)
        if old.bytes.isEmpty {
            // Between all characters, and at both ends.
            for place in PythonText.boundaries(text.bytes) where count < limit {
                result.append(text, start..<place)
                result.append(new)
                try r.charge(1 + new.bytes.count / JinjaLimits.bytesPerStep)
                (start, count) = (place, count + 1)
            }
        }
        while !old.bytes.isEmpty, count < limit, let place = PythonText.find(old.bytes, in: text.bytes, from: start) {
            result.append(text, start..<place)
            result.append(new)
            try r.charge(1 + new.bytes.count / JinjaLimits.bytesPerStep)
            (start, count) = (place + old.bytes.count, count + 1)
        }
        if count == 0 { return text }
        result.append(text, start..<text.bytes.count)
        return JinjaText(result)
    }

    static func joined(
        _ elements: [JinjaValue], _ separator: JinjaText, onlyTexts: Bool = false, _ r: JinjaRenderer
    ) throws(QwenSFTError) -> JinjaText {
        var result = TaggedText()
        for (i, element) in elements.enumerated() {
            if i > 0 { result.append(separator) }
            if onlyTexts {
                guard case .text = element else { throw r.wrongType("texts cannot be joined with", element) }
            }
            let text = try r.string(element)
            try r.charge(1 + (text.bytes.count + separator.bytes.count) / JinjaLimits.bytesPerStep)
            result.append(text)
        }
        return JinjaText(result)
    }

    private func indented(_ text: JinjaText, _ values: [JinjaValue?], _ r: JinjaRenderer) throws(QwenSFTError)
        -> JinjaText
    {
        var width = JinjaText("    ")
        if case .text(let given)? = values[0] {
            width = given
        } else if let count = values[0]?.integer {
            try r.charge(Swift.max(0, count) / JinjaLimits.bytesPerStep)
            width = JinjaText(String(repeating: " ", count: Swift.max(0, count)))
        }
        let (first, blank) = (values[1]?.isTrue ?? false, values[2]?.isTrue ?? false)
        var result = TaggedText()
        var lines = PythonText.lines(text.bytes, keepsEnds: false)
        if lines.last?.upperBound ?? 0 < text.bytes.count || lines.isEmpty {
            lines.append(text.bytes.count..<text.bytes.count)
        }
        for (i, line) in lines.enumerated() {
            if i > 0 { result.append(UInt8(0x0A), text.dominantOrigin) }
            if i == 0 ? first : blank || !line.isEmpty { result.append(width) }
            try r.charge(1 + width.bytes.count / JinjaLimits.bytesPerStep)
            result.append(text, line)
        }
        return JinjaText(result)
    }

    private func json(_ value: JinjaValue, _ values: [JinjaValue?], _ r: JinjaRenderer) throws(QwenSFTError)
        -> JinjaValue
    {
        var json = JinjaJSON()
        json.asciiOnly = values[0]?.isTrue ?? false
        if case .text(let indent)? = values[1] {
            json.indent = indent
        } else if let width = values[1]?.integer {
            try r.charge(Swift.max(0, width))
            json.indent = JinjaText(String(repeating: " ", count: Swift.max(0, width)))
        }
        if json.indent != nil { json.itemSeparator = JinjaText(",") }
        if case .list(let separators)? = values[2] {
            guard separators.elements.count == 2, case .text(let item) = separators.elements[0],
                case .text(let key) = separators.elements[1]
            else { throw r.error("the separators of 'tojson' must be two texts") }
            (json.itemSeparator, json.keySeparator) = (item, key)
        }
        json.sortsKeys = values[3]?.isTrue ?? false
        let width = 1 + value.depth * (json.indent?.bytes.count ?? 0) / JinjaLimits.bytesPerStep
        let (work, overflow) = value.size.multipliedReportingOverflow(by: width)
        try r.charge(overflow ? Int.max / 2 : work)
        do { try json.write(value) } catch { throw r.error(error.message, error.code) }
        return .text(JinjaText(json.output))
    }
}

final class JinjaFilterCall: JinjaExpression, @unchecked Sendable {
    let value: JinjaExpression
    let filter: JinjaFilter
    let arguments: JinjaArguments

    init(_ value: JinjaExpression, _ filter: JinjaFilter, _ arguments: JinjaArguments) {
        (self.value, self.filter, self.arguments) = (value, filter, arguments)
        super.init([value] + arguments.expressions)
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        let value = try value.evaluate(r)
        return try filter.apply(value, arguments.evaluate(r), r)
    }
}
