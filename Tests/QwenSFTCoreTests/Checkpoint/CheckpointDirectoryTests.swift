import CKernels
import Dispatch
import Glibc
import QwenSFTCore
import Synchronization
import Testing

@Suite struct CheckpointDirectoryTests {
    let directory: TestDirectory
    init() throws { directory = try TestDirectory() }

    private func text(_ path: String) throws -> String { String(decoding: try directory.read(path), as: UTF8.self) }

    @Test func newDirectory() throws {
        let target = directory.path + "/a/b/c/"
        try save("new", from: nil, to: target)
        #expect(try listDirectory(target) == ["config.json", "model.safetensors"])
        #expect(try listDirectory(directory.path + "/a/b") == ["c"])
    }

    @Test func overTheSource() throws {
        let source = try directory.makeDirectory("m")
        for name in [
            "config.json", "tokenizer.json", "model-00001-of-00001.safetensors", "model.safetensors.index.json",
            "notes.txt",
        ] {
            try directory.write("m/" + name, "old " + name)
        }
        chmod(source, 0o750)
        try save("new", from: source, to: source)
        #expect(try listDirectory(source) == ["config.json", "model.safetensors", "notes.txt", "tokenizer.json"])
        #expect(try text("m/config.json") == "new")
        #expect(try text("m/tokenizer.json") == "old tokenizer.json")
        #expect(try listDirectory(directory.path) == ["m"])
        var info = stat()
        #expect(stat(source, &info) == 0 && info.st_mode & 0o777 == 0o750)
    }

    /// Whenever somebody looks, one of the two is there: what a process that is killed in the middle would leave.
    @Test func oneOfThemIsAlwaysThere() throws {
        let target = try directory.makeDirectory("m")
        try directory.write("m/config.json", "old")
        // Not every file system can exchange two directories.
        let other = try directory.makeDirectory("n")
        guard qk_exchange_files(target, other) == 0 else {
            #expect(errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)
            return
        }
        try #require(qk_exchange_files(target, other) == 0)
        let isDone = Atomic<Bool>(false)
        let misses = Atomic<Int>(0)
        let looks = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 2) { index in
            if index == 0 {
                for round in 0..<100 { try? save("\(round)", from: nil, to: target) }
                isDone.store(true, ordering: .relaxed)
            } else {
                while !isDone.load(ordering: .relaxed) {
                    if access(target + "/config.json", R_OK) != 0 { misses.add(1, ordering: .relaxed) }
                    looks.add(1, ordering: .relaxed)
                }
            }
        }
        #expect(misses.load(ordering: .relaxed) == 0 && looks.load(ordering: .relaxed) > 0)
        #expect(try text("m/config.json") == "99")
        #expect(try listDirectory(directory.path) == ["m", "n"])
    }

    @Test func throughALink() throws {
        _ = try directory.makeDirectory("m")
        try directory.write("m/config.json", "old")
        try #require(symlink("m", directory.path + "/link") == 0)
        try save("new", from: nil, to: directory.path + "/link")
        #expect(try text("m/config.json") == "new")
        #expect(try listDirectory(directory.path) == ["link", "m"])
    }

    @Test func withoutCommitNothingChanges() throws {
        let target = try directory.makeDirectory("m")
        try directory.write("m/config.json", "old")
        do {
            let new = try CheckpointDirectory(replacing: target)
            try writeFile(new.file("config.json"), [1])
            #expect(try listDirectory(directory.path).count == 2)
        }
        #expect(try listDirectory(directory.path) == ["m"])
        #expect(try text("m/config.json") == "old")
    }

    @Test func refusedTargets() throws {
        let file = try directory.write("file", "")
        expectError(.io, "\(file): is a file, not a directory") { try save("", from: nil, to: file) }
        expectError(.io, "\(file)/: is a file, not a directory") { try save("", from: nil, to: file + "/") }
        // Below a file nothing can be made.
        #expect(throws: QwenSFTError.self) { try save("", from: nil, to: file + "/x") }
        expectError(.invalidArgument, "/: cannot be replaced by a checkpoint") { try save("", from: nil, to: "/") }
        expectError(.invalidArgument, "the path is empty") { try save("", from: nil, to: "") }

        let target = try directory.makeDirectory("home")
        for name in ["config.json", "diary.txt", "optimizer.pt"] { try directory.write("home/" + name, name) }
        _ = try directory.makeDirectory("home/letters")
        expectError(
            .invalidArgument,
            "\(target): is not replaced, because it holds other things than a checkpoint: 'diary.txt', 'letters', 'optimizer.pt'"
        ) { try save("", from: nil, to: target) }
        // As the source too: a directory in it and a file that does not pass through would be lost.
        expectError(
            .invalidArgument,
            "\(target): is not replaced, because it holds other things than a checkpoint: 'letters', 'optimizer.pt'"
        ) { try save("", from: target, to: target) }
        #expect(try listDirectory(target) == ["config.json", "diary.txt", "letters", "optimizer.pt"])
        #expect(try listDirectory(directory.path) == ["file", "home"])
    }
}

/// A save as the model does it.
private func save(_ content: String, from source: String?, to target: String) throws {
    var new = try CheckpointDirectory(replacing: target)
    try writeFile(new.file("config.json"), Array(content.utf8))
    if let source { try new.copy(CheckpointCompanions(of: source)) }
    try new.checkTarget()
    try writeFile(new.file("model.safetensors"), Array(content.utf8))
    try new.commit()
}
