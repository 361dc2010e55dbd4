/// Regular expressions as far as they select modules by name, in Python's syntax: literals, `.`, classes, groups, alternatives,
/// repetition (greedy and lazy), anchors, `\b`, and looking ahead. Matching tries alternatives in Python's order; what an
/// expression captures is nobody's business here.
package struct RegularExpression: Sendable {
    private indirect enum Node: Sendable {
        case one(Set)
        case sequence([Node])
        case alternatives([Node])
        case repetition(Node, ClosedRange<Int>, isGreedy: Bool)
        case start, end
        case boundary(Bool)
        case ahead(Node, Bool)
    }

    private struct Set: Sendable {
        var ranges: [ClosedRange<UInt32>] = []
        var isNegated = false

        func contains(_ character: UInt32) -> Bool { ranges.contains { $0.contains(character) } != isNegated }

        static let digit = Set(ranges: [48...57])
        static let word = Set(ranges: [48...57, 65...90, 95...95, 97...122])
        static let space = Set(ranges: [9...13, 32...32])
        static let any = Set(ranges: [10...10], isNegated: true)
        static let all = Set(isNegated: true)
    }

    private let root: Node

    /// - Throws: `invalidArgument` for what is no expression, `unsupported` for what this one does not know.
    package init(_ pattern: String) throws(QwenSFTError) {
        var parser = Parser(pattern: pattern, characters: pattern.unicodeScalars.map(\.value))
        root = try parser.parse()
    }

    /// Whether the whole text matches, as Python's re.fullmatch has it.
    /// - Throws: `unsupported` for an expression that takes very long.
    package func matches(_ text: String) throws(QwenSFTError) -> Bool {
        var matcher = Matcher(text: text.unicodeScalars.map(\.value))
        let count = matcher.text.count
        let result = matcher.match(root, 0) { _, at in at == count }
        guard matcher.steps < Matcher.limit else {
            throw QwenSFTError(.unsupported, "a regular expression takes too long to match '\(printable(text))'")
        }
        return result
    }

    private struct Matcher {
        let text: [UInt32]
        var steps = 0
        static let limit = 1_000_000

        typealias Next = (inout Matcher, Int) -> Bool

        /// Whether the node matches at `at` such that what follows does too.
        mutating func match(_ node: Node, _ at: Int, _ next: Next) -> Bool {
            steps += 1
            guard steps < Self.limit else { return false }
            switch node {
            case .one(let set): return at < text.count && set.contains(text[at]) && next(&self, at + 1)
            case .sequence(let nodes): return match(nodes[...], at, next)
            case .alternatives(let nodes):
                for node in nodes where match(node, at, next) { return true }
                return false
            case .repetition(let node, let range, let isGreedy):
                return `repeat`(node, range, isGreedy, 0, at, next)
            case .start: return at == 0 && next(&self, at)
            case .end:
                return (at == text.count || at == text.count - 1 && text[at] == 10) && next(&self, at)
            case .boundary(let wanted):
                let before = at > 0 && Set.word.contains(text[at - 1])
                let after = at < text.count && Set.word.contains(text[at])
                return (before != after) == wanted && next(&self, at)
            case .ahead(let node, let wanted):
                return match(node, at) { _, _ in true } == wanted && next(&self, at)
            }
        }

        private mutating func match(_ nodes: ArraySlice<Node>, _ at: Int, _ next: Next) -> Bool {
            guard let first = nodes.first else { return next(&self, at) }
            return match(first, at) { $0.match(nodes.dropFirst(), $1, next) }
        }

        private mutating func `repeat`(
            _ node: Node, _ range: ClosedRange<Int>, _ isGreedy: Bool, _ done: Int, _ at: Int, _ next: Next
        ) -> Bool {
            func again(_ matcher: inout Matcher) -> Bool {
                done < range.upperBound
                    && matcher.match(node, at) {
                        // What matches nothing once more would never end.
                        ($1 > at || done < range.lowerBound)
                            && $0.repeat(node, range, isGreedy, done + 1, $1, next)
                    }
            }
            guard done >= range.lowerBound else { return again(&self) }
            return isGreedy ? again(&self) || next(&self, at) : next(&self, at) || again(&self)
        }
    }

    private struct Parser {
        let pattern: String
        let characters: [UInt32]
        var at = 0
        var depth = 0

        mutating func parse() throws(QwenSFTError) -> Node {
            let node = try alternatives()
            guard at == characters.count else { throw error("an unbalanced ')'") }
            return node
        }

        private func error(_ what: String) -> QwenSFTError {
            QwenSFTError(.invalidArgument, "'\(printable(pattern))' is no regular expression: it has \(what)")
        }

        private func unsupported(_ what: String) -> QwenSFTError {
            QwenSFTError(.unsupported, "'\(printable(pattern))' has \(what), which is not supported")
        }

        private func isNext(_ character: Character) -> Bool {
            at < characters.count && characters[at] == character.unicodeScalars.first?.value
        }

        private mutating func take(_ character: Character) -> Bool {
            guard isNext(character) else { return false }
            at += 1
            return true
        }

        private mutating func alternatives() throws(QwenSFTError) -> Node {
            depth += 1
            guard depth < 50 else { throw unsupported("groups nested too deeply") }
            defer { depth -= 1 }
            var all = [try sequence()]
            while take("|") { all.append(try sequence()) }
            return all.count == 1 ? all[0] : .alternatives(all)
        }

        private mutating func sequence() throws(QwenSFTError) -> Node {
            var nodes: [Node] = []
            while at < characters.count, !isNext("|"), !isNext(")") { nodes.append(try repeated()) }
            return .sequence(nodes)
        }

        private mutating func repeated() throws(QwenSFTError) -> Node {
            let node = try atom()
            var range: ClosedRange<Int>?
            if take("*") {
                range = 0...Int.max
            } else if take("+") {
                range = 1...Int.max
            } else if take("?") {
                range = 0...1
            } else if isNext("{") {
                range = try bounds()
            }
            guard let range else { return node }
            if isNext("+") { throw unsupported("a possessive repetition") }
            let isGreedy = !take("?")
            if isNext("*") || isNext("+") || isNext("?") { throw error("a repetition of a repetition") }
            return .repetition(node, range, isGreedy: isGreedy)
        }

        /// {3}, {1,}, {,3} or {1,3}; nil, and nothing taken, for a brace that stands for itself.
        private mutating func bounds() throws(QwenSFTError) -> ClosedRange<Int>? {
            let start = at
            at += 1
            let low = number()
            var high = low
            let hasComma = take(",")
            if hasComma { high = number() }
            guard take("}"), low != nil || hasComma else {
                at = start
                return nil
            }
            guard (low ?? 0) <= high ?? .max else { throw error("a repetition whose least is above its most") }
            return (low ?? 0)...(high ?? .max)
        }

        private mutating func number() -> Int? {
            var value: Int?
            while at < characters.count, Set.digit.contains(characters[at]) {
                value = min((value ?? 0) * 10 + Int(characters[at]) - 48, 1 << 20)
                at += 1
            }
            return value
        }

        private mutating func atom() throws(QwenSFTError) -> Node {
            let character = characters[at]
            if isNext("*") || isNext("+") || isNext("?") { throw error("nothing to repeat") }
            if isNext("{"), try bounds() != nil { throw error("nothing to repeat") }
            at += 1
            switch Character(Unicode.Scalar(character) ?? " ") {
            case ".": return .one(.any)
            case "^": return .start
            case "$": return .end
            case "(": return try group()
            case "[": return .one(try set())
            case "\\": return try escape()
            default: return .one(Set(ranges: [character...character]))
            }
        }

        private mutating func group() throws(QwenSFTError) -> Node {
            var ahead: Bool?
            if take("?") {
                if take("=") {
                    ahead = true
                } else if take("!") {
                    ahead = false
                } else if take("P") {
                    guard take("<") else { throw unsupported("a reference to a group") }
                    while at < characters.count, !isNext(">") { at += 1 }
                    at += 1
                } else if !take(":") {
                    throw unsupported("flags or looking behind")
                }
            }
            let node = try alternatives()
            guard take(")") else { throw error("a '(' without its ')'") }
            return ahead.map { .ahead(node, $0) } ?? node
        }

        private mutating func escape() throws(QwenSFTError) -> Node {
            guard at < characters.count else { throw error("a '\\' at its end") }
            switch Character(Unicode.Scalar(characters[at]) ?? " ") {
            case "b", "B":
                at += 1
                return .boundary(characters[at - 1] == 98)
            case "A":
                at += 1
                return .start
            case "Z":
                at += 1
                // Not before a newline, as $ is.
                return .ahead(.one(.all), false)
            default: return .one(try escapedSet())
            }
        }

        /// What a '\' and a letter, or anything else, stand for.
        private mutating func escapedSet() throws(QwenSFTError) -> Set {
            let character = characters[at]
            at += 1
            func negated(_ set: Set) -> Set { Set(ranges: set.ranges, isNegated: true) }
            switch Character(Unicode.Scalar(character) ?? " ") {
            case "d": return .digit
            case "D": return negated(.digit)
            case "w": return .word
            case "W": return negated(.word)
            case "s": return .space
            case "S": return negated(.space)
            case "n": return Set(ranges: [10...10])
            case "t": return Set(ranges: [9...9])
            case "r": return Set(ranges: [13...13])
            default:
                if Set.word.contains(character) { throw unsupported("an escaped letter or digit") }
                return Set(ranges: [character...character])
            }
        }

        private mutating func set() throws(QwenSFTError) -> Set {
            var set = Set()
            set.isNegated = take("^")
            var isFirst = true
            while true {
                guard at < characters.count else { throw error("a '[' without its ']'") }
                if !isFirst, take("]") { return set }
                isFirst = false
                let member = try member()
                guard let low = member.ranges.first, member.ranges.count == 1, low.lowerBound == low.upperBound,
                    at + 1 < characters.count, isNext("-"), characters[at + 1] != 93
                else {
                    guard !member.isNegated else { throw unsupported("a negated class inside of a class") }
                    set.ranges += member.ranges
                    continue
                }
                at += 1
                guard let high = try self.member().ranges.first, low.lowerBound <= high.lowerBound else {
                    throw error("a range that ends before it begins")
                }
                set.ranges.append(low.lowerBound...high.lowerBound)
            }
        }

        private mutating func member() throws(QwenSFTError) -> Set {
            if take("\\") {
                guard at < characters.count else { throw error("a '\\' at its end") }
                return try escapedSet()
            }
            guard at < characters.count else { throw error("a '[' without its ']'") }
            at += 1
            return Set(ranges: [characters[at - 1]...characters[at - 1]])
        }
    }
}
