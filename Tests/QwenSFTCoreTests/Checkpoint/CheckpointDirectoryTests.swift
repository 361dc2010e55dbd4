import CSystem
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
        chmod(source + "/tokenizer.json", 0o640)
        try save("new", from: source, to: source)
        #expect(try listDirectory(source) == ["config.json", "model.safetensors", "notes.txt", "tokenizer.json"])
        #expect(try text("m/config.json") == "new")
        #expect(try text("m/tokenizer.json") == "old tokenizer.json")
        #expect(try text("m/notes.txt") == "old notes.txt")
        #expect(try listDirectory(directory.path) == ["m"])
        #expect(try #require(fileStatus(source)).st_mode & 0o777 == 0o750)
        #expect(try #require(fileStatus(source + "/tokenizer.json")).st_mode & 0o777 == 0o640)
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
        onThreads(2) { index in
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
            try new.write("config.json", [1])
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
        let target = try directory.makeDirectory("m")
        _ = try directory.makeDirectory("m/model.safetensors")
        expectError(.io, "\(target)/model.safetensors: is a directory, and the checkpoint has a file of that name") {
            try save("", from: nil, to: target)
        }
        #expect(try listDirectory(directory.path) == ["file", "m"])
    }

    // MARK: What is no checkpoint's

    private let foreign = ["README.md", "diary.txt", "optimizer.pt", "training_args.bin", "my-model.safetensors"]

    private func fill(_ target: String, with names: [String]) throws {
        for name in names { try directory.write("\(fileName(target))/\(name)", "mine") }
    }

    /// Files stay, and they are the same files, in a directory that is exchanged.
    @Test func filesStay() throws {
        let source = try directory.makeDirectory("source")
        for name in ["README.md", "LICENSE", "tokenizer.json"] { try directory.write("source/" + name, "theirs") }
        let target = try directory.makeDirectory("m")
        try fill(target, with: foreign + ["config.json", "added_tokens.json", "pytorch_model-00001-of-00002.bin"])
        let before = try foreign.map { try #require(fileStatus(target + "/" + $0)).st_ino }
        let directoryBefore = try #require(fileStatus(target))
        try save("new", from: source, to: target)
        #expect(!directoryBefore.isSame(as: fileStatus(target)))
        #expect(try foreign.map { try #require(fileStatus(target + "/" + $0)).st_ino } == before)
        #expect(
            try listDirectory(target)
                == (foreign + ["LICENSE", "config.json", "model.safetensors", "tokenizer.json"]).sorted())
        #expect(try text("m/README.md") == "mine" && text("m/LICENSE") == "theirs")
        #expect(try listDirectory(directory.path) == ["m", "source"])
    }

    /// A directory with others in it, or with a name that nobody can read, is kept itself.
    @Test(arguments: [".cache", "a\u{FF}"]) func directoriesStay(name: String) throws {
        let target = try directory.makeDirectory("m")
        try fill(target, with: foreign + ["config.json", "added_tokens.json", "model-00001-of-00001.safetensors"])
        if name == ".cache" {
            _ = try directory.makeDirectory("m/.cache")
            try directory.write("m/.cache/blob", "mine")
        } else {
            var path = Array((target + "/a").utf8CString.dropLast()) + [-1, 0]
            try #require(open(&path, O_CREAT | O_WRONLY, 0o600) >= 0)
        }
        let before = fileStatus(target)
        for content in ["one", "two"] {
            try save(content, from: nil, to: target)
            #expect(fileStatus(target)?.isSame(as: before) == true)
            #expect(try text("m/config.json") == content && text("m/model.safetensors") == content)
            #expect(
                try listDirectory(target).filter { $0 != ".cache" }
                    == (foreign + ["config.json", "model.safetensors"]).sorted())
        }
        if name == ".cache" { #expect(try text("m/.cache/blob") == "mine") }
        #expect(try listDirectory(directory.path) == ["m"])
    }

    /// What appears in the directory while the save is under way is not lost either.
    @Test func whatComesMeanwhileStays() throws {
        let target = try directory.makeDirectory("m")
        try directory.write("m/config.json", "old")
        var new = try CheckpointDirectory(replacing: target)
        try new.write("config.json", Array("new".utf8))
        try new.write("model.safetensors", [1])
        try directory.write("m/log.txt", "mine")
        _ = try directory.makeDirectory("m/runs")
        _ = try new.commit()
        #expect(try listDirectory(target) == ["config.json", "log.txt", "model.safetensors", "runs"])
        #expect(try listDirectory(directory.path) == ["m"])
    }

    // MARK: Failures and leftovers

    /// What cannot be put in its place at last is kept, and everything that stood there is back.
    @Test func theLastStepFails() throws {
        let target = try directory.makeDirectory("m")
        _ = try directory.makeDirectory("m/.cache")
        try fill(target, with: ["config.json", "tokenizer.json", "vocab.json"])
        var new = try CheckpointDirectory(replacing: target)
        for name in ["config.json", "model.safetensors", "tokenizer.json"] { try new.write(name, [1]) }
        // In the way of the second file that is put there, after the first has been.
        _ = try directory.makeDirectory("m/model.safetensors")
        try directory.write("m/model.safetensors/x", "")
        let error = #expect(throws: QwenSFTError.self) { _ = try new.commit() }
        let kept = try #require(try listDirectory(target).first { $0.hasPrefix("saved-") })
        #expect(
            error?.message.hasSuffix("; the new checkpoint is complete in '\(target)/\(kept)'") == true, "\(error!)")
        #expect(error?.code == .io)
        #expect(try listDirectory(target + "/" + kept) == ["config.json", "model.safetensors", "tokenizer.json"])
        #expect(try listDirectory(target).count == 6)
        for name in ["config.json", "tokenizer.json", "vocab.json"] { #expect(try text("m/" + name) == "mine") }
    }

    @Test func leftoversOfTheDeadAreRemovedAndNoOthers() throws {
        let target = try directory.makeDirectory("m")
        try directory.write("m/config.json", "old")
        for name in [".m.saving-0123456789abcdef", "m/.checkpoint.saving-0123456789abcdef"] {
            _ = try directory.makeDirectory(name)
            try directory.write(name + "/model.safetensors", "half")
            try directory.write(name + "/.config.json.before", "older")
        }
        try directory.write(".m.saving-0123456789abcdee", "a state of that name")
        _ = try directory.makeDirectory(".m.saving-2")
        _ = try directory.makeDirectory(".n.saving-0123456789abcdef")
        let other = try CheckpointDirectory(replacing: target)  // is being written
        try other.write("config.json", [1])
        try save("new", from: nil, to: target)
        #expect(
            try listDirectory(directory.path)
                == [".m.saving-2", ".n.saving-0123456789abcdef", fileName(other.path), "m"].sorted())
        #expect(try listDirectory(other.path) == ["config.json"])
        #expect(try listDirectory(target) == ["config.json", "model.safetensors"])
    }

    /// A save that was killed while it replaced files: the directory is no checkpoint, the error says how to complete it, and
    /// what is needed for that is only removed when the next save is complete.
    @Test func aSaveThatWasCutOff() throws {
        let target = try directory.makeDirectory("m")
        _ = try directory.makeDirectory("m/.cache")
        let left = try directory.makeDirectory("m/.checkpoint.saving-0123456789abcdef")
        try directory.write("m/.checkpoint.saving-0123456789abcdef/config.json", "new")
        expectError(
            .invalidFile,
            "\(target): a save into it was cut off; move the files of '\(fileName(left))' up to it, config.json last"
        ) { try Model(directory: target) }
        do {
            let new = try CheckpointDirectory(replacing: target)
            try new.write("config.json", [1])
        }
        #expect(try listDirectory(target) == [".cache", fileName(left)])
        try save("new", from: nil, to: target)
        #expect(try listDirectory(target) == [".cache", "config.json", "model.safetensors"])
    }

    /// Writers of one place at once: the last one wins, and what is there is always one's and whole.
    @Test(arguments: [false, true]) func writersAtOnce(inPlace: Bool) throws {
        let target = try directory.makeDirectory("m")
        if inPlace { _ = try directory.makeDirectory("m/.cache") }
        try save("0", from: nil, to: target)
        let failures = Locked<[String]>([])
        let isDone = Atomic<Int>(0)
        onThreads(4) { index in
            if index == 0 {
                while isDone.load(ordering: .relaxed) < 3 {
                    // By way of one open directory, so that both are of the same one.
                    let descriptor = open(target, O_RDONLY | O_DIRECTORY)
                    let place = "/proc/self/fd/\(descriptor)/"
                    if let config = try? FileContents(place + "config.json").withBytes({ Array($0) }),
                        let weights = try? FileContents(place + "model.safetensors").withBytes({ Array($0) }),
                        config != weights, !inPlace
                    {
                        failures.withLock { $0.append("\(config) \(weights)") }
                    }
                    close(descriptor)
                }
            } else {
                for round in 0..<40 {
                    do { try save("\(index) \(round)", from: nil, to: target) } catch {
                        failures.withLock { $0.append("\(error)") }
                    }
                }
                isDone.add(1, ordering: .relaxed)
            }
        }
        #expect(failures.withLock { $0 } == [])
        #expect(try text("m/config.json") == text("m/model.safetensors"))
        #expect(try listDirectory(target).filter { $0 != ".cache" } == ["config.json", "model.safetensors"])
        #expect(try listDirectory(directory.path) == ["m"])
    }
}

/// A save as the model does it.
private func save(_ content: String, from source: String?, to target: String) throws {
    var new = try CheckpointDirectory(replacing: target)
    try new.write("config.json", Array(content.utf8))
    if let source { try new.copy(CheckpointCompanions(of: source)) }
    try new.checkNames()
    try new.write("model.safetensors", Array(content.utf8))
    #expect(try new.commit() == nil)
}
