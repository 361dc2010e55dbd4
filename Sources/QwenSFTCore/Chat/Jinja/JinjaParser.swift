/// Makes statements of a template's tokens. Expressions are parsed in JinjaExpressionParser.swift.
struct JinjaParser {
    private let tokens: [JinjaToken]
    private var position = 0
    /// Names have a number each: the place of their value.
    private(set) var slots: [String: Int] = [:]
    private(set) var hasGenerations = false
    private var nesting = 0
    private var loops = 0
    private var macros = 0

    /// - Throws: `invalidFile` for what is no template, `unsupported` for what is not supported, with the line.
    init(_ text: [UInt8]) throws(QwenSFTError) {
        guard text.count <= JinjaLimits.templateBytes else {
            throw QwenSFTError(.tooLong, "the chat template is longer than \(JinjaLimits.templateBytes) bytes")
        }
        tokens = try JinjaLexer.tokens(text)
    }

    mutating func parse() throws(QwenSFTError) -> JinjaBody {
        let body = try parseBody(until: [])
        if current.kind != .end { throw unexpected() }
        return body
    }

    // MARK: Tokens

    var current: JinjaToken { tokens[min(position, tokens.count - 1)] }
    var following: JinjaToken { tokens[min(position + 1, tokens.count - 1)] }

    mutating func advance() { position += 1 }

    func isSymbol(_ symbol: String) -> Bool { current.kind == .symbol && current.bytes.elementsEqual(symbol.utf8) }
    func isName(_ name: String) -> Bool { current.kind == .name && current.bytes.elementsEqual(name.utf8) }

    mutating func skip(symbol: String) -> Bool {
        guard isSymbol(symbol) else { return false }
        advance()
        return true
    }

    mutating func skip(name: String) -> Bool {
        guard isName(name) else { return false }
        advance()
        return true
    }

    mutating func expect(symbol: String) throws(QwenSFTError) {
        if !skip(symbol: symbol) { throw unexpected("'\(symbol)'") }
    }

    mutating func expectName() throws(QwenSFTError) -> String {
        guard current.kind == .name else { throw unexpected("a name") }
        defer { advance() }
        return current.text
    }

    func error(_ message: String, _ code: QwenSFTError.Code = .invalidFile, line: Int? = nil) -> QwenSFTError {
        QwenSFTError(code, "chat template, line \(line ?? current.line): \(message)")
    }

    func unexpected(_ expected: String? = nil) -> QwenSFTError {
        let found =
            switch current.kind {
            case .end: "the end of the template"
            case .variableEnd, .blockEnd: "the end of the tag"
            default: "'\(printable(current.text))'"
            }
        return error(expected.map { "expected \($0), found \(found)" } ?? "unexpected \(found)")
    }

    mutating func slot(_ name: String) -> Int {
        if let slot = slots[name] { return slot }
        slots[name] = slots.count
        return slots.count - 1
    }

    /// One level deeper into expressions or blocks.
    mutating func nested<T>(_ body: (inout JinjaParser) throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        nesting += 1
        if nesting > JinjaLimits.nodeDepth { throw error("the template is nested too deeply") }
        defer { nesting -= 1 }
        return try body(&self)
    }

    /// An expression, if it is not too deep to evaluate.
    func checked<E: JinjaExpression>(_ expression: E) throws(QwenSFTError) -> E {
        if expression.depth > JinjaLimits.nodeDepth { throw error("the expression is nested too deeply") }
        return expression
    }

    var isInMacro: Bool { macros > 0 }

    // MARK: Statements

    /// Statements up to a tag whose name is one of `ends`, which becomes the current token.
    private mutating func parseBody(until ends: [String]) throws(QwenSFTError) -> JinjaBody {
        try nested { (parser) throws(QwenSFTError) in
            var body = JinjaBody()
            while true {
                let token = parser.current
                switch token.kind {
                case .data:
                    parser.advance()
                    body.statements.append(JinjaData(token.line, JinjaText(token.bytes)))
                case .variableBegin:
                    parser.advance()
                    let line = parser.current.line
                    body.statements.append(JinjaPrint(line, try parser.parseTuple()))
                    guard parser.current.kind == .variableEnd else { throw parser.unexpected("'}}'") }
                    parser.advance()
                case .blockBegin:
                    parser.advance()
                    if parser.current.kind == .name, ends.contains(parser.current.text) { return body }
                    body.statements += try parser.parseStatement()
                    try parser.endTag()
                default:
                    if !ends.isEmpty { throw parser.unexpected("{% \(ends.joined(separator: " %} or {% ")) %}") }
                    return body
                }
            }
        }
    }

    private mutating func endTag() throws(QwenSFTError) {
        guard current.kind == .blockEnd else { throw unexpected("'%}'") }
        advance()
    }

    /// The body of a block up to its end tag, all of which is read but its `%}`.
    private mutating func parseBlock(_ end: String) throws(QwenSFTError) -> JinjaBody {
        try endTag()
        let body = try parseBody(until: [end])
        advance()
        return body
    }

    private mutating func parseStatement() throws(QwenSFTError) -> [JinjaStatement] {
        let line = current.line
        let name = try expectName()
        switch name {
        case "if": return [try parseIf(line)]
        case "for": return [try parseFor(line)]
        case "set": return [try parseSet(line)]
        case "macro": return [try parseMacro(line)]
        case "with": return [try parseWith(line)]
        case "generation":
            hasGenerations = true
            return [JinjaGeneration(line, try parseBlock("endgeneration"))]
        case "print":
            return [JinjaPrint(line, try parseTuple())]
        case "break", "continue":
            if loops == 0 { throw error("'\(name)' stands outside of a loop", line: line) }
            return [JinjaJump(line, name == "break" ? .break : .continue)]
        case "block", "extends", "include", "import", "from", "call", "filter", "autoescape", "do", "trans", "debug":
            throw error("{% \(name) %} is not supported", .unsupported, line: line)
        default: throw error("unknown tag '\(printable(name))'", line: line)
        }
    }

    private mutating func parseIf(_ line: Int) throws(QwenSFTError) -> JinjaIf {
        var branches: [(test: JinjaExpression, body: JinjaBody)] = []
        var otherwise = JinjaBody()
        while true {
            let test = try parseTuple(conditional: false)
            try endTag()
            branches.append((test, try parseBody(until: ["elif", "else", "endif"])))
            if skip(name: "elif") { continue }
            if skip(name: "else") { otherwise = try parseBlock("endif") } else { advance() }
            return JinjaIf(line, branches, otherwise)
        }
    }

    private mutating func parseFor(_ line: Int) throws(QwenSFTError) -> JinjaFor {
        let target = try parseTarget(endsAtIn: true)
        guard skip(name: "in") else { throw unexpected("'in'") }
        let iterable = try parseTuple(conditional: false, endsAtRecursive: true)
        let filter = skip(name: "if") ? try parseExpression() : nil
        if isName("recursive") { throw error("recursive loops are not supported", .unsupported) }
        try endTag()
        loops += 1
        let body = try parseBody(until: ["else", "endfor"])
        loops -= 1
        let otherwise =
            skip(name: "else")
            ? try parseBlock("endfor")
            : {
                advance()
                return JinjaBody()
            }()
        return JinjaFor(line, target, in: iterable, if: filter, body, else: otherwise, loopSlot: slot("loop"))
    }

    private mutating func parseSet(_ line: Int) throws(QwenSFTError) -> JinjaStatement {
        let target = try parseTarget(allowsAttribute: true)
        if skip(symbol: "=") { return JinjaSet(line, target, try parseTuple()) }
        var filters: [(JinjaFilter, JinjaArguments)] = []
        while isSymbol("|") { filters.append(try parseFilter()) }
        return JinjaSetBlock(line, target, filters, try parseBlock("endset"))
    }

    private mutating func parseWith(_ line: Int) throws(QwenSFTError) -> JinjaScope {
        // The values do not see the names beside them.
        var sets: [(JinjaTarget, JinjaExpression)] = []
        while current.kind != .blockEnd {
            if !sets.isEmpty { try expect(symbol: ",") }
            let target = try parseTarget()
            try expect(symbol: "=")
            sets.append((target, try parseExpression()))
        }
        let body = try parseBlock("endwith")
        guard !sets.isEmpty else { return JinjaScope(line, body) }
        let values = JinjaSequence(sets.map(\.1), .tuple)
        let set = JinjaSet(line, .tuple(sets.map(\.0)), try checked(values))
        return JinjaScope(line, JinjaBody(statements: [set] + body.statements))
    }

    private mutating func parseMacro(_ line: Int) throws(QwenSFTError) -> JinjaMacroDefinition {
        let name = try expectName()
        var parameters: [(name: String, slot: Int, otherwise: JinjaExpression?)] = []
        try expect(symbol: "(")
        while !isSymbol(")") {
            if !parameters.isEmpty { try expect(symbol: ",") }
            let parameter = try expectName()
            if parameters.contains(where: { $0.name == parameter }) {
                throw error("the macro '\(name)' has two parameters '\(parameter)'")
            }
            let otherwise = skip(symbol: "=") ? try parseExpression() : nil
            if otherwise == nil, parameters.last?.otherwise != nil {
                throw error("a parameter without a default stands after one that has one")
            }
            parameters.append((parameter, slot(parameter), otherwise))
        }
        try expect(symbol: ")")
        let outerLoops = loops
        (loops, macros) = (0, macros + 1)
        let body = try parseBlock("endmacro")
        (loops, macros) = (outerLoops, macros - 1)
        return JinjaMacroDefinition(line, JinjaText(name), slot: slot(name), parameters, body)
    }

    private mutating func parseTarget(endsAtIn: Bool = false, allowsAttribute: Bool = false) throws(QwenSFTError)
        -> JinjaTarget
    {
        var targets: [JinjaTarget] = []
        var isTuple = false
        repeat {
            if !targets.isEmpty, endsAtIn ? isName("in") : isSymbol("=") || isSymbol(")") { break }
            targets.append(try parseSimpleTarget(allowsAttribute))
            if isSymbol(",") { isTuple = true }
        } while skip(symbol: ",")
        return isTuple ? .tuple(targets) : targets[0]
    }

    private mutating func parseSimpleTarget(_ allowsAttribute: Bool) throws(QwenSFTError) -> JinjaTarget {
        if skip(symbol: "(") {
            let target = try nested { (parser) throws(QwenSFTError) in try parser.parseTarget() }
            try expect(symbol: ")")
            return target
        }
        let line = current.line
        let name = try expectName()
        if ["true", "false", "none", "True", "False", "None"].contains(name) {
            throw error("nothing can be assigned to '\(name)'", line: line)
        }
        if allowsAttribute, skip(symbol: ".") {
            return .attribute(JinjaName(name, slot: slot(name)), JinjaText(try expectName()))
        }
        return .name(slot(name))
    }
}
