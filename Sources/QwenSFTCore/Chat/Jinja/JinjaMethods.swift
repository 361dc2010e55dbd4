/// The methods of Python's types by this name.
struct JinjaMethods {
    let ofText: JinjaMethod?
    let ofList: JinjaMethod?
    let ofDict: JinjaMethod?

    init(_ name: JinjaText) {
        let name = name.string
        func method(_ kind: JinjaMethod.Kind, _ known: Set<String>, _ unsupported: Set<String>, _ changing: Set<String>)
            -> JinjaMethod?
        {
            if known.contains(name) { return JinjaMethod(name: name, kind: kind) }
            if unsupported.contains(name) { return JinjaMethod(name: name, kind: .unsupported) }
            return changing.contains(name) ? JinjaMethod(name: name, kind: .changing) : nil
        }
        ofText = method(.supported, Self.text, Self.unsupportedText, [])
        ofList = method(.supported, ["index", "count", "copy"], [], Self.changingList)
        ofDict = method(.supported, ["get", "items", "keys", "values", "copy"], ["fromkeys"], Self.changingDict)
    }

    private static let text: Set<String> = [
        "capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit", "islower", "isspace",
        "isupper", "join", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind",
        "rpartition",
        "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper",
    ]
    private static let unsupportedText: Set<String> = [
        "casefold", "center", "encode", "expandtabs", "format", "format_map", "isascii", "isdecimal", "isidentifier",
        "isnumeric", "isprintable", "istitle", "ljust", "maketrans", "rindex", "rjust", "swapcase", "translate",
        "zfill",
    ]
    private static let changingList: Set<String> = [
        "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
    ]
    private static let changingDict: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]
}

/// A method of a text, list or dictionary.
struct JinjaMethod {
    enum Kind { case supported, unsupported, changing }
    let name: String
    let kind: Kind

    /// The method where it is not called. One that changes its value counts as undefined, as in transformers' sandbox.
    var asValue: JinjaValue {
        kind == .changing ? .undefined(JinjaUndefined("'\(name)' would change a value")) : .function(.method)
    }

    private func refuse(_ r: JinjaRenderer) throws(QwenSFTError) {
        switch kind {
        case .supported: return
        case .unsupported: throw r.error("the method '\(name)' is not supported", .unsupported)
        case .changing: throw r.error("'\(name)' would change a value, which a template may not do")
        }
    }

    // MARK: Lists and dictionaries

    func call(_ list: JinjaList, _ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        try refuse(r)
        guard list.kind == .list || list.kind == .tuple || list.kind == .range, name != "copy" || list.kind == .list
        else {
            throw r.error("there is no method '\(name)' here")
        }
        if name == "copy" { return .list(list) }
        guard let value = try arguments.bind(["value"], required: 1, of: name, r)[0] else { return .null }
        try r.charge(list.size)
        if name == "count" { return .int(list.elements.count { $0.equals(value) }) }
        guard let place = list.elements.firstIndex(where: { $0.equals(value) }) else {
            throw r.error("the list does not hold the value")
        }
        return .int(place)
    }

    func call(_ dict: JinjaDict, _ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        try refuse(r)
        if name == "get" {
            let values = try arguments.bind(["key", "default"], required: 1, of: name, r)
            return values[0].flatMap { dict.value($0) } ?? values[1] ?? .null
        }
        _ = try arguments.bind([], of: name, r)
        switch name {
        case "keys": return try r.list(dict.entries.map(\.key), .view, origin: dict.origin)
        case "values": return try r.list(dict.entries.map(\.value), .view, origin: dict.origin)
        case "items": return try r.list(dict.pairs, .view, origin: dict.origin)
        default: return .dict(dict)
        }
    }

    // MARK: Texts

    func call(_ text: JinjaText, _ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        try refuse(r)
        try r.charge(4 + bytes(text))
        switch name {
        case "strip", "lstrip", "rstrip":
            let characters = try optionalText(arguments.bind(["chars"], of: name, r)[0], r)
            return .text(
                text.slice(
                    PythonText.strip(text, characters, left: name != "rstrip", right: name != "lstrip")))
        case "split", "rsplit":
            let values = try arguments.bind(["sep", "maxsplit"], of: name, r)
            let limit = try integer(values[1], otherwise: -1, r)
            return try split(text, optionalText(values[0], r), limit < 0 ? Int.max : limit, r)
        case "splitlines":
            let keepsEnds = try arguments.bind(["keepends"], of: name, r)[0]?.isTrue ?? false
            return try r.list(PythonText.lines(text.bytes, keepsEnds: keepsEnds).map { .text(text.slice($0)) })
        case "partition", "rpartition": return try partition(text, required(arguments, r), r)
        case "startswith", "endswith": return .bool(try isAtEdge(text, arguments, r))
        case "removeprefix":
            let prefix = try required(arguments, r)
            return .text(
                text.bytes.starts(with: prefix.bytes) ? text.slice(prefix.bytes.count..<text.bytes.count) : text)
        case "removesuffix":
            let suffix = try required(arguments, r)
            let end = text.bytes.count - suffix.bytes.count
            return .text(end >= 0 && text.bytes[end...].elementsEqual(suffix.bytes) ? text.slice(0..<end) : text)
        case "replace":
            let values = try arguments.bind(["old", "new", "count"], required: 2, of: name, r)
            guard case .text(let old)? = values[0], case .text(let new)? = values[1] else {
                throw r.error("replace needs two texts")
            }
            let limit = try integer(values[2], otherwise: -1, r)
            return .text(try JinjaFilter.replaced(text, old, new, limit: limit < 0 ? Int.max : limit, r))
        case "join":
            return .text(try JinjaFilter.joined(r.elements(arguments.first(of: name, r)), text, onlyTexts: true, r))
        case "find", "rfind", "index", "count": return try search(text, arguments, r)
        case "upper": return .text(text.mapped { $0.uppercased() })
        case "lower": return .text(text.mapped { $0.lowercased() })
        case "capitalize":
            return .text(JinjaText(PythonText.titled(text.string, everyWord: false), text.dominantOrigin))
        case "title": return .text(JinjaText(PythonText.titled(text.string, everyWord: true), text.dominantOrigin))
        default: return .bool(isOfKind(text.string))
        }
    }

    private func bytes(_ text: JinjaText) -> Int { text.bytes.count / JinjaLimits.bytesPerStep }

    private func optionalText(_ value: JinjaValue?, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaText? {
        switch value {
        case nil, .null?: return nil
        case .text(let text)?: return text
        case let other?: throw r.wrongType("'\(name)' needs a text, not", other)
        }
    }

    private func required(_ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaText {
        guard let text = try optionalText(arguments.bind(["text"], required: 1, of: name, r)[0], r) else {
            throw r.error("'\(name)' needs a text")
        }
        return text
    }

    private func integer(_ value: JinjaValue?, otherwise: Int, _ r: JinjaRenderer) throws(QwenSFTError) -> Int {
        guard let value else { return otherwise }
        guard let number = value.integer else { throw r.wrongType("'\(name)' needs an integer, not", value) }
        return number
    }

    private func split(_ text: JinjaText, _ separator: JinjaText?, _ limit: Int, _ r: JinjaRenderer)
        throws(QwenSFTError) -> JinjaValue
    {
        let bytes = text.bytes
        var parts: [Range<Int>] = []
        let isRight = name == "rsplit"
        if let separator = separator?.bytes {
            if separator.isEmpty { throw r.error("the separator of '\(name)' is empty") }
            var (start, end) = (0, bytes.count)
            while parts.count < limit {
                if isRight {
                    guard let place = PythonText.findLast(separator, in: bytes, before: end) else { break }
                    parts.append(place + separator.count..<end)
                    end = place
                } else {
                    guard let place = PythonText.find(separator, in: bytes, from: start) else { break }
                    parts.append(start..<place)
                    start = place + separator.count
                }
            }
            parts.append(start..<end)
        } else if isRight {
            var end = PythonText.endWithoutSpace(bytes, from: 0, to: bytes.count)
            while end > 0 {
                var start = end
                while start > 0, PythonText.spaceLength(bytes, at: PythonText.before(bytes, start)) == 0 {
                    start = PythonText.before(bytes, start)
                }
                if parts.count == limit { start = 0 }
                parts.append(start..<end)
                end = PythonText.endWithoutSpace(bytes, from: 0, to: start)
            }
        } else {
            var start = PythonText.skipSpace(bytes, from: 0)
            while start < bytes.count {
                var end = start
                while end < bytes.count, PythonText.spaceLength(bytes, at: end) == 0 {
                    end = PythonText.after(bytes, end)
                }
                if parts.count == limit { end = bytes.count }
                parts.append(start..<end)
                start = PythonText.skipSpace(bytes, from: end)
            }
        }
        if isRight { parts.reverse() }
        return try r.list(parts.map { .text(text.slice($0)) })
    }

    private func partition(_ text: JinjaText, _ separator: JinjaText, _ r: JinjaRenderer) throws(QwenSFTError)
        -> JinjaValue
    {
        if separator.bytes.isEmpty { throw r.error("the separator of '\(name)' is empty") }
        let isRight = name == "rpartition"
        let place =
            isRight
            ? PythonText.findLast(separator.bytes, in: text.bytes, before: text.bytes.count)
            : PythonText.find(separator.bytes, in: text.bytes, from: 0)
        guard let place else {
            return try r.list((isRight ? [.empty, .empty, text] : [text, .empty, .empty]).map { .text($0) }, .tuple)
        }
        let end = place + separator.bytes.count
        return try r.list(
            [.text(text.slice(0..<place)), .text(text.slice(place..<end)), .text(text.slice(end..<text.bytes.count))],
            .tuple)
    }

    private func isAtEdge(_ text: JinjaText, _ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError)
        -> Bool
    {
        let value = try arguments.first(of: name, r)
        if arguments.positional.count > 1 { throw r.error("'\(name)' with a position is not supported", .unsupported) }
        var parts = [value]
        if case .list(let list) = value, list.kind == .tuple { parts = list.elements }
        for part in parts {
            guard case .text(let part) = part else { throw r.wrongType("'\(name)' needs a text, not", part) }
            let start = name == "endswith" ? text.bytes.count - part.bytes.count : 0
            if start >= 0, text.bytes[start...].starts(with: part.bytes) { return true }
        }
        return false
    }

    private func search(_ text: JinjaText, _ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError)
        -> JinjaValue
    {
        if arguments.positional.count > 1 { throw r.error("'\(name)' with a position is not supported", .unsupported) }
        let part = try required(arguments, r).bytes
        if name == "count" {
            if part.isEmpty { return .int(PythonText.length(text.bytes) + 1) }
            var (count, start) = (0, 0)
            while let place = PythonText.find(part, in: text.bytes, from: start) {
                (count, start) = (count + 1, place + part.count)
            }
            return .int(count)
        }
        let place =
            name == "rfind"
            ? PythonText.findLast(part, in: text.bytes, before: text.bytes.count)
            : PythonText.find(part, in: text.bytes, from: 0)
        guard let place else {
            if name == "index" { throw r.error("the text does not hold what is looked for") }
            return .int(-1)
        }
        return .int(PythonText.length(text.bytes[..<place]))
    }

    private func isOfKind(_ text: String) -> Bool {
        let scalars = text.unicodeScalars
        if scalars.isEmpty { return false }
        switch name {
        case "isspace": return PythonText.skipSpace(Array(text.utf8), from: 0) == text.utf8.count
        case "isupper", "islower":
            let cased = scalars.filter { $0.properties.isCased }
            return !cased.isEmpty
                && cased.allSatisfy { name == "isupper" ? $0.properties.isUppercase : $0.properties.isLowercase }
        case "isdigit":
            return scalars.allSatisfy { $0.properties.numericType == .decimal || $0.properties.numericType == .digit }
        default:
            return scalars.allSatisfy { scalar in
                switch scalar.properties.generalCategory {
                case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
                default: name == "isalnum" && scalar.properties.numericType != nil
                }
            }
        }
    }
}

extension JinjaDict {
    var pairs: [JinjaValue] { entries.map { .list(JinjaList([$0.key, $0.value], .tuple, origin: origin)) } }
}
