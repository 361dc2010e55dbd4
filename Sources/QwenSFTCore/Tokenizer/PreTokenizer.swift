import CText

/// Cuts text into the words that are merged one by one, as Qwen2's split pattern does:
///
///     (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N} |  ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
///
/// The alternatives are tried in this order at each place; together they take any character, so words cover the text.
/// Written by hand because the first character and at most one more decide which alternative it is: no search, no
/// backtracking, and no run is looked at twice.
package enum PreTokenizer {
    /// The pattern as tokenizer.json spells it; another one is refused on loading.
    package static let pattern =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    /// The end of the word that begins at `start`, which must be before `end`.
    @inline(__always)
    package static func endOfWord(_ start: UTF8Pointer, _ end: UTF8Pointer) -> UTF8Pointer {
        let first = Character(at: start)
        let next = start + first.length
        switch first.kind {
        case letter:
            return endOfLetters(next, end)
        case number:
            return next
        case space:
            if next < end {
                let following = Character(at: next).kind
                // Any white space but a newline may lead a word; only U+0020 may lead punctuation.
                if following == letter, !isNewline(start[0]) { return endOfLetters(next, end) }
                if following == other, start[0] == UInt8(ascii: " ") { return endOfPunctuation(next, end) }
            }
            return endOfSpaces(start, end)
        default:
            if start[0] == UInt8(ascii: "'"), let contraction = endOfContraction(next, end) { return contraction }
            if next < end, Character(at: next).kind == letter { return endOfLetters(next, end) }
            return endOfPunctuation(next, end)
        }
    }

    // MARK: Characters

    private static var letter: UInt8 { UInt8(QK_UNICODE_LETTER) }
    private static var number: UInt8 { UInt8(QK_UNICODE_NUMBER) }
    private static var space: UInt8 { UInt8(QK_UNICODE_SPACE) }
    private static var other: UInt8 { UInt8(QK_UNICODE_OTHER) }

    private struct Character {
        let kind: UInt8
        let length: Int

        @inline(__always)
        init(at p: UTF8Pointer) {
            if p[0] < 0x80 {
                kind = qk_ascii_flags(p[0]) & UInt8(QK_UNICODE_CLASS)
                length = 1
            } else {
                let scalar = DecodedScalar(at: p)
                kind = qk_unicode_flags(scalar.value) & UInt8(QK_UNICODE_CLASS)
                length = scalar.length
            }
        }
    }

    @inline(__always)
    private static func isNewline(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") }

    // MARK: Runs

    /// `\p{L}*`
    @inline(__always)
    private static func endOfLetters(_ start: UTF8Pointer, _ end: UTF8Pointer) -> UTF8Pointer {
        var p = start
        while p < end {
            if p[0] < 0x80, end - p >= 8 {
                let letters = asciiLetters(p)
                p += letters
                if letters == 8 { continue }
                // Not an ASCII letter: the end, or a letter of another script.
                if p[0] < 0x80 { break }
            }
            let character = Character(at: p)
            if character.kind != letter { break }
            p += character.length
        }
        return p
    }

    /// How many of the eight bytes at `p` are ASCII letters, up to the first that is none: all eight looked at in one register,
    /// because the length of a word is what a processor cannot predict.
    @inline(__always)
    private static func asciiLetters(_ p: UTF8Pointer) -> Int {
        let bytes = UInt64(littleEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt64.self))
        let ones: UInt64 = 0x0101_0101_0101_0101
        // Upper case folded to lower, the highest bit of each byte free to carry.
        let folded = (bytes | ones &* 0x20) & (ones &* 0x7F)
        let fromA = folded &+ ones &* (0x80 - 0x61)
        let pastZ = folded &+ ones &* (0x80 - 0x7B)
        let others = ~(fromA & ~pastZ & ~bytes) & (ones &* 0x80)
        return others.trailingZeroBitCount >> 3
    }

    /// `[^\s\p{L}\p{N}]*[\r\n]*`
    private static func endOfPunctuation(_ start: UTF8Pointer, _ end: UTF8Pointer) -> UTF8Pointer {
        var p = start
        while p < end {
            let character = Character(at: p)
            if character.kind != other { break }
            p += character.length
        }
        while p < end, isNewline(p[0]) { p += 1 }
        return p
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+` at white space: through the last newline of the run; without one the whole run at the end
    /// of the text, otherwise all but its last character (which may lead the next word), but at least one.
    private static func endOfSpaces(_ start: UTF8Pointer, _ end: UTF8Pointer) -> UTF8Pointer {
        var p = start
        var last = start
        var afterNewline: UTF8Pointer?
        while p < end {
            let character = Character(at: p)
            if character.kind != space { break }
            last = p
            p += character.length
            if isNewline(last[0]) { afterNewline = p }
        }
        if let afterNewline { return afterNewline }
        return p == end || last == start ? p : last
    }

    /// `(?i:s|t|re|ve|m|ll|d)` after an apostrophe. Case-insensitive `s` is also U+017F, the long s.
    private static func endOfContraction(_ p: UTF8Pointer, _ end: UTF8Pointer) -> UTF8Pointer? {
        guard p < end else { return nil }
        let second = p + 1 < end ? p[1] | 0x20 : 0
        switch p[0] | 0x20 {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return p + 1
        case UInt8(ascii: "r") where second == UInt8(ascii: "e"): return p + 2
        case UInt8(ascii: "v") where second == UInt8(ascii: "e"): return p + 2
        case UInt8(ascii: "l") where second == UInt8(ascii: "l"): return p + 2
        default: return p[0] == 0xC5 && p + 1 < end && p[1] == 0xBF ? p + 2 : nil
        }
    }
}
