import QwenSFTCore
import Testing

@Suite struct StreamingDecoderTests {
    static let texts = [
        "Hello, world", "日本語のテキスト", "a😀b👩‍👩‍👧c", "é\u{301}ñ", "Ωμέγα", "\u{10FFFF}\u{800}\u{7FF}\u{FFFF}", "",
    ]

    /// One token per byte: every character that has several is split.
    @Test(arguments: texts) func bytesBecomeWholeCharacters(_ text: String) throws {
        let tokenizer = try qwen2Tokenizer()
        let ids = try byteTokens(Array(text.utf8), tokenizer)
        var decoder = StreamingDecoder(tokenizer)
        let pieces = ids.map { decoder.append($0) }
        #expect(pieces.allSatisfy { $0.unicodeScalars.count <= 1 && $0 != "\u{FFFD}" })
        #expect(pieces.joined() == text && decoder.finish() == "")
    }

    /// Broken bytes: pieces joined are what decoding all at once gives, and nothing waits longer than it must.
    @Test func brokenBytesBecomeTheSameAsAtOnce() throws {
        let tokenizer = try qwen2Tokenizer()
        var random = RandomSource(seed: 1)
        let interesting: [UInt8] = [
            0x41, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xE0, 0xE1, 0xED, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF,
        ]
        for _ in 0..<2000 {
            let bytes = (0..<1 + random.below(7)).map { _ in interesting[random.below(interesting.count)] }
            let ids = try byteTokens(bytes, tokenizer)
            var decoder = StreamingDecoder(tokenizer)
            let text = ids.map { decoder.append($0) }.joined() + decoder.finish()
            #expect(text == tokenizer.decode(ids), "\(bytes)")
        }
    }

    @Test func specialTokensAreLeftOutOnRequest() throws {
        let tokenizer = try qwen2Tokenizer()
        let ids = try tokenizer.encode("a<|im_end|>b")
        var all = StreamingDecoder(tokenizer)
        var plain = StreamingDecoder(tokenizer, skipSpecialTokens: true)
        #expect(ids.map { all.append($0) }.joined() == "a<|im_end|>b")
        #expect(ids.map { plain.append($0) }.joined() == "ab")
    }
}

/// Tokens of one byte each.
func byteTokens(_ bytes: [UInt8], _ tokenizer: Tokenizer) throws -> [Int32] {
    var ids: [UInt8: Int32] = [:]
    for id in 0..<Int32(256) {
        let text = tokenizer.decodeBytes([id], skipSpecialTokens: false)
        if text.count == 1 { ids[text[0]] = id }
    }
    return try bytes.map { try #require(ids[$0]) }
}
