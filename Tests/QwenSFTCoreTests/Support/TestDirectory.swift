import Glibc
import QwenSFTCore
import Testing

/// A directory of a test's own, removed with all its content when the test lets go of it.
final class TestDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/qwensft-test-XXXXXX".utf8CString)
        path = try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    deinit { TestDirectory.remove(path) }

    private static func remove(_ path: String) {
        chmod(path, 0o700)
        for name in (try? listDirectory(path)) ?? [] {
            let child = path + "/" + name
            if unlink(child) != 0 { remove(child) }
        }
        rmdir(path)
    }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }

    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let file = path + "/" + name
        let stream = try #require(fopen(file, "w"))
        try #require(fwrite(bytes, 1, bytes.count, stream) == bytes.count)
        try #require(fclose(stream) == 0)
        return file
    }

    func makeDirectory(_ name: String) throws -> String {
        let directory = path + "/" + name
        try #require(mkdir(directory, 0o755) == 0)
        return directory
    }

    func read(_ name: String) throws -> [UInt8] {
        try FileContents(path + "/" + name).withBytes { (bytes) throws(QwenSFTError) in Array(bytes) }
    }
}

/// Expects `body` to throw a `QwenSFTError` with this code and exactly this message.
func expectError<R>(
    _ code: QwenSFTError.Code, _ message: String, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> R
) {
    do {
        _ = try body()
        Issue.record("nothing was thrown; expected: \(message)", sourceLocation: sourceLocation)
    } catch {
        #expect(error as? QwenSFTError == QwenSFTError(code, message), sourceLocation: sourceLocation)
    }
}

/// Tests/Fixtures of the repository, as a path.
let fixtureDirectory = fixtures.path
