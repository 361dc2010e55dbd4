import Foundation
import QwenSFTCore
import Testing

/// The container: what is read, and what is refused.
@Suite struct GGUFTests {
    let directory: TestDirectory
    init() throws { directory = try TestDirectory() }

    /// Puts a file together piece by piece.
    struct Builder {
        var bytes: [UInt8] = []

        static func number(_ value: some FixedWidthInteger) -> Builder {
            Builder(bytes: withUnsafeBytes(of: value.littleEndian) { Array($0) })
        }
        static func text(_ text: String) -> Builder {
            number(UInt64(text.utf8.count)) + Builder(bytes: Array(text.utf8))
        }
        static func + (a: Builder, b: Builder) -> Builder { Builder(bytes: a.bytes + b.bytes) }

        static func head(version: UInt32 = 3, tensors: UInt64 = 0, keys: UInt64 = 0) -> Builder {
            number(UInt32(0x4655_4747)) + number(version) + number(tensors) + number(keys)
        }
        static func key(_ name: String, _ type: UInt32, _ value: Builder) -> Builder {
            text(name) + number(type) + value
        }
        static func tensor(_ name: String, _ shape: [UInt64], type: UInt32 = 0, at offset: UInt64 = 0) -> Builder {
            shape.reversed().reduce(text(name) + number(UInt32(shape.count))) { $0 + number($1) } + number(type)
                + number(offset)
        }
        /// The data behind what is there, at the next multiple of the alignment.
        func data(_ count: Int, alignment: Int = 32) -> Builder {
            let padding = (alignment - bytes.count % alignment) % alignment
            return Builder(bytes: bytes + Array(repeating: 0, count: padding) + (0..<count).map { UInt8($0 & 0xFF) })
        }
    }

    private func open(_ builder: Builder) throws -> GGUFFile { try GGUFFile(directory.write("x.gguf", builder.bytes)) }

    @Test func opensAndReads() throws {
        let file = try open(
            (.head(tensors: 2, keys: 5) + .key("a", 4, .number(UInt32(7))) + .key("b", 7, .number(UInt8(1)))
                + .key("ä", 8, .text("tëxt"))
                + .key("list", 9, .number(UInt32(8)) + .number(UInt64(2)) + .text("one") + .text(""))
                + .key("numbers", 9, .number(UInt32(5)) + .number(UInt64(2)) + .number(Int32(-1)) + .number(Int32(9)))
                + .tensor("m", [2, 3]) + .tensor("h", [1], type: 1, at: 32)).data(34))
        #expect(file.value("a")?.integer == 7)
        #expect(file.value("b")?.bool == true)
        #expect(try file.string("ä") == "tëxt")
        let list = try #require(try file.strings("list"))
        #expect((0..<list.count).map { String(decoding: list[$0], as: UTF8.self) } == ["one", ""])
        #expect(file.value("numbers")?.integers == [-1, 9])
        #expect(file.tensors.map(\.name) == ["m", "h"])
        #expect(file.tensors.map(\.shape) == [[2, 3], [1]])
        #expect(file.tensors.map(\.elementType) == ["F32", "F16"])
        expectError(.invalidFile, "x.gguf: 'a' must be a text") { try file.string("a") }
        expectError(.invalidFile, "x.gguf: 'list' must be an integer") { try file.integer("list") }
    }

    @Test(
        arguments: [
            (Builder(bytes: []), "does not begin as a GGUF file does"),
            (.number(UInt32(0x4647_4747)) + .number(UInt32(3)), "does not begin as a GGUF file does"),
            (.number(UInt32(0x4655_4747)), "ends after 4 bytes, within its header"),
            (.head(keys: 1 << 40), "has 0 tensors and 1099511627776 keys, more than any model"),
            (.head(tensors: .max), "has 18446744073709551615 tensors and 0 keys, more than any model"),
            (.head(keys: 1), "ends after 24 bytes, within its header"),
            (.head(keys: 1) + .number(UInt64.max), "a key has 18446744073709551615 bytes, more than the file"),
            (.head(keys: 1) + .key("", 4, .number(UInt32(1))), "has a key without a name"),
            (.head(keys: 1) + .key("a", 13, .number(UInt32(1))), "'a' has the unknown type 13"),
            (.head(keys: 1) + .key("a", 7, .number(UInt8(2))), "'a' is 2, neither true nor false"),
            (.head(keys: 1) + .key("a", 8, .number(UInt64(5))), "'a' has 5 bytes, more than the file"),
            (
                .head(keys: 1) + .key("a", 8, .number(UInt64(1)) + Builder(bytes: [0xFF])), "'a' is no UTF-8 at byte 0"
            ),
            (
                .head(keys: 1) + .key("a", 9, .number(UInt32(4)) + .number(UInt64.max)),
                "'a' has 18446744073709551615 elements, more than any model's"
            ),
            (
                .head(keys: 1) + .key("a", 9, .number(UInt32(4)) + .number(UInt64(1 << 20))),
                "ends after 49 bytes, within its header"
            ),
            (
                .head(keys: 1) + .key("a", 9, .number(UInt32(99)) + .number(UInt64(1))),
                "'a' has elements of the unknown type 99"
            ),
            (
                .head(keys: 2) + .key("a", 4, .number(UInt32(1))) + .key("a", 4, .number(UInt32(1))),
                "the key 'a' occurs twice"
            ),
            (
                .head(keys: 1) + .key("general.alignment", 4, .number(UInt32(24))),
                "'general.alignment' must be a power of 2 from 8 to 65536"
            ),
            (.head().data(9), "9 unused bytes lie after the last tensor"),
            (
                .head(tensors: 1) + .tensor(String(repeating: "a", count: 64), [1]),
                "a tensor's name has 64 bytes, more than the format allows"
            ),
            (.head(tensors: 1) + .tensor("", [1]), "has a tensor without a name"),
            (
                (.head(tensors: 2) + .tensor("a", [1]) + .tensor("a", [1], at: 32)).data(36),
                "the tensor 'a' occurs twice"
            ),
            (.head(tensors: 1) + .tensor("a", []), "tensor 'a' has 0 dimensions, not 1 to 4"),
            (.head(tensors: 1) + .tensor("a", [1, 1, 1, 1, 1]), "tensor 'a' has 5 dimensions, not 1 to 4"),
            (.head(tensors: 1) + .tensor("a", [0]), "tensor 'a' has the size 0"),
            (.head(tensors: 1) + .tensor("a", [.max]), "tensor 'a' has the size 18446744073709551615"),
            (
                .head(tensors: 1) + .tensor("a", [1 << 32, 1 << 32]), "tensor 'a' is too large for any memory"
            ),
            (
                (.head(tensors: 1) + .tensor("a", [1 << 61])).data(4),
                "tensor 'a', F32 [2305843009213693952] at 0, lies outside of the file"
            ),
            (
                (.head(tensors: 1) + .tensor("a", [2, 33], type: 8)).data(68),
                "tensor 'a' has the shape [2, 33], whose rows are not made of Q8_0's blocks of 32"
            ),
            ((.head(tensors: 1) + .tensor("a", [2])).data(7), "tensor 'a', F32 [2] at 0, lies outside of the file"),
            (
                (.head(tensors: 1) + .tensor("a", [1], at: .max)).data(4),
                "tensor 'a', F32 [1] at 18446744073709551615, lies outside of the file"
            ),
            (
                (.head(tensors: 1) + .tensor("a", [1], at: 4)).data(8),
                "tensor 'a' lies at 4, which is no multiple of 32"
            ),
            (
                (.head(tensors: 2) + .tensor("a", [9]) + .tensor("b", [1], at: 32)).data(36),
                "tensor 'b' overlaps tensor 'a'"
            ),
            (
                (.head(tensors: 2) + .tensor("a", [1]) + .tensor("b", [1], at: 64)).data(68),
                "32 unused bytes lie before tensor 'b'"
            ),
            ((.head(tensors: 1) + .tensor("a", [1])).data(33), "1 unused bytes lie after the last tensor"),
        ] as [(Builder, String)])
    func refusesBrokenFiles(_ file: Builder, _ message: String) throws {
        expectError(.invalidFile, "x.gguf: " + message) { try open(file) }
    }

    @Test func refusesWhatItDoesNotKnow() throws {
        expectError(.unsupported, "x.gguf: has version 1 of the format; 2 and 3 are read") {
            try open(.head(version: 1))
        }
        expectError(.unsupported, "x.gguf: is in big-endian order") { try open(.head(version: UInt32(3).byteSwapped)) }
        expectError(.unsupported, "x.gguf: 'a' is a list of lists") {
            try open(.head(keys: 1) + .key("a", 9, .number(UInt32(9)) + .number(UInt64(0))))
        }
        expectError(.unsupported, "x.gguf: tensor 'a' has the unknown type 4") {
            try open(.head(tensors: 1) + .tensor("a", [1], type: 4))
        }
        expectError(
            .unsupported,
            "x.gguf: is one of 2 parts ('split.count'); put them together with llama-gguf-split --merge"
        ) { try open(.head(keys: 1) + .key("split.count", 2, .number(UInt16(2)))) }
    }

    @Test func obeysTheAlignment() throws {
        let keys = Builder.head(tensors: 2, keys: 1) + .key("general.alignment", 4, .number(UInt32(64)))
        let file = try open((keys + .tensor("a", [1]) + .tensor("b", [1], at: 64)).data(68, alignment: 64))
        #expect(file.tensors[0].offset % 64 == 0)
        #expect(file.tensors[1].offset - file.tensors[0].offset == 64)
    }

    /// Long headers go through a small buffer.
    @Test func longTexts() throws {
        let text = String(repeating: "x", count: 200_000)
        let file = try open(.head(keys: 2) + .key("a", 8, .text(text)) + .key("b", 4, .number(UInt32(3))))
        #expect(try file.string("a") == text)
        #expect(file.value("b")?.integer == 3)
    }

    @Test func writesWhatItReads() throws {
        var texts = ByteTexts()
        for text in ["", "ä", "three"] { try texts.append(Array(text.utf8), purpose: "") }
        let entries = [
            GGUFEntry("a", .uint32(7)), GGUFEntry("f", .float32(0.5)), GGUFEntry("t", .string("text")),
            GGUFEntry("l", .strings(texts)), GGUFEntry("n", .array(.int32, [1, 0, 0, 0])), GGUFEntry("b", .bool(true)),
        ]
        let values: [Float] = (0..<96).map { Float($0) - 40.5 }
        let path = directory.path + "/new.gguf"
        try values.withUnsafeBytes { bytes in
            let types: [GGUFElementType] = [.float32, .float16, .bfloat16, .q8]
            let tensors = types.map {
                GGUFTensorSource(
                    name: $0.name, shape: [3, 32], values: bytes.baseAddress!, valuesType: .float32, type: $0)
            }
            var file = try WritableFile(creating: path)
            try writeGGUF(entries, tensors, to: &file) { _, _ in true }
            try file.finish()
        }
        let file = try GGUFFile(path)
        #expect(file.entries.map(\.key) == entries.map(\.key))
        #expect(file.value("f")?.literal == "0.5")
        #expect(try file.strings("l")?.count == 3)
        #expect(file.tensors.map(\.elementType) == ["F32", "F16", "BF16", "Q8_0"])
        for tensor in file.tensors {
            var again = [Float](repeating: 0, count: 96)
            try again.withUnsafeMutableBytes { try tensor.read(as: .float32, into: $0.baseAddress!) }
            // Half a step of 55.5 / 127, and the scale's own rounding.
            let isClose = zip(again, values).allSatisfy {
                abs($0 - $1) <= (tensor.elementType == "Q8_0" ? 0.25 : 0.125)
            }
            #expect(isClose, "\(tensor.name)")
            var part = [Float](repeating: 0, count: 50)
            try part.withUnsafeMutableBytes { try tensor.read(13..<63, as: .float32, into: $0.baseAddress!) }
            #expect(part == Array(again[13..<63]))
        }
    }

    /// What the gguf package makes of blocks of every format.
    @Test func widensBlocksAsGGMLDoes() throws {
        let file = try GGUFFile(fixtures.appending(path: "gguf/blocks.gguf").path)
        let names = file.tensors.map(\.name).filter { !$0.hasSuffix(".values") }
        #expect(Set(names) == ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"])
        for name in names {
            let tensor = try #require(file.tensors.first { $0.name == name })
            let expected = try #require(file.tensors.first { $0.name == name + ".values" })
            #expect(tensor.elementType == name && tensor.shape == expected.shape)
            var (mine, theirs) = ([Float](repeating: 0, count: 1024), [Float](repeating: 0, count: 1024))
            try mine.withUnsafeMutableBytes { try tensor.read(as: .float32, into: $0.baseAddress!) }
            try theirs.withUnsafeMutableBytes { try expected.read(as: .float32, into: $0.baseAddress!) }
            #expect(mine == theirs, "\(name)")
            #expect(Set(mine).count > 100)
        }
    }

    /// Scales without room in a float16 are refused, not written as infinity.
    @Test func refusesScalesThatAreTooLarge() throws {
        let values = [Float](repeating: 1e7, count: 32)
        try values.withUnsafeBytes { bytes in
            let tensor = GGUFTensorSource(
                name: "a", shape: [32], values: bytes.baseAddress!, valuesType: .float32, type: .q8)
            var file = try WritableFile(creating: directory.path + "/large.gguf")
            expectError(.nonFinite, "large.gguf: 'a' has weights that are too large for Q8_0") {
                try writeGGUF([], [tensor], to: &file) { _, _ in true }
            }
        }
    }
}
