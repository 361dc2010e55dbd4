import Glibc
import QwenSFTCore
import Synchronization
import Testing

/// Files that are replaced in one step: a trainer's state.
@Suite struct ReplaceFileTests {
    let directory: TestDirectory
    init() throws { directory = try TestDirectory() }

    private func replace(_ name: String, _ text: String) throws { try write(text, to: directory.path + "/" + name) }

    private func text(_ name: String) throws -> String { String(decoding: try directory.read(name), as: UTF8.self) }

    @Test func permissionsAndLinksStay() throws {
        try replace("state", "one")
        chmod(directory.path + "/state", 0o600)
        _ = try directory.makeDirectory("links")
        try #require(symlink("../state", directory.path + "/links/a") == 0)
        try #require(symlink("a", directory.path + "/links/b") == 0)
        try replace("links/b", "two")
        #expect(try text("state") == "two")
        #expect(try #require(fileStatus(directory.path + "/state")).st_mode & 0o777 == 0o600)
        #expect(try listDirectory(directory.path + "/links") == ["a", "b"])
        // A link to what is not there yet.
        try #require(symlink("../later", directory.path + "/links/c") == 0)
        try replace("links/c", "three")
        #expect(try text("later") == "three")
        try #require(symlink("d", directory.path + "/links/d") == 0)
        #expect(throws: QwenSFTError.self) { try replace("links/d", "") }
        #expect(try listDirectory(directory.path) == ["later", "links", "state"])
    }

    @Test func onlyRegularFilesAreReplaced() throws {
        let fifo = directory.path + "/fifo"
        try #require(mkfifo(fifo, 0o600) == 0)
        _ = try directory.makeDirectory("d")
        try #require(symlink("/dev/null", directory.path + "/null") == 0)
        expectError(.io, "\(fifo): is not a regular file") { try replace("fifo", "") }
        expectError(.io, "\(directory.path)/d: is not a regular file") { try replace("d", "") }
        expectError(.io, "/dev/null: is not a regular file") { try replace("null", "") }
        expectError(.invalidArgument, "\(directory.path)/new/: does not name a file") { try replace("new/", "") }
        expectError(.notFound, "\(directory.path)/none: no such file or directory") { try replace("none/x", "") }
        #expect(try listDirectory(directory.path) == ["d", "fifo", "null"])
        #expect(try fileKind(fifo) == .other && fileKind("/dev/null") == .other)
    }

    @Test func aFailureLeavesTheOldFile() throws {
        try replace("state", "one")
        expectError(.cancelled, "no") {
            try replaceFile(directory.path + "/state") { (file: inout WritableFile) throws(QwenSFTError) in
                try file.write([1])
                throw QwenSFTError(.cancelled, "no")
            }
        }
        #expect(try text("state") == "one")
        #expect(try listDirectory(directory.path) == ["state"])
    }

    @Test func writersAtOnceAndLeftovers() throws {
        // A name so long that the temporary one has to be cut.
        let name = String(repeating: "é", count: 120) + "state"
        let left = "." + String(repeating: "é", count: 100) + ".saving-0123456789abcdef"
        try directory.write(left, "half")
        try directory.write(".other.saving-0123456789abcdef", "half")
        let path = directory.path + "/" + name
        let texts = (0..<4).map { String(repeating: "\($0)", count: 5000 + $0) }
        try replace(name, texts[0])
        let failures = Locked<[String]>([])
        let done = Atomic<Int>(0)
        onThreads(5) { index in
            if index == 4 {
                while done.load(ordering: .relaxed) < 4 {
                    let read = try? FileContents(path).withBytes { String(decoding: $0, as: UTF8.self) }
                    if let read, texts.contains(read) { continue }
                    failures.withLock { $0.append(read ?? "nothing") }
                }
            } else {
                for _ in 0..<100 {
                    do { try write(texts[index], to: path) } catch { failures.withLock { $0.append("\(error)") } }
                }
                done.add(1, ordering: .relaxed)
            }
        }
        #expect(failures.withLock { $0 } == [])
        #expect(try listDirectory(directory.path) == [".other.saving-0123456789abcdef", name])
    }

    /// A file beyond the process's limit is an error and not the end of the process. No other test writes as much as the limit.
    @Test func theFileSizeLimitHolds() throws {
        var old = rlimit()
        try #require(getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &old) == 0)
        let most = 64 << 20
        var new = rlimit(rlim_cur: rlim_t(most), rlim_max: old.rlim_max)
        try #require(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &new) == 0)
        defer { setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &old) }
        try replace("small", String(repeating: "x", count: most))
        let error = #expect(throws: QwenSFTError.self) { try replace("large", String(repeating: "x", count: most + 1)) }
        #expect(error?.code == .io && error?.message.hasSuffix("File too large") == true)
        #expect(try listDirectory(directory.path) == ["small"])
    }
}

private func write(_ text: String, to path: String) throws {
    let warning = try replaceFile(path) { (file: inout WritableFile) throws(QwenSFTError) in
        try file.write(Array(text.utf8))
    }
    #expect(warning == nil)
}
