import QwenSFTCore
import Testing

@Suite struct JSONTests {
    private func parse(_ bytes: [UInt8]) throws -> JSONValue {
        try bytes.withUnsafeBytes { try JSONValue(parsing: $0, file: "a.json") }
    }

    private func parse(_ text: String) throws -> JSONValue { try parse(Array(text.utf8)) }

    private func roundTrip(_ text: String) throws -> String {
        String(decoding: try parse(text).serialized(), as: UTF8.self)
    }

    @Test func documentsComeBackAsTheyWere() throws {
        for text in [
            "null", "true", "false", "0", "-0", "-1.5e+10", "1e-06", "12345678901234567890", "\"\"", "[]", "{}",
            "[[],{}]",
            #"{"b":1,"a":[1,2,{"c":null}],"":"x"}"#, #""\"\\\n\r\t\u0000\u001f""#, "\"é中😀\u{2028}\"",
        ] {
            #expect(try roundTrip(text) == text)
        }
        #expect(try roundTrip(" [ 1 ,\t\r\n2 ] ") == "[1,2]")
    }

    @Test func indentedLikeTransformers() throws {
        let text = """
            {
              "a": [
                1,
                {}
              ],
              "b": []
            }

            """
        #expect(String(decoding: try parse(text).serialized(indented: true), as: UTF8.self) == text)
    }

    @Test func escapes() throws {
        #expect(
            try parse(#""a\"\\\/\b\f\n\r\t\u0041\u00e9\u4E2d\ud83D\uDE00\u0000z""#).string.map { Array($0.utf8) }
                == Array("a\"\\/\u{8}\u{C}\n\r\tAé中😀\u{0}z".utf8))
        // Longer than the scratch buffer's first size.
        let long = String(repeating: "0123456789", count: 100)
        #expect(
            try parse("[\"\(long)\\n\(long)\", \"\\t\"]").serialized() == Array("[\"\(long)\\n\(long)\",\"\\t\"]".utf8))
    }

    @Test(arguments: [
        ("", "1:1: the document ends where a value was expected"),
        ("  ", "1:3: the document ends where a value was expected"),
        ("nul", "1:1: expected null, found 'n'"),
        ("NaN", "1:1: expected a value, found 'N'"),
        ("-Infinity", "1:2: expected a digit, found 'I'"),
        ("01", "1:1: a number must not begin with 0"),
        ("+1", "1:1: expected a value, found '+'"),
        (".5", "1:1: expected a value, found '.'"),
        ("1.", "1:3: the document ends where a digit was expected"),
        ("1.e5", "1:3: expected a digit, found 'e'"),
        ("1e", "1:3: the document ends where a digit was expected"),
        ("[1,]", "1:4: a comma must not stand before the end of an array"),
        ("[,1]", "1:2: expected a value, found ','"),
        ("[1 2]", "1:4: expected ',' or the end of an array, found '2'"),
        ("[1,,2]", "1:4: expected a value, found ','"),
        ("[1}", "1:3: expected ',' or the end of an array, found '}'"),
        ("[1", "1:3: the document ends where ',' or the end of an array was expected"),
        ("{\"a\":1,}", "1:8: a comma must not stand before the end of an object"),
        ("{\"a\" 1}", "1:6: expected ':' after an object key, found '1'"),
        ("{\"a\":}", "1:6: expected a value, found '}'"),
        ("{a:1}", "1:2: expected an object key, found 'a'"),
        ("{\"a\":1", "1:7: the document ends where ',' or the end of an object was expected"),
        ("{\n \"a\": 1,\n \"a\": 2}", "3:2: the key 'a' occurs twice in an object"),
        (#"{"a": 1, "\u0061": 2}"#, "1:10: the key 'a' occurs twice in an object"),
        ("[1] // x", "1:5: expected the end of the document, found '/'"),
        ("/* x */ 1", "1:1: expected a value, found '/'"),
        ("1 1", "1:3: expected the end of the document, found '1'"),
        ("'a'", "1:1: expected a value, found '''"),
        ("\u{FEFF}1", "1:1: expected a value, found byte 0xef"),
        ("\u{A0}1", "1:1: expected a value, found byte 0xc2"),
        ("[\"a\nb\"]", "1:4: a control character in a string must be escaped"),
        ("\"a", "1:3: the document ends inside a string"),
        ("\"a\\", "1:3: unknown escape in a string"),
        (#""\x41""#, "1:2: unknown escape in a string"),
        (#""\u12G4""#, #"1:2: \u needs four hexadecimal digits"#),
        (#""\u12"#, "1:6: the document ends inside a string"),
        (#""\ud800""#, "1:2: a lone surrogate is not a character"),
        (#""\ude00\ud83d""#, "1:2: a lone surrogate is not a character"),
        (#""\ud83dx""#, "1:2: a lone surrogate is not a character"),
        (#""\ud83d\u0041""#, "1:2: a lone surrogate is not a character"),
        (String(repeating: "[", count: 65), "1:65: nested deeper than 64 levels"),
    ])
    func refused(text: String, message: String) {
        expectError(.invalidFile, "a.json:" + message) { try parse(text) }
    }

    @Test(
        arguments: [
            [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xE4, 0xB8],
            [0xF0, 0x80, 0x80, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF],
        ] as [[UInt8]])
    func badUTF8(bytes: [UInt8]) {
        expectError(.invalidFile, "a.json:2:3: invalid UTF-8") {
            try parse(Array("\n\"x".utf8) + bytes + Array("\"".utf8))
        }
        // skipValue looks as closely.
        expectError(.invalidFile, "a.json:1:2: invalid UTF-8") {
            try (Array("\"".utf8) + bytes + Array("\"".utf8)).withUnsafeBytes { input in
                var reader = JSONReader(input, file: "a.json")
                try reader.skipValue()
            }
        }
    }

    @Test func everyScalarIsValid() throws {
        let all = String(String.UnicodeScalarView((0...0x10FFFF).compactMap(Unicode.Scalar.init)))
        let bytes = Array(all.utf8)
        #expect(bytes.withUnsafeBytes { firstInvalidUTF8(in: $0) } == nil)
        #expect((bytes + [0x80]).withUnsafeBytes { firstInvalidUTF8(in: $0) } == bytes.count)
        let value = JSONValue.string(all)
        let isEqual = try parse(value.serialized()).string.map { Array($0.utf8) == bytes }
        #expect(isEqual == true)
    }

    /// Whatever the bytes: an error or a document that survives writing, never a trap.
    @Test func mutatedDocuments() throws {
        let text = #"{"a": [1, -2.5e+3, true, null, "x\u00e9\ud83d\ude00\n é中😀"], "b": {"c": {}}, "d": []}"#
        let original = Array(text.utf8)
        let interesting = Array("{}[]\",:\\0-eun \n\u{0}\u{E9}".utf8) + [0x80, 0xC0, 0xE0, 0xED, 0xF0, 0xFF]
        var generator = SplitMix64(state: 1)
        for _ in 0..<20_000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes.remove(at: place)
                case 1: bytes.removeSubrange(place...)
                case 2: bytes.insert(interesting.randomElement(using: &generator) ?? 0, at: place)
                default: bytes[place] = interesting.randomElement(using: &generator) ?? 0
                }
                if bytes.isEmpty { break }
            }
            guard let value = try? parse(bytes) else { continue }
            let written = value.serialized()
            #expect(try parse(written).serialized() == written)
        }
    }

    @Test func canonicallyEquivalentKeysAreDifferent() throws {
        guard case .object(var object) = try parse("{\"\u{E9}\": 1, \"e\u{301}\": 2}") else {
            throw QwenSFTError(.invalidFile, "")
        }
        #expect(object.members.count == 2)
        #expect(object["e\u{301}"]?.integer == 2)
        object["\u{E9}"] = nil
        #expect(object["\u{E9}"] == nil)
        #expect(object["e\u{301}"]?.integer == 2)
    }

    @Test func pullReader() throws {
        let text =
            #"{"skip": [1, {"a": "b\n"}, null, true], "k\n": "plain", "n": [-12, 2.5, 9223372036854775807], "b": false}"#
        try Array(text.utf8).withUnsafeBytes { input in
            var reader = JSONReader(input, file: "a.json")
            var seen: [String] = []
            try reader.beginObject()
            while let key = try reader.nextKey() {
                seen.append(String(decoding: key, as: UTF8.self))
                switch seen.last {
                case "skip": try reader.skipValue()
                case "k\n": seen.append(String(decoding: try reader.string(), as: UTF8.self))
                case "n":
                    try reader.beginArray()
                    #expect(try reader.nextElement())
                    #expect(try reader.integer() == -12)
                    #expect(try reader.nextElement())
                    #expect(try reader.number() == 2.5)
                    #expect(try reader.nextElement())
                    #expect(try reader.integer() == Int.max)
                    #expect(try !reader.nextElement())
                default: #expect(try !reader.bool())
                }
            }
            try reader.end()
            #expect(seen == ["skip", "k\n", "plain", "n", "b"])
        }
        for text in ["2.0", "1e2", "9223372036854775808", "-9223372036854775809"] {
            expectError(.invalidFile, "a.json:1:2: expected an integer of 64 bits") {
                try Array((" " + text).utf8).withUnsafeBytes { input in
                    var reader = JSONReader(input, file: "a.json")
                    _ = try reader.integer()
                }
            }
        }
        expectError(.invalidFile, "rows.jsonl:17:1: the number is too large") {
            try Array("1e999".utf8).withUnsafeBytes { input in
                var reader = JSONReader(input, file: "rows.jsonl", firstLine: 17)
                _ = try reader.number()
            }
        }
    }

    @Test func fields() throws {
        let text =
            #"{"n": 3, "zero": 0, "half": 0.5, "big": 2147483648, "none": null, "s": "x", "o": {"p": {"k": []}}}"#
        let fields = try JSONFields(try parse(text), file: "config.json")
        #expect(try fields.size("n") == 3)
        #expect(try fields.optionalSize("none") == nil)
        #expect(try fields.number("half") == 0.5)
        #expect(try fields.string("s") == "x")
        #expect(try fields.bool("absent") == nil)
        expectError(.invalidFile, "config.json: 'absent' is missing") { try fields.size("absent") }
        expectError(.invalidFile, "config.json: 'none' is missing") { try fields.size("none") }
        expectError(.invalidFile, "config.json: 'zero' must be a positive integer") { try fields.size("zero") }
        expectError(.invalidFile, "config.json: 'half' must be a positive integer") { try fields.size("half") }
        expectError(.invalidFile, "config.json: 'big' must not be larger than 2147483647") { try fields.size("big") }
        expectError(.invalidFile, "config.json: 's' must be a number") { try fields.number("s") }
        expectError(.invalidFile, "config.json: 'zero' must be a positive number") { try fields.positiveNumber("zero") }
        expectError(.invalidFile, "config.json: 'n' must be a string") { try fields.string("n") }
        expectError(.invalidFile, "config.json: 'n' must be true or false") { try fields.bool("n") }
        expectError(.invalidFile, "config.json: 'n' must be an object") { try fields.object("n") }
        expectError(.invalidFile, "config.json: 'o.p.k' must be a number") {
            try fields.object("o")?.object("p")?.number("k")
        }
        expectError(.invalidFile, "config.json: the document must be an object") {
            try JSONFields(.array([]), file: "config.json")
        }
    }
}

/// A seeded generator, so that a failure comes back.
private struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
