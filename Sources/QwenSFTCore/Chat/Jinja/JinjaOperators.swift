/// `a + b + …`: texts are printed one after the other instead of being joined first.
final class JinjaSum: JinjaExpression, @unchecked Sendable {
    let operands: [JinjaExpression]

    override init(_ operands: [JinjaExpression]) {
        self.operands = operands
        super.init(operands)
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        var sum = try operands[0].evaluate(r)
        var joined: TaggedText?
        for operand in operands.dropFirst() {
            let value = try operand.evaluate(r)
            if case .text(let text) = value, case .text(let first) = sum, !text.isMarkup, !first.isMarkup {
                if joined == nil {
                    joined = TaggedText()
                    joined?.append(first)
                    try r.charge(bytes: first.count)
                }
                try r.charge(bytes: text.count)
                joined?.append(text)
            } else {
                if let text = joined { sum = .text(JinjaText(text)) }
                joined = nil
                sum = try JinjaArithmetic.add(sum, value, r)
            }
        }
        return joined.map { .text(JinjaText($0)) } ?? sum
    }

    override func emit(_ r: JinjaRenderer) throws(QwenSFTError) {
        let mark = r.output.mark
        for operand in operands {
            guard case .text(let text) = try operand.evaluate(r), !text.isMarkup else {
                // Something else than texts: its sum is made as Python makes it.
                r.truncate(to: mark)
                return try r.emit(evaluate(r))
            }
            try r.emit(text)
        }
    }
}

/// `a ~ b ~ …`
final class JinjaConcatenation: JinjaExpression, @unchecked Sendable {
    let operands: [JinjaExpression]

    override init(_ operands: [JinjaExpression]) {
        self.operands = operands
        super.init(operands)
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        var joined = TaggedText()
        for operand in operands {
            let text = try r.string(operand.evaluate(r))
            try r.charge(bytes: text.count)
            joined.append(text)
        }
        return .text(JinjaText(joined))
    }

    override func emit(_ r: JinjaRenderer) throws(QwenSFTError) {
        for operand in operands { try operand.emit(r) }
    }
}

/// The other operators of numbers, some of which texts and lists know too.
final class JinjaArithmetic: JinjaExpression, @unchecked Sendable {
    enum Operator: String {
        case subtract = "-"
        case multiply = "*"
        case divide = "/"
        case floorDivide = "//"
        case modulo = "%"
        case power = "**"
    }
    let left: JinjaExpression
    let right: JinjaExpression
    let operation: Operator

    init(_ left: JinjaExpression, _ operation: Operator, _ right: JinjaExpression) {
        (self.left, self.operation, self.right) = (left, operation, right)
        super.init([left, right])
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        let a = try left.evaluate(r)
        let b = try right.evaluate(r)
        if let x = a.integer, let y = b.integer {
            if let result = try integer(x, y, r) { return result }
        } else if operation == .multiply {
            if let result = try repeated(a, b, r) { return result }
            if let result = try repeated(b, a, r) { return result }
        }
        guard let x = a.number, let y = b.number else {
            if case .text = a, operation == .modulo {
                throw r.error("formatting a text with '%' is not supported", .unsupported)
            }
            throw r.wrongType("'\(operation.rawValue)' cannot be done with", a.number == nil ? a : b)
        }
        if y == 0, [.divide, .floorDivide, .modulo].contains(operation) { throw r.error("division by zero") }
        switch operation {
        case .subtract: return .float(x - y)
        case .multiply: return .float(x * y)
        case .divide: return .float(x / y)
        case .floorDivide: return .float((x / y).rounded(.down))
        case .modulo:
            let rest = x.truncatingRemainder(dividingBy: y)
            return .float(rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest)
        case .power: throw r.error("a power of fractions is not supported", .unsupported)
        }
    }

    /// nil: the result is no integer.
    private func integer(_ x: Int, _ y: Int, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue? {
        var (value, overflow) = (0, false)
        switch operation {
        case .subtract: (value, overflow) = x.subtractingReportingOverflow(y)
        case .multiply: (value, overflow) = x.multipliedReportingOverflow(by: y)
        case .divide: return nil
        case .floorDivide, .modulo:
            if y == 0 { throw r.error("division by zero") }
            (value, overflow) = x.dividedReportingOverflow(by: y)
            var rest = overflow ? 0 : x % y
            if rest != 0, (rest < 0) != (y < 0) { (value, rest) = (value - 1, rest + y) }
            if operation == .modulo { (value, overflow) = (rest, false) }
        case .power:
            if y < 0 { throw r.error("a power of fractions is not supported", .unsupported) }
            (value, overflow) = (1, false)
            for _ in 0..<min(y, 64) where !overflow { (value, overflow) = value.multipliedReportingOverflow(by: x) }
            if y > 64, ![-1, 0, 1].contains(x) { overflow = true }
            if y > 64, x == -1 { value = y % 2 == 0 ? 1 : -1 }
        }
        if overflow { throw r.error("integers of more than 64 bits are not supported", .unsupported) }
        return .int(value)
    }

    private func repeated(_ value: JinjaValue, _ count: JinjaValue, _ r: JinjaRenderer) throws(QwenSFTError)
        -> JinjaValue?
    {
        guard let count = count.integer.map({ max(0, $0) }) else { return nil }
        func checked(_ size: Int) throws(QwenSFTError) {
            let (all, overflow) = size.multipliedReportingOverflow(by: count)
            try r.charge(overflow ? Int.max / 2 : all)
        }
        switch value {
        case .text(let text):
            try checked(text.count)
            var result = TaggedText()
            if text.count > 0 { for _ in 0..<count { result.append(text) } }
            return .text(JinjaText(result))
        case .list(let list) where list.kind == .list || list.kind == .tuple:
            try checked(list.elements.count)
            if list.elements.isEmpty { return value }
            return try r.list(Array(repeatElement(list.elements, count: count).joined()), list.kind)
        default: return nil
        }
    }

    static func add(_ a: JinjaValue, _ b: JinjaValue, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        switch (a, b) {
        case (.text(let x), .text(let y)):
            try r.charge(bytes: x.count + y.count)
            let isMarkup = x.isMarkup || y.isMarkup
            var text = TaggedText()
            text.append(isMarkup && !x.isMarkup ? JinjaFilter.escaped(x) : x)
            text.append(isMarkup && !y.isMarkup ? JinjaFilter.escaped(y) : y)
            return .text(JinjaText(text, isMarkup: isMarkup))
        case (.list(let x), .list(let y)) where x.kind == y.kind && (x.kind == .list || x.kind == .tuple):
            return try r.list(x.elements + y.elements, x.kind, origin: x.origin)
        default: break
        }
        if let x = a.integer, let y = b.integer {
            let (sum, overflow) = x.addingReportingOverflow(y)
            if overflow { throw r.error("integers of more than 64 bits are not supported", .unsupported) }
            return .int(sum)
        }
        if let x = a.number, let y = b.number { return .float(x + y) }
        if b.isUndefined { throw r.wrongType("", b) }
        throw r.wrongType("a value of type \(b.typeName) cannot be added to", a)
    }
}

/// `-a`, `+a`
final class JinjaSign: JinjaExpression, @unchecked Sendable {
    let operand: JinjaExpression
    let isMinus: Bool

    init(_ operand: JinjaExpression, isMinus: Bool) {
        (self.operand, self.isMinus) = (operand, isMinus)
        super.init([operand])
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        let value = try operand.evaluate(r)
        if let number = value.integer {
            if !isMinus { return .int(number) }
            let (negative, overflow) = Int(0).subtractingReportingOverflow(number)
            if !overflow { return .int(negative) }
        }
        if case .float(let number) = value { return .float(isMinus ? -number : number) }
        throw r.wrongType("a sign cannot stand before", value)
    }
}

/// `a < b <= c in d`: each comparison with the one before it.
final class JinjaComparison: JinjaExpression, @unchecked Sendable {
    enum Operator: String {
        case equal = "=="
        case notEqual = "!="
        case less = "<"
        case lessOrEqual = "<="
        case greater = ">"
        case greaterOrEqual = ">="
        case contained = "in"
        case notContained = "not in"
    }
    let first: JinjaExpression
    let rest: [(Operator, JinjaExpression)]

    init(_ first: JinjaExpression, _ rest: [(Operator, JinjaExpression)]) {
        (self.first, self.rest) = (first, rest)
        super.init([first] + rest.map(\.1))
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        var left = try first.evaluate(r)
        for (operation, operand) in rest {
            let right = try operand.evaluate(r)
            guard try Self.holds(left, operation, right, r) else { return .bool(false) }
            left = right
        }
        return .bool(true)
    }

    static func holds(
        _ a: JinjaValue, _ operation: Operator, _ b: JinjaValue, _ r: JinjaRenderer
    ) throws(QwenSFTError) -> Bool {
        switch operation {
        case .equal: return try isEqual(a, b, r)
        case .notEqual: return try !isEqual(a, b, r)
        case .contained: return try contains(b, a, r)
        case .notContained: return try !contains(b, a, r)
        case .less: return try order(a, b, r) { $0 < $1 }
        case .lessOrEqual: return try order(a, b, r) { $0 <= $1 }
        case .greater: return try order(a, b, r) { $0 > $1 }
        case .greaterOrEqual: return try order(a, b, r) { $0 >= $1 }
        }
    }

    private static func isEqual(_ a: JinjaValue, _ b: JinjaValue, _ r: JinjaRenderer) throws(QwenSFTError) -> Bool {
        try r.charge(min(a.size, b.size))
        return a.equals(b)
    }

    static func contains(_ container: JinjaValue, _ value: JinjaValue, _ r: JinjaRenderer) throws(QwenSFTError) -> Bool
    {
        switch container {
        case .text(let text):
            guard case .text(let part) = value else { throw r.wrongType("a text cannot hold", value) }
            try r.charge(bytes: text.bytes.count)
            return PythonText.find(part.bytes, in: text.bytes, from: 0) != nil
        case .dict(let dict):
            if case .list(let list) = value, list.kind == .list { throw r.wrongType("a key cannot be", value) }
            if case .dict = value { throw r.wrongType("a key cannot be", value) }
            return dict.value(value) != nil
        case .list(let list):
            let elements = list.takeAll()
            try r.charge(elements.count)
            for element in elements where try isEqual(element, value, r) { return true }
            return false
        case .undefined: return false
        default: throw r.wrongType("'in' cannot look into", container)
        }
    }

    /// Compares numbers, or texts and lists element by element.
    static func order(
        _ a: JinjaValue, _ b: JinjaValue, _ r: JinjaRenderer, _ holds: (Double, Double) -> Bool
    ) throws(QwenSFTError) -> Bool {
        if let x = a.integer, let y = b.integer { return holds(x < y ? -1 : x > y ? 1 : 0, 0) }
        if let x = a.number, let y = b.number { return holds(x, y) }
        if case .text(let x) = a, case .text(let y) = b {
            try r.charge(bytes: min(x.bytes.count, y.bytes.count))
            let order = x.bytes == y.bytes ? 0.0 : x.bytes.lexicographicallyPrecedes(y.bytes) ? -1 : 1
            return holds(order, 0)
        }
        if case .list(let x) = a, case .list(let y) = b, x.kind == y.kind {
            for (left, right) in zip(x.elements, y.elements) where try !isEqual(left, right, r) {
                return try order(left, right, r, holds)
            }
            return holds(Double(x.elements.count), Double(y.elements.count))
        }
        throw r.wrongType(
            "a value of type \(b.typeName) cannot be compared with", a.isUndefined ? a : b.isUndefined ? b : a)
    }
}
