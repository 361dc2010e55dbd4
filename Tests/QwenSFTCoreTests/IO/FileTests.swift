import Glibc
import QwenSFTCore
import Testing

@Suite struct FileTests {
    @Test func readsAllOrAPart() throws {
        let directory = try TestDirectory()
        let path = try directory.write("a", "0123456789")
        #expect(try directory.read("a") == Array("0123456789".utf8))
        let file = try ReadableFile(path)
        var part = [UInt8](repeating: 0, count: 3)
        try part.withUnsafeMutableBytes { try file.read(into: $0, at: 7) }
        #expect(part == Array("789".utf8))
        expectError(.invalidFile, "a: ends after 10 bytes, before byte 8 + 3") {
            try part.withUnsafeMutableBytes { try file.read(into: $0, at: 8) }
        }
        expectError(.invalidFile, "a: ends after 10 bytes, before byte -1 + 3") {
            try part.withUnsafeMutableBytes { try file.read(into: $0, at: -1) }
        }
        try #require(truncate(path, 8) == 0)
        expectError(.invalidFile, "a: was cut to 8 bytes while it was read") {
            try part.withUnsafeMutableBytes { try file.read(into: $0, at: 7) }
        }
    }

    @Test func emptyFile() throws {
        let directory = try TestDirectory()
        let path = try directory.write("a", "")
        #expect(try directory.read("a").isEmpty)
        expectError(.invalidFile, "a:1:1: the document ends where a value was expected") {
            try JSONValue(contentsOf: path)
        }
    }

    @Test func whatStandsThere() throws {
        let directory = try TestDirectory()
        try directory.write("b", "")
        try directory.write("é", "")
        _ = try directory.makeDirectory("a")
        #expect(try listDirectory(directory.path) == ["a", "b", "é"])
        #expect(try fileKind(directory.path + "/a") == .directory)
        #expect(try fileKind(directory.path + "/b") == .file)
        #expect(try fileKind(directory.path + "/c") == nil)
        #expect(try fileKind("/dev/null") == .other)
    }

    @Test func badPaths() throws {
        let directory = try TestDirectory()
        let missing = directory.path + "/missing"
        expectError(.notFound, "\(missing): no such file or directory") { try ReadableFile(missing) }
        expectError(.notFound, "\(missing): no such file or directory") { try listDirectory(missing) }
        let file = try directory.write("file", "")
        expectError(.notFound, "\(file)/x: a part of the path is not a directory") { try ReadableFile(file + "/x") }
        expectError(.io, "\(directory.path): is not a regular file") { try ReadableFile(directory.path) }
        expectError(.invalidArgument, "the path is empty") { try ReadableFile("") }
        expectError(.invalidArgument, "the path 'a\\u{0}b' holds a NUL byte") { try ReadableFile("a\0b") }
        let fifo = directory.path + "/fifo"
        try #require(mkfifo(fifo, 0o600) == 0)
        expectError(.io, "\(fifo): is not a regular file") { try ReadableFile(fifo) }
    }
}
