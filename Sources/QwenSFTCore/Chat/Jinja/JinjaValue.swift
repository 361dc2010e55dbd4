/// What an expression of a template can be: Python's values, as far as chat templates see them.
package enum JinjaValue {
    /// A variable that has no value; never the value of an expression.
    case missing
    case undefined(JinjaUndefined)
    case null
    case bool(Bool)
    case int(Int)
    case float(Double)
    /// An integer of data that does not fit into 64 bits: its digits.
    case largeInteger(JinjaText)
    case text(JinjaText)
    case list(JinjaList)
    case dict(JinjaDict)
    case namespace(JinjaNamespace)
    case loop(JinjaLoop)
    case macro(JinjaMacro)
    /// Something that can be called and nothing else: a global function or the method of a value.
    case function(JinjaFunction)

    static func text(_ string: String) -> JinjaValue { .text(JinjaText(string)) }
}

/// A value that is not there. It may be tested, printed (as nothing) and gone through; everything else is an error that names it.
package final class JinjaUndefined: Sendable {
    let message: String
    init(_ message: String) { self.message = message }
    convenience init(name: String) { self.init("'\(printable(name))' is undefined") }
    static let element = JinjaUndefined("the element is undefined")
}

package enum JinjaFunction: String, CaseIterable {
    case range, dict, namespace
    case raiseException = "raise_exception"
    case strftimeNow = "strftime_now"
    /// The method of a value that is not called at once.
    case method = ""
}

/// A list, or something else that Python goes through in order. Immutable but for a generator, which is gone through once.
package final class JinjaList {
    package enum Kind { case list, tuple, range, view, generator }
    let kind: Kind
    private(set) var elements: [JinjaValue]
    /// Levels of containers from here on.
    let depth: Int
    /// Work that printing or comparing takes: containers may hold the same one many times over.
    let size: Int
    /// Where brackets and commas come from when it is printed.
    let origin: TextOrigin

    package init(_ elements: [JinjaValue], _ kind: Kind = .list, origin: TextOrigin = .template) {
        self.elements = elements
        self.kind = kind
        self.origin = origin
        depth = 1 + elements.reduce(0) { max($0, $1.depth) }
        size = elements.reduce(1) { JinjaValue.sum($0, $1.size) }
    }

    func takeAll() -> [JinjaValue] {
        guard kind == .generator else { return elements }
        defer { elements = [] }
        return elements
    }

    func takeFirst() -> JinjaValue? {
        if kind == .generator, !elements.isEmpty { return elements.removeFirst() }
        return elements.first
    }
}

package final class JinjaDict {
    let entries: [(key: JinjaValue, value: JinjaValue)]
    let depth: Int
    let size: Int
    let origin: TextOrigin
    /// Which message of the conversation it is; −1: none.
    let message: Int32
    /// Places of text keys, where there are many.
    private let places: [[UInt8]: Int]

    /// Of equal keys the last one counts, at the place of the first.
    package init(_ pairs: [(key: JinjaValue, value: JinjaValue)], origin: TextOrigin = .template, message: Int32 = -1) {
        var places: [[UInt8]: Int] = [:]
        var entries: [(key: JinjaValue, value: JinjaValue)] = []
        let isLarge = pairs.count > 16
        for pair in pairs {
            if isLarge, case .text(let key) = pair.key {
                if let place = places[key.bytes] {
                    entries[place].value = pair.value
                    continue
                }
                places[key.bytes] = entries.count
            } else if let place = entries.firstIndex(where: { $0.key.equals(pair.key) }) {
                entries[place].value = pair.value
                continue
            }
            entries.append(pair)
        }
        self.entries = entries
        self.places = places
        self.origin = origin
        self.message = message
        depth = 1 + entries.reduce(0) { max($0, $1.value.depth, $1.key.depth) }
        size = entries.reduce(1) { JinjaValue.sum($0, JinjaValue.sum($1.key.size, $1.value.size)) }
    }

    func value(_ name: JinjaText) -> JinjaValue? {
        if !places.isEmpty { return places[name.bytes].map { entries[$0].value } }
        for entry in entries {
            if case .text(let key) = entry.key, key === name || key.bytes == name.bytes { return entry.value }
        }
        return nil
    }

    func value(_ key: JinjaValue) -> JinjaValue? {
        if case .text(let name) = key { return value(name) }
        return entries.first { $0.key.equals(key) }?.value
    }
}

/// The only thing a template can change.
package final class JinjaNamespace {
    var values: [(name: JinjaText, value: JinjaValue)] = []

    func value(_ name: JinjaText) -> JinjaValue? {
        values.first { $0.name === name || $0.name.bytes == name.bytes }?.value
    }

    func set(_ name: JinjaText, _ value: JinjaValue) {
        if let i = values.firstIndex(where: { $0.name === name || $0.name.bytes == name.bytes }) {
            values[i].value = value
        } else {
            values.append((name, value))
        }
    }
}

/// The variable `loop`.
package final class JinjaLoop {
    let items: [JinjaValue]
    var index = 0
    let depth: Int
    /// What `loop.changed` was asked last.
    var changed: JinjaValue?

    init(_ items: [JinjaValue], depth: Int) {
        self.items = items
        self.depth = depth
    }
}

extension JinjaValue {
    var isTrue: Bool {
        switch self {
        case .missing, .undefined, .null: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .float(let value): value != 0
        case .text(let text): text.count > 0
        case .list(let list): list.kind == .generator || !list.elements.isEmpty
        case .dict(let dict): !dict.entries.isEmpty
        case .largeInteger, .namespace, .loop, .macro, .function: true
        }
    }

    var depth: Int {
        switch self {
        case .list(let list): list.depth
        case .dict(let dict): dict.depth
        case .loop(let loop): loop.depth
        default: 0
        }
    }

    var size: Int {
        switch self {
        case .list(let list): list.size
        case .dict(let dict): dict.size
        case .text(let text): 1 + text.count / JinjaLimits.bytesPerStep
        default: 1
        }
    }

    /// A sum that stays where it is too large to matter.
    fileprivate static func sum(_ a: Int, _ b: Int) -> Int { min(a + b, Int.max / 4) }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }

    /// Python's name of the type.
    var typeName: String {
        switch self {
        case .missing, .undefined: "Undefined"
        case .null: "None"
        case .bool: "bool"
        case .int, .largeInteger: "int"
        case .float: "float"
        case .text: "str"
        case .list(let list): list.kind == .tuple ? "tuple" : list.kind == .list ? "list" : "\(list.kind)"
        case .dict: "dict"
        case .namespace: "namespace"
        case .loop: "loop"
        case .macro: "macro"
        case .function: "function"
        }
    }

    /// Booleans are numbers in Python.
    var integer: Int? {
        switch self {
        case .int(let value): value
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }

    var number: Double? {
        if case .float(let value) = self { return value }
        return integer.map(Double.init)
    }

    /// Python's `==`. The nesting of values is limited, so this ends.
    func equals(_ other: JinjaValue) -> Bool {
        switch (self, other) {
        case (.null, .null), (.undefined, .undefined), (.missing, .missing): true
        case (.text(let a), .text(let b)): a === b || a.bytes == b.bytes
        case (.largeInteger(let a), .largeInteger(let b)): a.bytes == b.bytes
        case (.list(let a), .list(let b)):
            (a === b)
                || (a.kind == b.kind && a.elements.count == b.elements.count
                    && zip(a.elements, b.elements).allSatisfy { $0.equals($1) })
        case (.dict(let a), .dict(let b)):
            (a === b)
                || (a.entries.count == b.entries.count
                    && a.entries.allSatisfy { entry in b.value(entry.key).map { $0.equals(entry.value) } ?? false })
        case (.namespace(let a), .namespace(let b)): a === b
        case (.loop(let a), .loop(let b)): a === b
        case (.macro(let a), .macro(let b)): a === b
        case (.function(let a), .function(let b)): a == b
        default:
            if let a = self.integer, let b = other.integer {
                a == b
            } else if let a = self.number, let b = other.number {
                a == b
            } else {
                false
            }
        }
    }
}

extension JinjaValue {
    /// A value of JSON, as Python's json module reads it.
    package init(_ json: JSONValue, _ origin: TextOrigin) {
        switch json {
        case .null: self = .null
        case .bool(let value): self = .bool(value)
        case .number(let literal):
            if let value = Int(literal) {
                self = .int(value)
            } else if literal.utf8.contains(where: { ".eE".utf8.contains($0) }) {
                self = .float(Double(literal) ?? 0)
            } else {
                self = .largeInteger(JinjaText(literal, origin))
            }
        case .string(let string): self = .text(JinjaText(string, origin))
        case .array(let elements): self = .list(JinjaList(elements.map { JinjaValue($0, origin) }, origin: origin))
        case .object(let object):
            self = .dict(
                JinjaDict(
                    object.members.map { (.text(JinjaText($0.key, origin)), JinjaValue($0.value, origin)) },
                    origin: origin))
        }
    }
}
