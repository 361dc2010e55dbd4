/// Whether the body of a loop goes on after a statement.
enum JinjaFlow { case next, `continue`, `break` }

/// A statement of a template. Immutable once parsed.
class JinjaStatement: @unchecked Sendable {
    let line: Int
    /// What it costs, without the statements in it.
    let cost: Int

    init(_ line: Int, _ expressions: [JinjaExpression] = []) {
        self.line = line
        cost = expressions.reduce(1) { $0 + $1.cost }
    }

    func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow { .next }
}

struct JinjaBody {
    var statements: [JinjaStatement] = []

    func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow {
        for statement in statements {
            r.line = statement.line
            try r.charge(statement.cost)
            let flow = try statement.execute(r)
            if flow != .next { return flow }
        }
        return .next
    }

    /// Executes it in a scope of its own.
    func executeScoped(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow {
        r.openScope()
        let flow = try execute(r)
        r.closeScope()
        return flow
    }
}

/// Text that stands in the template.
final class JinjaData: JinjaStatement, @unchecked Sendable {
    let text: JinjaText
    init(_ line: Int, _ text: JinjaText) {
        self.text = text
        super.init(line)
    }
    override func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow {
        try r.emit(text)
        return .next
    }
}

/// `{{ … }}`
final class JinjaPrint: JinjaStatement, @unchecked Sendable {
    let expression: JinjaExpression
    init(_ line: Int, _ expression: JinjaExpression) {
        self.expression = expression
        super.init(line, [expression])
    }
    override func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow {
        try expression.emit(r)
        return .next
    }
}

final class JinjaIf: JinjaStatement, @unchecked Sendable {
    let branches: [(test: JinjaExpression, body: JinjaBody)]
    let otherwise: JinjaBody

    init(_ line: Int, _ branches: [(test: JinjaExpression, body: JinjaBody)], _ otherwise: JinjaBody) {
        (self.branches, self.otherwise) = (branches, otherwise)
        super.init(line, branches.map(\.test))
    }

    override func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow {
        for branch in branches where try branch.test.evaluate(r).isTrue { return try branch.body.execute(r) }
        return try otherwise.execute(r)
    }
}

/// What a value can be assigned to.
indirect enum JinjaTarget {
    case name(Int)
    case tuple([JinjaTarget])
    case attribute(JinjaName, JinjaText)

    func assign(_ value: JinjaValue, _ r: JinjaRenderer) throws(QwenSFTError) {
        switch self {
        case .name(let slot): r.assign(slot, value)
        case .tuple(let targets):
            let values = try r.elements(value)
            guard values.count == targets.count else {
                throw r.error("\(values.count) values do not go into \(targets.count) names")
            }
            for (target, value) in zip(targets, values) { try target.assign(value, r) }
        case .attribute(let name, let attribute):
            guard case .namespace(let namespace) = try name.evaluate(r) else {
                throw r.error("'\(printable(name.name))' is no namespace, so nothing in it can be set")
            }
            namespace.set(attribute, value)
        }
    }
}

final class JinjaFor: JinjaStatement, @unchecked Sendable {
    let target: JinjaTarget
    let iterable: JinjaExpression
    let filter: JinjaExpression?
    let body: JinjaBody
    let otherwise: JinjaBody
    private let loopSlot: Int

    init(
        _ line: Int, _ target: JinjaTarget, in iterable: JinjaExpression, if filter: JinjaExpression?,
        _ body: JinjaBody,
        else otherwise: JinjaBody, loopSlot: Int
    ) {
        (self.target, self.iterable, self.filter) = (target, iterable, filter)
        (self.body, self.otherwise, self.loopSlot) = (body, otherwise, loopSlot)
        super.init(line, [iterable])
    }

    override func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow {
        let value = try iterable.evaluate(r)
        var items = try r.elements(value)
        if let filter {
            var kept: [JinjaValue] = []
            for item in items {
                try r.charge(1 + filter.cost)
                r.openScope()
                try target.assign(item, r)
                if try filter.evaluate(r).isTrue { kept.append(item) }
                r.closeScope()
            }
            items = kept
        }
        if items.isEmpty { return try otherwise.executeScoped(r) }
        let loop = JinjaLoop(items, depth: value.depth)
        let outerMessage = r.message
        for (i, item) in items.enumerated() {
            try r.charge(1)
            loop.index = i
            if case .dict(let dict) = item, dict.message >= 0 { r.message = dict.message }
            r.openScope()
            r.assign(loopSlot, .loop(loop))
            try target.assign(item, r)
            let flow = try body.execute(r)
            r.closeScope()
            if flow == .break { break }
        }
        r.message = outerMessage
        return .next
    }
}

final class JinjaJump: JinjaStatement, @unchecked Sendable {
    let flow: JinjaFlow
    init(_ line: Int, _ flow: JinjaFlow) {
        self.flow = flow
        super.init(line)
    }
    override func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow { flow }
}

/// `{% set … = … %}`, and `{% with … = … %}` for each of its names.
final class JinjaSet: JinjaStatement, @unchecked Sendable {
    let target: JinjaTarget
    let value: JinjaExpression

    init(_ line: Int, _ target: JinjaTarget, _ value: JinjaExpression) {
        (self.target, self.value) = (target, value)
        super.init(line, [value])
    }

    override func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow {
        try target.assign(value.evaluate(r), r)
        return .next
    }
}

/// `{% set … %}…{% endset %}`: what the body prints, through filters.
final class JinjaSetBlock: JinjaStatement, @unchecked Sendable {
    let target: JinjaTarget
    let body: JinjaBody
    let filters: [(JinjaFilter, JinjaArguments)]

    init(_ line: Int, _ target: JinjaTarget, _ filters: [(JinjaFilter, JinjaArguments)], _ body: JinjaBody) {
        (self.target, self.filters, self.body) = (target, filters, body)
        super.init(line, filters.flatMap(\.1.expressions))
    }

    override func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow {
        var value = JinjaValue.text(try r.capture { () throws(QwenSFTError) in _ = try body.executeScoped(r) })
        for (filter, arguments) in filters { value = try filter.apply(value, arguments.evaluate(r), r) }
        try target.assign(value, r)
        return .next
    }
}

/// `{% with %}`: a scope.
final class JinjaScope: JinjaStatement, @unchecked Sendable {
    let body: JinjaBody
    init(_ line: Int, _ body: JinjaBody) {
        self.body = body
        super.init(line)
    }
    override func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow { try body.executeScoped(r) }
}

/// `{% generation %}`: what the model is to learn to say.
final class JinjaGeneration: JinjaStatement, @unchecked Sendable {
    let body: JinjaBody
    init(_ line: Int, _ body: JinjaBody) {
        self.body = body
        super.init(line)
    }
    override func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow {
        try r.markGeneration { () throws(QwenSFTError) in _ = try body.executeScoped(r) }
        return .next
    }
}

final class JinjaMacroDefinition: JinjaStatement, @unchecked Sendable {
    let name: JinjaText
    let slot: Int
    let parameters: [(name: String, slot: Int, otherwise: JinjaExpression?)]
    let body: JinjaBody

    init(
        _ line: Int, _ name: JinjaText, slot: Int,
        _ parameters: [(name: String, slot: Int, otherwise: JinjaExpression?)], _ body: JinjaBody
    ) {
        (self.name, self.slot, self.parameters, self.body) = (name, slot, parameters, body)
        super.init(line)
    }

    override func execute(_ r: JinjaRenderer) throws(QwenSFTError) -> JinjaFlow {
        r.assign(slot, .macro(JinjaMacro(self, r.scope)))
        return .next
    }
}

/// A macro where it has been defined.
package final class JinjaMacro {
    private let definition: JinjaMacroDefinition
    private let scope: (level: Int, number: Int)
    var name: JinjaText { definition.name }

    init(_ definition: JinjaMacroDefinition, _ scope: (level: Int, number: Int)) {
        (self.definition, self.scope) = (definition, scope)
    }

    func call(_ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError) -> JinjaText {
        let values = try arguments.bind(
            definition.parameters.map(\.name), of: "the macro '\(printable(name.string))'", r)
        return try r.callMacro(scope) { () throws(QwenSFTError) in
            for (parameter, value) in zip(definition.parameters, values) {
                r.assign(parameter.slot, value ?? .missing)
            }
            for (parameter, value) in zip(definition.parameters, values) where value == nil {
                let otherwise = JinjaValue.undefined(JinjaUndefined("parameter '\(parameter.name)' was not provided"))
                try r.charge(parameter.otherwise?.cost ?? 1)
                r.assign(parameter.slot, try parameter.otherwise?.evaluate(r) ?? otherwise)
            }
            _ = try definition.body.execute(r)
        }
    }
}
