/// What stands between the parentheses of a call.
struct JinjaArguments {
    var positional: [JinjaExpression] = []
    var named: [(name: String, value: JinjaExpression)] = []

    var expressions: [JinjaExpression] { positional + named.map(\.value) }

    func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaCallValues {
        var values = JinjaCallValues()
        for argument in positional { values.positional.append(try argument.evaluate(r)) }
        for argument in named { values.named.append((argument.name, try argument.value.evaluate(r))) }
        return values
    }
}

/// The arguments of a call, handed out by position or name.
struct JinjaCallValues {
    var positional: [JinjaValue] = []
    var named: [(name: String, value: JinjaValue)] = []

    /// The arguments in the order of `names`; nil where one is not given.
    /// - Throws: for one argument too many, too few (`required` must be there) or of another name.
    func bind(
        _ names: [String], required: Int = 0, of what: String, _ r: JinjaRenderer
    ) throws(QwenSFTError) -> [JinjaValue?] {
        guard positional.count <= names.count else {
            throw r.error("\(what) takes at most \(names.count) arguments, not \(positional.count)")
        }
        var values: [JinjaValue?] = positional + [JinjaValue?](repeating: nil, count: names.count - positional.count)
        for argument in named {
            guard let place = names.firstIndex(of: argument.name), values[place] == nil else {
                throw r.error("\(what) takes no argument '\(printable(argument.name))'")
            }
            values[place] = argument.value
        }
        for place in 0..<required where values[place] == nil {
            throw r.error("\(what) needs the argument '\(names[place])'")
        }
        return values
    }

    func first(of what: String, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        guard let first = positional.first else { throw r.error("\(what) needs an argument") }
        return first
    }
}

/// `f(…)`
final class JinjaCall: JinjaExpression, @unchecked Sendable {
    let callee: JinjaExpression
    let arguments: JinjaArguments

    init(_ callee: JinjaExpression, _ arguments: JinjaArguments) {
        (self.callee, self.arguments) = (callee, arguments)
        super.init([callee] + arguments.expressions)
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        let callee = try callee.evaluate(r)
        return try callee.call(arguments.evaluate(r), r)
    }
}

/// `value.name(…)`
final class JinjaMethodCall: JinjaExpression, @unchecked Sendable {
    let object: JinjaExpression
    let name: JinjaText
    let arguments: JinjaArguments
    private let methods: JinjaMethods

    init(_ attribute: JinjaAttribute, _ arguments: JinjaArguments) {
        (object, name, self.arguments) = (attribute.object, attribute.name, arguments)
        methods = JinjaMethods(name)
        super.init([attribute] + arguments.expressions)
    }

    override func evaluate(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        let object = try object.evaluate(r)
        if case .undefined(let undefined) = object { throw r.error(undefined.message) }
        let values = try arguments.evaluate(r)
        switch object {
        case .text(let text):
            if let method = methods.ofText { return try method.call(text, values, r) }
        case .list(let list):
            if let method = methods.ofList { return try method.call(list, values, r) }
        case .dict(let dict):
            if let method = methods.ofDict { return try method.call(dict, values, r) }
            if let value = dict.value(name) { return try value.call(values, r) }
        case .namespace(let namespace):
            if let value = namespace.value(name) { return try value.call(values, r) }
        case .loop(let loop): return try loop.call(name, values, r)
        default: break
        }
        throw r.error("a value of type \(object.typeName) has no method '\(printable(name.string))'")
    }
}

extension JinjaValue {
    func call(_ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        switch self {
        case .macro(let macro): return .text(try macro.call(arguments, r))
        case .function(let function): return try function.call(arguments, r)
        default: throw r.wrongType("there is no calling", self)
        }
    }
}

extension JinjaFunction {
    func call(_ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        switch self {
        case .raiseException:
            let message = try arguments.bind(["message"], required: 1, of: rawValue, r)[0] ?? .null
            throw QwenSFTError(
                .invalidArgument,
                "the chat template refuses the conversation: \(printable(try r.string(message).string, limit: 1000))")
        case .strftimeNow:
            guard case .text(let format)? = try arguments.bind(["format"], required: 1, of: rawValue, r)[0] else {
                throw r.error("strftime_now needs a text")
            }
            return .text(JinjaText(r.clock.format(format.bytes), format.dominantOrigin))
        case .range:
            var numbers: [Int] = []
            for argument in arguments.positional {
                guard let number = argument.integer else { throw r.wrongType("range needs integers, not", argument) }
                numbers.append(number)
            }
            guard (1...3).contains(numbers.count), arguments.named.isEmpty else {
                throw r.error("range needs one to three integers")
            }
            let step = numbers.count > 2 ? numbers[2] : 1
            if step == 0 { throw r.error("the step of range is 0") }
            let (start, stop) = numbers.count > 1 ? (numbers[0], numbers[1]) : (0, numbers[0])
            let (span, overflow) = (step > 0 ? stop : start).subtractingReportingOverflow(step > 0 ? start : stop)
            let count = overflow ? Int.max : span <= 0 ? 0 : 1 + (span - 1) / Int(clamping: step.magnitude)
            if count > JinjaLimits.rangeCount {
                throw r.error("a range may hold \(JinjaLimits.rangeCount) numbers at most")
            }
            return try r.list((0..<count).map { .int(start + $0 * step) }, .range)
        case .dict: return try r.checked(.dict(JinjaDict(pairs(arguments, r))), count: arguments.named.count)
        case .namespace:
            let namespace = try r.makeNamespace()
            for pair in try pairs(arguments, r) {
                if case .text(let name) = pair.key { namespace.set(name, pair.value) }
            }
            return .namespace(namespace)
        case .method: throw r.error("a method must be called where it is named", .unsupported)
        }
    }

    private func pairs(
        _ arguments: JinjaCallValues, _ r: JinjaRenderer
    ) throws(QwenSFTError) -> [(key: JinjaValue, value: JinjaValue)] {
        var pairs: [(key: JinjaValue, value: JinjaValue)] = []
        if let first = arguments.positional.first {
            guard case .dict(let dict) = first, arguments.positional.count == 1 else {
                throw r.wrongType("\(rawValue) cannot be made of", first)
            }
            pairs = dict.entries
        }
        return pairs + arguments.named.map { (.text(JinjaText($0.name)), $0.value) }
    }
}

extension JinjaLoop {
    func attribute(_ name: JinjaText) -> JinjaValue? {
        switch name.string {
        case "index": .int(index + 1)
        case "index0": .int(index)
        case "revindex": .int(items.count - index)
        case "revindex0": .int(items.count - index - 1)
        case "first": .bool(index == 0)
        case "last": .bool(index == items.count - 1)
        case "length": .int(items.count)
        case "depth": .int(1)
        case "depth0": .int(0)
        case "previtem": index > 0 ? items[index - 1] : .undefined(JinjaUndefined("there is no previous item"))
        case "nextitem":
            index + 1 < items.count ? items[index + 1] : .undefined(JinjaUndefined("there is no next item"))
        case "cycle", "changed": .function(.method)
        default: nil
        }
    }

    func call(_ name: JinjaText, _ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaValue {
        switch name.string {
        case "cycle":
            if arguments.positional.isEmpty { throw r.error("loop.cycle needs an argument") }
            return arguments.positional[index % arguments.positional.count]
        case "changed":
            let value = try r.list(arguments.positional, .tuple)
            defer { changed = value }
            try r.charge(value.size)
            return .bool(!(changed?.equals(value) ?? false))
        default: throw r.error("loop has no method '\(printable(name.string))'")
        }
    }
}
