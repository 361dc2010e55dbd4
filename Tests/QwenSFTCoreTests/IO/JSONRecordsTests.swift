import Foundation
import QwenSFTCore
import Testing

@Suite struct JSONRecordsTests {
    /// What is read of a text that comes in pieces of this many bytes: each document's line, and itself or what is wrong.
    private func read(_ text: String, piece: Int) throws -> [String] {
        let bytes = Array(text.utf8)
        var position = 0
        let stream = try ByteStream(name: "x") { buffer in
            let count = min(piece, buffer.count, bytes.count - position)
            buffer.copyBytes(from: bytes[position..<position + count])
            position += count
            return count
        }
        let records = JSONRecords(stream, name: "x")
        var result: [String] = []
        do {
            while let record = try records.next() {
                result.append("\(record.line) " + String(decoding: record.value.serialized(), as: UTF8.self))
            }
        } catch { result.append(error.message) }
        return result
    }

    @Test(arguments: [
        ("", []), ("\n\r\n", []), ("[]", []), (" [ \n ] \n", []),
        ("{}", ["1 {}"]), ("{}\n\n{\"a\": 1}\r\n", ["1 {}", "3 {\"a\":1}"]),
        ("[{}, {\"a\":\n1} ,\n\n[2]\n]\n", ["1 {}", "1 {\"a\":1}", "4 [2]"]),
        (#"["a]\"", "b,{"]"#, [#"1 "a]\"""#, #"1 "b,{""#]), ("[1,true , null]", ["1 1", "1 true", "1 null"]),
        ("\u{FEFF}[1]", ["1 1"]), ("\u{FEFF}1", ["1 1"]),
        ("[1 2]", ["x:1:4: expected the end of the document, found '2'"]),
        ("[{} {}]", ["1 {}", "x:1:5: expected ',' or ']' after an element of the list"]),
        ("[\n{},]", ["2 {}", "x:2:4: a comma must not stand before the end of the list"]),
        ("[{}", ["1 {}", "x:1:4: expected ',' or ']' after an element of the list"]),
        ("[", ["x:1:2: the document ends where an element of the list was expected"]),
        ("[{\"a\": 1", ["x:1:9: the document ends where ',' or the end of an object was expected"]),
        ("[\n [}]", ["x:2:3: expected a value, found '}'"]),
        ("[,1]", ["x:1:2: expected an element of the list, found ','"]),
        ("[1] [2]", ["1 1", "x:1:5: nothing but white space may follow the list"]),
        ("{}\n{", ["1 {}", "x:2:2: the document ends where an object key was expected"]),
    ])
    func documents(text: String, expected: [String]) throws {
        for piece in [1, 2, 5, 1000] { #expect(try read(text, piece: piece) == expected) }
    }

    @Test func longDocuments() throws {
        let long = String(repeating: "abcdefg ", count: 100_000)
        for piece in [999, 1 << 20] {
            let lines = try read("\"\(long)\"\n\"\(long)\"\n", piece: piece)
            #expect(lines == ["1 \"\(long)\"", "2 \"\(long)\""])
            #expect(try read("[\"\(long)\",\n\"\(long)\"]", piece: piece) == lines)
        }
    }

    // MARK: Compression

    private func fixture(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: fixtures.appending(path: "data/" + name)))
    }

    private func unpacked(_ bytes: [UInt8], piece: Int) throws -> [UInt8] {
        let stream = try ByteStream(bytes: bytes, name: "x")
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: piece)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try stream.read(into: $0) }
            if count == 0 { return result }
            result += buffer[..<count]
        }
    }

    @Test(arguments: ["gz", "zst"], [1, 7, 4096])
    func unpacks(kind: String, piece: Int) throws {
        let plain = try fixture("messages.jsonl")
        let packed = try fixture("messages.jsonl." + kind)
        #expect(try unpacked(packed, piece: piece) == plain)
        // Several files' content one after another is one file, for both.
        #expect(try unpacked(packed + packed, piece: piece) == plain + plain)
        expectError(.invalidFile, "x: ends in the middle of its compressed data") {
            try unpacked(packed.dropLast(9), piece: piece)
        }
        var damaged = packed
        damaged[packed.count / 2] ^= 0x55
        #expect(throws: QwenSFTError.self) { try unpacked(damaged, piece: piece) }
    }

    @Test func damagedGzip() throws {
        var bytes = try fixture("messages.jsonl.gz")
        bytes[bytes.count - 6] ^= 1
        expectError(.invalidFile, "x: is damaged gzip data (incorrect data check)") { try unpacked(bytes, piece: 4096) }
        expectError(.invalidFile, "x: is damaged zstd data (Unknown frame descriptor)") {
            try unpacked(fixture("messages.jsonl.zst") + Array("{}{}{}".utf8), piece: 4096)
        }
    }

    @Test(arguments: [
        ("PAR1....", "x: is a Parquet file; the Python package reads those, with pyarrow"),
        ("BZh91AY", "x: is compressed with bzip2; gzip and zstd are read"),
        ("PK\u{3}\u{4}..", "x: is a zip archive; gzip and zstd are read"),
    ])
    func otherKinds(text: String, message: String) {
        expectError(.unsupported, message) { try ByteStream(bytes: Array(text.utf8), name: "x") }
    }
}
