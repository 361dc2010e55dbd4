import QwenSFTCore
import Testing

@Suite struct NormalizerTests {
    private func normalized(_ text: String) -> [Unicode.Scalar] {
        var output: [UInt8] = []
        Array(text.utf8).withUnsafeBufferPointer { try! Normalizer.append($0, to: &output) }
        return Array(String(decoding: output, as: UTF8.self).unicodeScalars)
    }

    private func text(_ field: Substring) -> String {
        var text = String.UnicodeScalarView()
        for code in field.split(separator: " ") {
            if let value = UInt32(code, radix: 16).flatMap(Unicode.Scalar.init) { text.append(value) }
        }
        return String(text)
    }

    @Test func casesOfTheUnicodeStandard() throws {
        var sources = ""
        var results = ""
        var count = 0
        for line in try TokenizerFixtures.text("nfc.txt").split(separator: "\n") where line.first != "#" {
            let fields = line.split(separator: ";")
            let source = text(fields[0])
            let result = text(fields[1])
            #expect(normalized(source) == Array(result.unicodeScalars), "\(line)")
            #expect(normalized(result) == Array(result.unicodeScalars), "\(line)")
            // In a text: what surrounds a case must not change it, nor be changed.
            sources += "a" + source + "\n"
            results += "a" + result + "\n"
            count += 1
        }
        #expect(count > 5000)
        var whole: [UInt8] = []
        Array(sources.utf8).withUnsafeBufferPointer { try! Normalizer.append($0, to: &whole) }
        var again: [UInt8] = []
        Array(results.utf8).withUnsafeBufferPointer { try! Normalizer.append($0, to: &again) }
        #expect(whole == again)
    }

    @Test func everyHangulSyllable() {
        for syllable in UInt32(0xAC00)..<0xD7A4 {
            let index = syllable - 0xAC00
            var parts = [0x1100 + index / 588, 0x1161 + index % 588 / 28]
            if index % 28 > 0 { parts.append(0x11A7 + index % 28) }
            var text = String.UnicodeScalarView()
            for part in parts { if let scalar = Unicode.Scalar(part) { text.append(scalar) } }
            #expect(normalized(String(text)).map(\.value) == [syllable])
        }
    }

    @Test func settledTextIsLeftWhereItLies() {
        for text in ["", "plain ASCII, quite a lot of it\n", "naïve 你好 한국어 Привет 🦙", "\u{10FFFF}"] {
            #expect(Array(text.utf8).withUnsafeBufferPointer { Normalizer.firstUnsettled($0) } == nil)
        }
        // The letter before the accent is where normalizing begins.
        #expect(Array("hello e\u{301}".utf8).withUnsafeBufferPointer { Normalizer.firstUnsettled($0) } == 6)
        #expect(Array("\u{301}".utf8).withUnsafeBufferPointer { Normalizer.firstUnsettled($0) } == 0)
    }
}
