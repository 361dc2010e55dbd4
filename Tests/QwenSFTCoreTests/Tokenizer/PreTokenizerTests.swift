import QwenSFTCore
import Testing

/// The split pattern by definition: its alternatives tried one after the other, greedy, backtracking, on arrays of scalars.
private struct PlainSplitter {
    typealias Scalars = ArraySlice<Unicode.Scalar>

    static func isLetter(_ c: Unicode.Scalar) -> Bool {
        switch c.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }
    static func isNumber(_ c: Unicode.Scalar) -> Bool {
        switch c.properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: true
        default: false
        }
    }
    static func isSpace(_ c: Unicode.Scalar) -> Bool { c.properties.isWhitespace }
    static func isNewline(_ c: Unicode.Scalar) -> Bool { c == "\r" || c == "\n" }
    static func isOther(_ c: Unicode.Scalar) -> Bool { !isLetter(c) && !isNumber(c) && !isSpace(c) }

    static func run(_ s: Scalars, _ from: Int, _ test: (Unicode.Scalar) -> Bool) -> Int {
        var i = from
        while i < s.endIndex, test(s[i]) { i += 1 }
        return i
    }

    /// The end of the first word.
    static func endOfWord(_ s: Scalars) -> Int {
        let start = s.startIndex
        let end = s.endIndex
        // (?i:'s|'t|'re|'ve|'m|'ll|'d)
        for suffix in ["s", "t", "re", "ve", "m", "ll", "d", "\u{17F}"] where s[start] == "'" {
            let letters = Array(suffix.unicodeScalars)
            if end - start > letters.count,
                zip(letters, s[(start + 1)...]).allSatisfy({
                    $0 == $1 || $0.properties.uppercaseMapping == String($1) && $1.isASCII
                })
            {
                return start + 1 + letters.count
            }
        }
        // [^\r\n\p{L}\p{N}]?\p{L}+
        for lead in [1, 0] {
            if lead == 1, isNewline(s[start]) || isLetter(s[start]) || isNumber(s[start]) { continue }
            let stop = run(s, start + lead, isLetter)
            if stop > start + lead { return stop }
        }
        // \p{N}
        if isNumber(s[start]) { return start + 1 }
        //  ?[^\s\p{L}\p{N}]+[\r\n]*
        for lead in [1, 0] {
            if lead == 1, s[start] != " " { continue }
            let stop = run(s, start + lead, isOther)
            if stop > start + lead { return run(s, stop, isNewline) }
        }
        // \s*[\r\n]+
        let spaces = run(s, start, isSpace)
        for i in stride(from: spaces, through: start, by: -1) {
            let stop = run(s, i, isNewline)
            if stop > i { return stop }
        }
        // \s+(?!\S)
        for i in stride(from: spaces, to: start, by: -1) where i == end || isSpace(s[i]) { return i }
        // \s+
        return max(spaces, start + 1)
    }

    static func split(_ text: String) -> [String] {
        let scalars = Array(text.unicodeScalars)
        var words: [String] = []
        var start = 0
        while start < scalars.count {
            let stop = endOfWord(scalars[start...])
            var word = String.UnicodeScalarView()
            word.append(contentsOf: scalars[start..<stop])
            words.append(String(word))
            start = stop
        }
        return words
    }
}

@Suite struct PreTokenizerTests {
    private func split(_ text: String) -> [String] {
        Array(text.utf8).withUnsafeBufferPointer { bytes in
            var words: [String] = []
            guard var p = bytes.baseAddress else { return [] }
            let end = p + bytes.count
            while p < end {
                let stop = PreTokenizer.endOfWord(p, end)
                words.append(String(decoding: UnsafeBufferPointer(start: p, count: stop - p), as: UTF8.self))
                p = stop
            }
            return words
        }
    }

    @Test(arguments: [
        ("it's IT'S I'\u{17F}", ["it", "'s", " IT", "'S", " I", "'\u{17F}"]),
        ("'sing 'tis x'rex 'r", ["'s", "ing", " '", "tis", " x", "'re", "x", " '", "r"]),
        ("a   b", ["a", "  ", " b"]),
        ("a\u{3000}\u{3000}b", ["a", "\u{3000}", "\u{3000}b"]),
        ("a  1", ["a", " ", " ", "1"]),
        ("a  !", ["a", " ", " !"]),
        ("a\t!", ["a", "\t", "!"]),
        ("a\u{85}b", ["a", "\u{85}b"]),
        ("a\u{200B}b", ["a", "\u{200B}b"]),
        (" \n \n  x", [" \n \n", " ", " x"]),
        ("\r\nx\ny", ["\r\n", "x", "\n", "y"]),
        ("!?\n\n x", ["!?\n\n", " x"]),
        ("x²Ⅷ12", ["x", "²", "Ⅷ", "1", "2"]),
        ("e\u{301}x", ["e", "\u{301}x"]),
        ("end  ", ["end", "  "]),
        ("", []),
    ])
    func traps(_ text: String, _ words: [String]) {
        let found = split(text)
        #expect(found.map { Array($0.utf8) } == words.map { Array($0.utf8) }, "\(found)")
        #expect(PlainSplitter.split(text).map { Array($0.utf8) } == words.map { Array($0.utf8) })
    }

    @Test func everyShortStringOfDifficultCharacters() {
        let characters: [Unicode.Scalar] = [
            "a", "S", "\u{17F}", "l", "e", "r", "1", "²", " ", "\t", "\u{3000}", "\u{85}", "\n", "\r", "!", "'",
            "\u{301}", "\u{200B}", "你", "🦙",
        ]
        var random = SystemRandomNumberGenerator()
        var count = 0
        func check(_ scalars: [Unicode.Scalar]) {
            var text = String.UnicodeScalarView()
            text.append(contentsOf: scalars)
            let expected = PlainSplitter.split(String(text)).map { Array($0.utf8) }
            let found = split(String(text)).map { Array($0.utf8) }
            if found != expected { Issue.record("\(String(text).debugDescription): \(found)") }
            count += 1
        }
        for a in characters { for b in characters { for c in characters { check([a, b, c]) } } }
        for _ in 0..<20_000 {
            check(
                (0..<Int.random(in: 4...12, using: &random)).map { _ in
                    characters[Int.random(in: 0..<characters.count, using: &random)]
                })
        }
        #expect(count == 28_000)
    }
}
