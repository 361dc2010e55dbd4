/// An expression of a template. Immutable once parsed, so that any number of threads may evaluate it.
class JinjaExpression: @unchecked Sendable {
    /// Nodes below and with this one: what evaluating it costs.
    let cost: Int
    /// Levels of nodes from here on.
    let depth: Int

    init(_ children: [JinjaExpression] = []) {
        cost = children.reduce(1) { $0 + $1.cost }
        depth = children.reduce(0) { max($0, $1.depth) } + 1
    }

    func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue { .null }

    /// Prints the value; without making it where its parts can be printed one after the other.
    func emit(_ r: JinjaRenderer) throws(QwenSFTError) { try r.emit(evaluate(r)) }
}

final class JinjaLiteral: JinjaExpression, @unchecked Sendable {
    let value: JinjaValue
    init(_ value: JinjaValue) {
        self.value = value
        super.init()
    }
    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue { value }
}

final class JinjaName: JinjaExpression, @unchecked Sendable {
    let slot: Int
    let name: String
    private let otherwise: JinjaValue

    init(_ name: String, slot: Int) {
        self.name = name
        self.slot = slot
        if let function = JinjaFunction(rawValue: name), function != .method {
            otherwise = .function(function)
        } else {
            otherwise = .undefined(JinjaUndefined(name: name))
        }
        super.init()
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        let value = r.value(slot)
        if case .missing = value { return otherwise }
        return value
    }
}

/// `value.name`
final class JinjaAttribute: JinjaExpression, @unchecked Sendable {
    let object: JinjaExpression
    let name: JinjaText
    private let missing: JinjaValue
    private let methods: JinjaMethods

    init(_ object: JinjaExpression, _ name: JinjaText) {
        self.object = object
        self.name = name
        methods = JinjaMethods(name)
        missing = .undefined(JinjaUndefined(name: name.string))
        super.init([object])
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        switch try object.evaluate(r) {
        case .dict(let dict):
            // Python's attributes go before the keys.
            return methods.ofDict?.asValue ?? dict.value(name) ?? missing
        case .namespace(let namespace): return namespace.value(name) ?? missing
        case .loop(let loop): return loop.attribute(name) ?? missing
        case .text: return methods.ofText?.asValue ?? missing
        case .list: return methods.ofList?.asValue ?? missing
        case .undefined(let undefined): throw r.error(undefined.message)
        case .macro(let macro) where name.string == "name": return .text(macro.name)
        default: return missing
        }
    }
}

/// `value[index]`
final class JinjaItem: JinjaExpression, @unchecked Sendable {
    let object: JinjaExpression
    let index: JinjaExpression
    private let missing: JinjaValue

    init(_ object: JinjaExpression, _ index: JinjaExpression) {
        self.object = object
        self.index = index
        if let literal = index as? JinjaLiteral, case .text(let name) = literal.value {
            missing = .undefined(JinjaUndefined(name: name.string))
        } else {
            missing = .undefined(.element)
        }
        super.init([object, index])
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        let object = try object.evaluate(r)
        return try object.item(index.evaluate(r), r) ?? missing
    }
}

extension JinjaValue {
    /// `self[index]`; nil where there is nothing.
    func item(_ index: JinjaValue, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue? {
        if case .undefined(let undefined) = self { throw r.error(undefined.message) }
        if case .dict(let dict) = self {
            if let value = dict.value(index) { return value }
            guard case .text(let name) = index else { return nil }
            return JinjaMethods(name).ofDict?.asValue
        }
        if let i = index.integer {
            switch self {
            case .list(let list) where list.kind == .list || list.kind == .tuple || list.kind == .range:
                let place = i < 0 ? i + list.elements.count : i
                return list.elements.indices.contains(place) ? list.elements[place] : nil
            case .text(let text):
                let places = PythonText.boundaries(text.bytes)
                try r.charge(bytes: text.bytes.count)
                let place = i < 0 ? i + places.count - 1 : i
                return (0..<places.count - 1).contains(place)
                    ? .text(text.slice(places[place]..<places[place + 1])) : nil
            default: return nil
            }
        }
        guard case .text(let name) = index else { return nil }
        switch self {
        case .namespace(let namespace): return namespace.value(name)
        case .loop(let loop): return loop.attribute(name)
        case .text: return JinjaMethods(name).ofText?.asValue
        case .list: return JinjaMethods(name).ofList?.asValue
        default: return nil
        }
    }
}

/// `value[start:stop:step]`
final class JinjaSlice: JinjaExpression, @unchecked Sendable {
    let object: JinjaExpression
    let bounds: [JinjaExpression?]

    init(_ object: JinjaExpression, _ bounds: [JinjaExpression?]) {
        self.object = object
        self.bounds = bounds
        super.init([object] + bounds.compactMap { $0 })
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        let object = try object.evaluate(r)
        var numbers: [Int?] = []
        for bound in bounds {
            guard let value = try bound?.evaluate(r) else {
                numbers.append(nil)
                continue
            }
            if case .null = value {
                numbers.append(nil)
            } else if let number = value.integer {
                numbers.append(number)
            } else {
                throw r.wrongType("a slice cannot begin or end at", value)
            }
        }
        switch object {
        case .list(let list) where list.kind == .list || list.kind == .tuple || list.kind == .range:
            let places = try places(numbers, count: list.elements.count, r)
            return try r.list(places.map { list.elements[$0] }, list.kind, origin: list.origin)
        case .text(let text):
            let boundaries = PythonText.boundaries(text.bytes)
            try r.charge(bytes: text.bytes.count)
            let places = try places(numbers, count: boundaries.count - 1, r)
            guard let first = places.first, let last = places.last else { return .text(.empty) }
            if numbers[2] ?? 1 == 1 { return .text(text.slice(boundaries[first]..<boundaries[last + 1])) }
            try r.charge(places.count)
            var result = TaggedText()
            for place in places { result.append(text, boundaries[place]..<boundaries[place + 1]) }
            return .text(JinjaText(result))
        default: throw r.wrongType("a slice cannot be taken of", object)
        }
    }

    private func places(_ numbers: [Int?], count: Int, _ r: JinjaRenderer) throws(QwenSFTError) -> [Int] {
        let step = numbers[2] ?? 1
        if step == 0 { throw r.error("the step of a slice is 0") }
        func clamped(_ number: Int?, _ otherwise: Int, _ low: Int, _ high: Int) -> Int {
            guard let number else { return otherwise }
            return min(max(number < 0 ? max(number, -count) + count - (number < -count ? 1 : 0) : number, low), high)
        }
        if step > 0 {
            let start = clamped(numbers[0], 0, 0, count)
            let stop = clamped(numbers[1], count, 0, count)
            return start < stop ? Array(stride(from: start, to: stop, by: min(step, count))) : []
        }
        let start = clamped(numbers[0], count - 1, -1, count - 1)
        let stop = clamped(numbers[1], -1, -1, count - 1)
        return start > stop ? Array(stride(from: start, to: stop, by: max(step, -count))) : []
    }
}

final class JinjaConditional: JinjaExpression, @unchecked Sendable {
    let test: JinjaExpression
    let value: JinjaExpression
    let otherwise: JinjaExpression?
    private static let undefined = JinjaUndefined("an expression with 'if' is false and has no 'else'")

    init(_ test: JinjaExpression, _ value: JinjaExpression, _ otherwise: JinjaExpression?) {
        (self.test, self.value, self.otherwise) = (test, value, otherwise)
        super.init([test, value] + [otherwise].compactMap { $0 })
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        if try test.evaluate(r).isTrue { return try value.evaluate(r) }
        return try otherwise?.evaluate(r) ?? JinjaValue.undefined(Self.undefined)
    }

    override func emit(_ r: JinjaRenderer) throws(QwenSFTError) {
        if try test.evaluate(r).isTrue { try value.emit(r) } else { try otherwise?.emit(r) }
    }
}

/// `and`, `or`: the value that decides.
final class JinjaLogical: JinjaExpression, @unchecked Sendable {
    let operands: [JinjaExpression]
    let isOr: Bool

    init(_ operands: [JinjaExpression], isOr: Bool) {
        (self.operands, self.isOr) = (operands, isOr)
        super.init(operands)
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        var value = JinjaValue.null
        for operand in operands {
            value = try operand.evaluate(r)
            if value.isTrue == isOr { return value }
        }
        return value
    }
}

final class JinjaNot: JinjaExpression, @unchecked Sendable {
    let operand: JinjaExpression
    init(_ operand: JinjaExpression) {
        self.operand = operand
        super.init([operand])
    }
    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        .bool(try !operand.evaluate(r).isTrue)
    }
}

/// `[…]`, `(…, …)`
final class JinjaSequence: JinjaExpression, @unchecked Sendable {
    let elements: [JinjaExpression]
    let kind: JinjaList.Kind

    init(_ elements: [JinjaExpression], _ kind: JinjaList.Kind) {
        (self.elements, self.kind) = (elements, kind)
        super.init(elements)
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        var values: [JinjaValue] = []
        for element in elements { values.append(try element.evaluate(r)) }
        return try r.list(values, kind)
    }
}

final class JinjaDictionary: JinjaExpression, @unchecked Sendable {
    let pairs: [(key: JinjaExpression, value: JinjaExpression)]

    init(_ pairs: [(key: JinjaExpression, value: JinjaExpression)]) {
        self.pairs = pairs
        super.init(pairs.map(\.key) + pairs.map(\.value))
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        var values: [(key: JinjaValue, value: JinjaValue)] = []
        for pair in pairs {
            let key = try pair.key.evaluate(r)
            switch key {
            case .dict: throw r.wrongType("a key cannot be", key)
            case .list(let list) where list.kind != .tuple: throw r.wrongType("a key cannot be", key)
            default: values.append((key, try pair.value.evaluate(r)))
            }
        }
        return try r.checked(.dict(JinjaDict(values)), count: values.count)
    }
}
