/// Expressions, from the loosest operator to the tightest.
extension JinjaParser {
    /// Expressions with commas between them are a tuple.
    mutating func parseTuple(
        conditional: Bool = true, endsAtRecursive: Bool = false, inParentheses: Bool = false
    ) throws(QwenSFTError) -> JinjaExpression {
        var elements: [JinjaExpression] = []
        var isTuple = false
        while true {
            if !elements.isEmpty { try expect(symbol: ",") }
            let isAtEnd =
                current.kind == .variableEnd || current.kind == .blockEnd || isSymbol(")")
                || endsAtRecursive && isName("recursive")
            if isAtEnd { break }
            elements.append(conditional ? try parseExpression() : try parseOr())
            guard isSymbol(",") else { break }
            isTuple = true
        }
        if !isTuple, let first = elements.first { return first }
        if !isTuple, !inParentheses { throw unexpected("an expression") }
        return try checked(JinjaSequence(elements, .tuple))
    }

    mutating func parseExpression() throws(QwenSFTError) -> JinjaExpression {
        try nested { (parser) throws(QwenSFTError) in
            var value = try parser.parseOr()
            while parser.skip(name: "if") {
                let test = try parser.parseOr()
                let otherwise = parser.skip(name: "else") ? try parser.parseExpression() : nil
                value = try parser.checked(JinjaConditional(test, value, otherwise))
            }
            return value
        }
    }

    mutating func parseOr() throws(QwenSFTError) -> JinjaExpression {
        var operands = [try parseAnd()]
        while skip(name: "or") { operands.append(try parseAnd()) }
        return operands.count == 1 ? operands[0] : try checked(JinjaLogical(operands, isOr: true))
    }

    private mutating func parseAnd() throws(QwenSFTError) -> JinjaExpression {
        var operands = [try parseNot()]
        while skip(name: "and") { operands.append(try parseNot()) }
        return operands.count == 1 ? operands[0] : try checked(JinjaLogical(operands, isOr: false))
    }

    private mutating func parseNot() throws(QwenSFTError) -> JinjaExpression {
        guard skip(name: "not") else { return try parseComparison() }
        return try nested { (parser) throws(QwenSFTError) in try parser.checked(JinjaNot(parser.parseNot())) }
    }

    private mutating func parseComparison() throws(QwenSFTError) -> JinjaExpression {
        let first = try parseSum()
        var rest: [(JinjaComparison.Operator, JinjaExpression)] = []
        while true {
            if current.kind == .symbol, let operation = JinjaComparison.Operator(rawValue: current.text) {
                advance()
                rest.append((operation, try parseSum()))
            } else if skip(name: "in") {
                rest.append((.contained, try parseSum()))
            } else if isName("not"), following.kind == .name, following.text == "in" {
                advance()
                advance()
                rest.append((.notContained, try parseSum()))
            } else {
                return rest.isEmpty ? first : try checked(JinjaComparison(first, rest))
            }
        }
    }

    private mutating func parseSum() throws(QwenSFTError) -> JinjaExpression {
        var operands = [try parseConcatenation()]
        func sum() -> JinjaExpression { operands.count == 1 ? operands[0] : JinjaSum(operands) }
        while true {
            if skip(symbol: "+") {
                operands.append(try parseConcatenation())
            } else if skip(symbol: "-") {
                operands = [try checked(JinjaArithmetic(sum(), .subtract, parseConcatenation()))]
            } else {
                return try checked(sum())
            }
        }
    }

    private mutating func parseConcatenation() throws(QwenSFTError) -> JinjaExpression {
        var operands = [try parseProduct()]
        while skip(symbol: "~") { operands.append(try parseProduct()) }
        return operands.count == 1 ? operands[0] : try checked(JinjaConcatenation(operands))
    }

    private mutating func parseProduct() throws(QwenSFTError) -> JinjaExpression {
        var left = try parsePower()
        while current.kind == .symbol, ["*", "/", "//", "%"].contains(current.text),
            let operation = JinjaArithmetic.Operator(rawValue: current.text)
        {
            advance()
            left = try checked(JinjaArithmetic(left, operation, parsePower()))
        }
        return left
    }

    private mutating func parsePower() throws(QwenSFTError) -> JinjaExpression {
        var left = try parseUnary()
        while skip(symbol: "**") { left = try checked(JinjaArithmetic(left, .power, parseUnary())) }
        return left
    }

    private mutating func parseUnary(withFilters: Bool = true) throws(QwenSFTError) -> JinjaExpression {
        var value: JinjaExpression
        if isSymbol("-") || isSymbol("+") {
            let isMinus = isSymbol("-")
            advance()
            value = try nested { (parser) throws(QwenSFTError) in
                try parser.checked(JinjaSign(parser.parseUnary(withFilters: false), isMinus: isMinus))
            }
        } else {
            value = try parsePrimary()
        }
        value = try parsePostfix(value)
        while withFilters {
            if isSymbol("|") {
                let (filter, arguments) = try parseFilter()
                value = try checked(JinjaFilterCall(value, filter, arguments))
            } else if isName("is") {
                value = try parseTest(value)
            } else if isSymbol("(") {
                value = try checked(JinjaCall(value, parseArguments()))
            } else {
                break
            }
        }
        return value
    }

    private mutating func parsePrimary() throws(QwenSFTError) -> JinjaExpression {
        let token = current
        switch token.kind {
        case .name:
            advance()
            switch token.text {
            case "true", "True": return JinjaLiteral(.bool(true))
            case "false", "False": return JinjaLiteral(.bool(false))
            case "none", "None": return JinjaLiteral(.null)
            case "varargs", "kwargs", "caller":
                if isInMacro {
                    throw error("'\(token.text)' in a macro is not supported", .unsupported, line: token.line)
                }
                fallthrough
            default: return JinjaName(token.text, slot: slot(token.text))
            }
        case .string:
            var bytes: [UInt8] = []
            while current.kind == .string {
                bytes += current.bytes
                advance()
            }
            return JinjaLiteral(.text(JinjaText(bytes)))
        case .integer, .float:
            advance()
            return JinjaLiteral(try number(token))
        case .symbol: return try nested { (parser) throws(QwenSFTError) in try parser.parseBracket() }
        default: throw unexpected("an expression")
        }
    }

    private func number(_ token: JinjaToken) throws(QwenSFTError) -> JinjaValue {
        if token.kind == .float, let value = Double(token.text) { return .float(value) }
        let digits = token.text
        let radix = ["0x": 16, "0o": 8, "0b": 2][digits.prefix(2).lowercased()]
        guard let value = radix.map({ Int(digits.dropFirst(2), radix: $0) }) ?? Int(digits) else {
            throw error("the number \(printable(digits)) is not supported", .unsupported, line: token.line)
        }
        return .int(value)
    }

    private mutating func parseBracket() throws(QwenSFTError) -> JinjaExpression {
        if skip(symbol: "(") {
            let value = try parseTuple(inParentheses: true)
            try expect(symbol: ")")
            return value
        }
        if skip(symbol: "[") {
            var elements: [JinjaExpression] = []
            while !isSymbol("]") {
                if !elements.isEmpty { try expect(symbol: ",") }
                if isSymbol("]") { break }
                elements.append(try parseExpression())
            }
            advance()
            return try checked(JinjaSequence(elements, .list))
        }
        guard skip(symbol: "{") else { throw unexpected("an expression") }
        var pairs: [(key: JinjaExpression, value: JinjaExpression)] = []
        while !isSymbol("}") {
            if !pairs.isEmpty { try expect(symbol: ",") }
            if isSymbol("}") { break }
            let key = try parseExpression()
            try expect(symbol: ":")
            pairs.append((key, try parseExpression()))
        }
        advance()
        return try checked(JinjaDictionary(pairs))
    }

    private mutating func parsePostfix(_ value: JinjaExpression) throws(QwenSFTError) -> JinjaExpression {
        var value = value
        while true {
            if skip(symbol: ".") {
                if current.kind == .integer {
                    value = try checked(JinjaItem(value, JinjaLiteral(number(current))))
                    advance()
                } else {
                    let name = try expectName()
                    value = try checked(JinjaAttribute(value, JinjaText(name)))
                }
            } else if isSymbol("[") {
                value = try nested { (parser) throws(QwenSFTError) in try parser.parseSubscript(value) }
            } else if isSymbol("(") {
                let arguments = try parseArguments()
                if let attribute = value as? JinjaAttribute {
                    value = try checked(JinjaMethodCall(attribute, arguments))
                } else {
                    value = try checked(JinjaCall(value, arguments))
                }
            } else {
                return value
            }
        }
    }

    private mutating func parseSubscript(_ object: JinjaExpression) throws(QwenSFTError) -> JinjaExpression {
        try expect(symbol: "[")
        var bounds: [JinjaExpression?] = []
        var colons = 0
        var bound: JinjaExpression?
        while !isSymbol("]") {
            if skip(symbol: ":") {
                colons += 1
                if colons > 2 { throw unexpected() }
                bounds.append(bound)
                bound = nil
            } else if bound == nil {
                bound = try parseExpression()
            } else {
                throw unexpected("']'")
            }
        }
        advance()
        if colons == 0 {
            guard let bound else { throw unexpected("an index") }
            return try checked(JinjaItem(object, bound))
        }
        bounds.append(bound)
        while bounds.count < 3 { bounds.append(nil) }
        return try checked(JinjaSlice(object, bounds))
    }

    mutating func parseArguments() throws(QwenSFTError) -> JinjaArguments {
        try expect(symbol: "(")
        var arguments = JinjaArguments()
        while !isSymbol(")") {
            if !arguments.expressions.isEmpty {
                try expect(symbol: ",")
                if isSymbol(")") { break }
            }
            if isSymbol("*") || isSymbol("**") { throw error("'*' in a call is not supported", .unsupported) }
            if current.kind == .name, following.kind == .symbol, following.text == "=" {
                let name = current.text
                advance()
                advance()
                if arguments.named.contains(where: { $0.name == name }) {
                    throw error("the argument '\(printable(name))' is given twice")
                }
                arguments.named.append((name, try parseExpression()))
            } else {
                if !arguments.named.isEmpty { throw unexpected("an argument with a name") }
                arguments.positional.append(try parseExpression())
            }
        }
        advance()
        return arguments
    }

    /// From `|` on.
    mutating func parseFilter() throws(QwenSFTError) -> (JinjaFilter, JinjaArguments) {
        try expect(symbol: "|")
        let line = current.line
        let name = try expectName()
        guard let filter = JinjaFilter(name: name) else {
            throw error("the filter '\(printable(name))' is not supported", .unsupported, line: line)
        }
        return (filter, isSymbol("(") ? try parseArguments() : JinjaArguments())
    }

    private mutating func parseTest(_ value: JinjaExpression) throws(QwenSFTError) -> JinjaExpression {
        advance()
        let isNegated = skip(name: "not")
        let line = current.line
        let name = try expectName()
        guard let test = JinjaTest(name: name) else {
            throw error("the test '\(printable(name))' is not supported", .unsupported, line: line)
        }
        var arguments = JinjaArguments()
        if isSymbol("(") {
            arguments = try parseArguments()
        } else {
            let isArgument =
                switch current.kind {
                case .name: !["else", "or", "and"].contains(current.text)
                case .string, .integer, .float: true
                default: isSymbol("[") || isSymbol("{")
                }
            if isArgument {
                if isName("is") { throw error("tests cannot be chained with 'is'") }
                arguments.positional = [
                    try nested { (parser) throws(QwenSFTError) in try parser.parsePostfix(parser.parsePrimary()) }
                ]
            }
        }
        let result = try checked(JinjaTestCall(value, test, arguments))
        return isNegated ? try checked(JinjaNot(result)) : result
    }
}
