/// `value is test`
enum JinjaTest: String {
    case defined, undefined, none, string, number, integer, float, boolean, mapping, sequence, iterable, callable
    case `true`, `false`, odd, even, divisibleby, sameas, `in`, lower, upper, escaped
    case eq, ne, lt, le, gt, ge

    init?(name: String) {
        switch name {
        case "==", "equalto": self = .eq
        case "!=": self = .ne
        case "<", "lessthan": self = .lt
        case "<=": self = .le
        case ">", "greaterthan": self = .gt
        case ">=": self = .ge
        default: self.init(rawValue: name)
        }
    }

    func holds(_ value: JinjaValue, _ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError) -> Bool {
        switch self {
        case .divisibleby, .sameas, .in, .eq, .ne, .lt, .le, .gt, .ge:
            guard let other = try arguments.bind(["other"], required: 1, of: "the test '\(rawValue)'", r)[0] else {
                return false
            }
            return try holds(value, other, r)
        default: _ = try arguments.bind([], of: "the test '\(rawValue)'", r)
        }
        switch self {
        case .defined: return !value.isUndefined
        case .undefined: return value.isUndefined
        case .none: if case .null = value { return true }
        case .string: if case .text = value { return true }
        case .number:
            if case .largeInteger = value { return true }
            return value.number != nil
        case .integer:
            switch value {
            case .int, .largeInteger: return true
            default: return false
            }
        case .float: if case .float = value { return true }
        case .boolean: if case .bool = value { return true }
        case .true: if case .bool(true) = value { return true }
        case .false: if case .bool(false) = value { return true }
        case .mapping: if case .dict = value { return true }
        case .sequence:
            switch value {
            case .text, .dict, .undefined: return true
            case .list(let list): return list.kind == .list || list.kind == .tuple || list.kind == .range
            default: return false
            }
        case .iterable:
            switch value {
            case .text, .dict, .undefined, .list, .loop: return true
            default: return false
            }
        case .callable:
            switch value {
            case .macro, .function, .undefined: return true
            default: return false
            }
        case .odd, .even:
            guard let number = value.integer else { throw r.wrongType("'\(rawValue)' cannot be asked of", value) }
            return (number % 2 == 0) == (self == .even)
        case .lower, .upper:
            let text = try r.string(value).string
            let scalars = text.unicodeScalars.filter { $0.properties.isCased }
            return !scalars.isEmpty
                && scalars.allSatisfy { self == .lower ? $0.properties.isLowercase : $0.properties.isUppercase }
        case .escaped: if case .text(let text) = value { return text.isMarkup }
        default: break
        }
        return false
    }

    private func holds(_ value: JinjaValue, _ other: JinjaValue, _ r: JinjaRenderer) throws(QwenSFTError) -> Bool {
        switch self {
        case .eq: return try JinjaComparison.holds(value, .equal, other, r)
        case .ne: return try JinjaComparison.holds(value, .notEqual, other, r)
        case .lt: return try JinjaComparison.holds(value, .less, other, r)
        case .le: return try JinjaComparison.holds(value, .lessOrEqual, other, r)
        case .gt: return try JinjaComparison.holds(value, .greater, other, r)
        case .ge: return try JinjaComparison.holds(value, .greaterOrEqual, other, r)
        case .in: return try JinjaComparison.contains(other, value, r)
        case .divisibleby:
            guard let number = value.integer, let divisor = other.integer, divisor != 0 else {
                throw r.wrongType("'divisibleby' cannot be asked of", value)
            }
            return divisor == -1 || number % divisor == 0
        default:
            switch (value, other) {
            case (.null, .null): return true
            case (.bool(let a), .bool(let b)): return a == b
            case (.int(let a), .int(let b)): return a == b
            case (.text(let a), .text(let b)): return a === b
            case (.list(let a), .list(let b)): return a === b
            case (.dict(let a), .dict(let b)): return a === b
            default: return false
            }
        }
    }
}

final class JinjaTestCall: JinjaExpression, @unchecked Sendable {
    let value: JinjaExpression
    let test: JinjaTest
    let arguments: JinjaArguments

    init(_ value: JinjaExpression, _ test: JinjaTest, _ arguments: JinjaArguments) {
        (self.value, self.test, self.arguments) = (value, test, arguments)
        super.init([value] + arguments.expressions)
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        .bool(try test.holds(value.evaluate(r), arguments.evaluate(r), r))
    }
}
