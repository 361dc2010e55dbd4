import CText
import QwenSFTCore
import Testing

/// The passes over text in vector units (text.h, merge.h) against their plain definitions. Without such units they stop at once,
/// and the definitions do the work.
@Suite struct TextKernelTests {
    /// Pieces that words are cut at and joined by, of each length in bytes.
    private static let pieces: [String] = [
        "a", "B", "word", "é", "×", "÷", "ÿ", "ß", "ж", "щи", "中", "你好", "一", "䷀", "㐀", "の", "カ", "ー", "한", "글", "ก",
        "ำ", "क", "्", "़",
        "ب", "َ", "א", "ָ", "𠮷", "𝒳", "🦙", "\u{10FFFF}", "1", "23", "٣", "Ⅷ", "²", "𝟗", " ", "  ", "\t", "\u{A0}",
        "\u{85}", "\u{2003}",
        "\u{3000}", "\u{2028}", "\u{200B}", "\n", "\r\n", "\r", "\n\n", " \n", ".", ",", "'", "'s", "'S", "'ſ", "'re",
        "'VE", "'ll", "'lx", "'d",
        "’", "“", "—", "…", "。", "，", "()", "#$%", "_", "<|im_end|>", "\u{301}", "\u{0}", "\u{7F}", "\u{FFFD}",
    ]

    private static func randomText(_ random: inout SystemRandomNumberGenerator) -> String {
        // Few different pieces make long runs, many make short ones.
        let pool = (0..<Int.random(in: 1...9, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }
        let count = Int.random(in: 1...90, using: &random)
        return (0..<count).map { _ in pool.randomElement(using: &random) ?? "" }.joined()
    }

    @Test func wordStartsAreThoseOfTheDefinition() {
        var random = SystemRandomNumberGenerator()
        var found = 0
        for _ in 0..<60_000 {
            let text = Self.randomText(&random)
            Array(text.utf8).withUnsafeBufferPointer { bytes in
                guard let base = bytes.baseAddress else { return }
                let end = base + bytes.count
                var word = base
                while word < end {
                    let starts = qk_word_starts(word, end - word)
                    // From the block's beginning word by word, as far as the block says.
                    var expected: UInt64 = 0
                    var next = PreTokenizer.endOfWord(word, end)
                    while next < end, next - word < 64 {
                        expected |= 1 << UInt64(next - word)
                        next = PreTokenizer.endOfWord(next, end)
                    }
                    let last = 63 - starts.leadingZeroBitCount
                    let known = end - word <= 64 ? expected : starts == 0 ? 0 : expected & ((2 << UInt64(last)) &- 1)
                    #expect(starts == known, "\(text.debugDescription) at \(word - base)")
                    if starts != known { return }
                    found += starts.nonzeroBitCount
                    word = PreTokenizer.endOfWord(word, end)
                }
            }
        }
        #expect(found > 1_000_000)
    }

    @Test func wordStartsOfOrdinaryTextReachNearlyToTheEndOfABlock() {
        let text = Array(
            "The quick brown fox doesn't jump over the lazy dog; it sleeps, and so it goes on and on.\n".utf8)
        let starts = text.withUnsafeBufferPointer { bytes in
            bytes.baseAddress.map { qk_word_starts($0, bytes.count) } ?? 0
        }
        #expect(starts.leadingZeroBitCount < 8)
    }

    @Test func wellFormedUTF8IsWhatTheDefinitionSays() {
        func firstInvalid(_ bytes: UnsafeRawBufferPointer) -> Int? {
            var p = 0
            while p < bytes.count {
                let length = utf8SequenceLength(bytes, at: p)
                if length == 0 { return p }
                p += length
            }
            return nil
        }
        var random = SystemRandomNumberGenerator()
        let odd: [UInt8] = [
            0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3,
            0xF4, 0xF5, 0xFF,
        ]
        for round in 0..<60_000 {
            var bytes = Array(Self.randomText(&random).utf8)
            // Broken in one place: a byte changed, or one removed (at the end: a character cut off), or nothing.
            let place = Int.random(in: 0..<bytes.count, using: &random)
            switch round % 4 {
            case 0: bytes[place] = odd.randomElement(using: &random) ?? 0
            case 1: bytes.remove(at: place)
            case 2: bytes.removeLast()
            default: break
            }
            bytes.withUnsafeBytes { bytes in
                #expect(firstInvalidUTF8(in: bytes) == firstInvalid(bytes), "\(Array(bytes))")
            }
        }
        // Each sequence of two bytes, and of four with a few seconds, across the boundary of two blocks.
        for first in UInt8(0x80)...0xFF {
            for second in UInt8.min...UInt8.max {
                for (offset, tail) in [(0, [UInt8]()), (62, [0x80, 0x80]), (63, [0xBF]), (61, [0x80, 0x80, 0x41])] {
                    let bytes = [UInt8](repeating: 0x41, count: offset) + [first, second] + tail
                    let same = bytes.withUnsafeBytes { firstInvalidUTF8(in: $0) == firstInvalid($0) }
                    if !same { Issue.record("\(first) \(second) at \(offset) before \(tail)") }
                }
            }
        }
    }

    @Test func settledIsOnlyWhatTheTablesCallSettled() {
        for value in UInt32(0)..<0x110000 {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let isSettled = qk_unicode_flags(value) & UInt8(QK_UNICODE_UNSETTLED) == 0
            let text = Array((String(repeating: "x", count: Int(value % 70)) + String(scalar)).utf8)
            let settled = text.withUnsafeBufferPointer { qk_settled_prefix($0.baseAddress, $0.count) }
            // The pass may stop at a settled character, not go past another one.
            if settled == text.count, !isSettled { Issue.record("U+\(String(value, radix: 16))") }
            if settled != text.count, settled != Int(value % 70) {
                Issue.record("U+\(String(value, radix: 16)) stops at \(settled)")
            }
        }
    }

    @Test func processorsWithoutTheseUnitsGiveTheSameIDs() throws {
        let tokenizer = try TokenizerFixtures.qwen2.get()
        var random = SystemRandomNumberGenerator()
        for _ in 0..<4 {
            let text = (0..<500).map { _ in Self.randomText(&random) }.joined()
            let ids = try tokenizer.encode(text)
            for set in [InstructionSet.plain, .avx2, .avx512] {
                // A new one, so that no word comes from the cache.
                let plain = try withInstructionSet(set) { () throws in
                    try Tokenizer(directory: TokenizerFixtures.qwen2Directory).encode(text)
                }
                #expect(plain == ids)
            }
        }
    }
}
