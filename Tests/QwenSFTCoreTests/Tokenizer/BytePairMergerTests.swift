import QwenSFTCore
import Testing

/// Byte pair encoding by definition: merge the pair of lowest rank, the leftmost of equals, until none is left.
private struct PlainMerger {
    var ranks: [[String]: Int] = [:]

    init(merges: String) {
        for line in merges.utf8.split(separator: UInt8(ascii: "\n")) {
            let sides = line.split(separator: UInt8(ascii: " ")).map { String($0) ?? "" }
            if sides.count == 2 { ranks[sides] = ranks.count }
        }
    }

    func encode(_ word: String) -> [String] {
        var symbols = word.utf8.map { ByteSpelling.of($0) }
        while true {
            var best: (rank: Int, place: Int)?
            for i in symbols.indices.dropLast() {
                if let rank = ranks[[symbols[i], symbols[i + 1]]], rank < best?.rank ?? Int.max { best = (rank, i) }
            }
            guard let best else { return symbols }
            symbols[best.place] += symbols[best.place + 1]
            symbols.remove(at: best.place + 1)
        }
    }
}

@Suite struct BytePairMergerTests {
    @Test func shortAndLongWordsMergeByDefinition() throws {
        let tokenizer = try TokenizerFixtures.qwen2.get()
        let plain = PlainMerger(merges: try TokenizerFixtures.text("qwen2-tokenizer/merges.txt"))
        var random = SystemRandomNumberGenerator()
        // Letters only, so that each text is one word; runs of few letters make many equal ranks.
        let alphabets = [
            "ab", "aeinorst", "etaoinshrdlu", "的是一不了人我在有他", "アイウエオカキクッー", "абвгдеёжзийо", "한국어가나다라마바사이", "aé你мạ한ー𠮷",
        ].map(Array.init)
        for round in 0..<400 {
            let alphabet = alphabets[round % alphabets.count]
            let count = round < 300 ? Int.random(in: 1...30, using: &random) : Int.random(in: 60...400, using: &random)
            let word = String((0..<count).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &random)] })
            let expected = try plain.encode(word).map { try #require(tokenizer.tokenID(of: $0)) }
            #expect(try tokenizer.encode(word) == expected, "\(word)")
            let expectedAfterSpace = try plain.encode(" " + word).map { try #require(tokenizer.tokenID(of: $0)) }
            #expect(try tokenizer.encode(" " + word) == expectedAfterSpace)
        }
    }

    /// With and without the vector units, by a tokenizer that has seen nothing.
    @Test func everyInstructionSetMergesAlike() throws {
        var random = SystemRandomNumberGenerator()
        let letters = Array("etaoinshrdlucabcабвгде的是一了不アイウ한국어क्मéạ")
        let text = (0..<20_000).map { _ in
            String(
                (0..<Int.random(in: 1...18, using: &random)).map { _ in letters.randomElement(using: &random) ?? "e" })
        }.joined(separator: " ")
        let expected = try Tokenizer(directory: TokenizerFixtures.qwen2Directory).encode(text)
        try onEveryInstructionSet { isa in
            let tokenizer = try Tokenizer(directory: TokenizerFixtures.qwen2Directory)
            #expect(try tokenizer.encode(text) == expected, "instruction set \(isa)")
        }
    }

    /// Words may start from characters instead of bytes (`CharacterTokens`); that must not be seen.
    @Test func startingFromCharactersChangesNothing() throws {
        let tokenizer = try TokenizerFixtures.qwen2.get()
        let definition = try Tokenizer(directory: TokenizerFixtures.qwen2Directory, fromBytes: true)
        // Every character of the basic plane between neighbors that merge across its boundaries.
        let neighbors = [" ", "ー", "に", "о", "א", "一", "ữ", "क", "수", "ş", "x"]
        var text = ""
        for value in UInt32(0x80)...0xFFFF {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let character = String(scalar)
            let before = neighbors[Int(value) % neighbors.count]
            let after = neighbors[Int(value / 7) % neighbors.count]
            text += before + character + character + after + " " + character + "\n"
        }
        #expect(try tokenizer.encode(text) == definition.encode(text))
        var random = SystemRandomNumberGenerator()
        let pools: [ClosedRange<UInt32>] = [
            0xC0...0x24F, 0x390...0x52F, 0x5D0...0x5EA, 0x620...0x64A, 0x904...0x939, 0xE01...0xE30, 0x3041...0x30FF,
            0x4E00...0x9FFF, 0xAC00...0xD7A3,
        ]
        for _ in 0..<20_000 {
            let pool = pools[Int.random(in: 0..<pools.count, using: &random)]
            var word = String.UnicodeScalarView()
            if Bool.random(using: &random) { word.append(" ") }
            for _ in 0..<Int.random(in: 1...12, using: &random) {
                if let scalar = Unicode.Scalar(UInt32.random(in: pool, using: &random)) { word.append(scalar) }
            }
            let text = String(word)
            if try tokenizer.encode(text) != definition.encode(text) { Issue.record("\(text)") }
        }
    }
}
