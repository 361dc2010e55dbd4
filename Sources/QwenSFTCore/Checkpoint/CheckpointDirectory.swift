import CKernels
import Glibc

/// A checkpoint directory in the making: written beside its place, then put there in one step.
///
///     var new = try CheckpointDirectory(replacing: target)
///     try new.copy(companions)                        // tokenizer, template, licence, …
///     try writeSafetensors(…, to: new.file("model.safetensors"))
///     try new.commit()
///
/// Until `commit` returns, what stood at the target before is whole and in place; a value that goes away without commit
/// removes what it has written. Target and source may be the same directory.
package struct CheckpointDirectory: ~Copyable {
    /// Where the directory will stand, symbolic links resolved.
    package let target: String
    /// Where it is written; on the same file system, or the final step could not be one.
    package let path: String
    private var isCommitted: Bool

    /// Creates the temporary directory, and the parents of `target` where they are missing.
    package init(replacing target: String) throws(QwenSFTError) {
        var place = target
        while place.utf8.count > 1 && place.utf8.last == UInt8(ascii: "/") { place.removeLast() }
        switch try fileKind(place) {
        case .file, .other: throw QwenSFTError(.io, "\(target): is a file, not a directory")
        case .directory: place = try Self.resolve(place)
        case nil:
            let parent = Self.parent(of: place)
            try Self.makeDirectories(parent)
            place = joinPath(try Self.resolve(parent), fileName(place))
        }
        guard place != "/", fileName(place) != "..", fileName(place) != "." else {
            throw QwenSFTError(.invalidArgument, "\(target): cannot be replaced by a checkpoint")
        }
        let sibling = try Self.makeSibling(of: place)
        self.target = place
        path = sibling
        isCommitted = false
    }

    deinit { if !isCommitted { Self.remove(path) } }

    /// The path of a file to be written in the new directory.
    package func file(_ name: String) -> String { joinPath(path, name) }

    /// Copies the files that are not already written here.
    package func copy(_ companions: CheckpointCompanions) throws(QwenSFTError) {
        for (name, source) in companions.files where try !fileExists(file(name)) {
            try copyFile(source, to: file(name))
        }
    }

    /// Refuses a target that holds what the new directory would not hold and no checkpoint has: it would be lost.
    ///
    /// `commit` does this too; called before the weights are written, it saves the time.
    package func checkTarget() throws(QwenSFTError) {
        guard try fileKind(target) == .directory else { return }
        var inTheWay: [String] = []
        for name in try listDirectory(target) {
            let isFile = try fileKind(joinPath(target, name)) != .directory
            let isKnown = Self.isModelWeights(name) || Self.companions.contains(name)
            let isKept = try fileExists(file(name))
            if !isFile || !(isKnown || isKept) { inTheWay.append(name) }
        }
        if inTheWay.isEmpty { return }
        let names = inTheWay.prefix(5).map { "'\(printable($0))'" }.joined(separator: ", ")
        let more = inTheWay.count > 5 ? " and \(inTheWay.count - 5) more" : ""
        throw QwenSFTError(
            .invalidArgument,
            "\(target): is not replaced, because it holds other things than a checkpoint: \(names)\(more)")
    }

    /// Puts the directory in its place.
    package mutating func commit() throws(QwenSFTError) {
        try checkTarget()
        try Self.synchronize(path)
        var info = stat()
        if stat(target, &info) == 0 {
            chmod(path, info.st_mode & 0o7777)
            Self.remove(try exchange())
        } else if rename(path, target) != 0 {
            throw systemError("put the checkpoint there", target)
        }
        isCommitted = true
        try Self.synchronize(Self.parent(of: target))
    }

    /// Puts the new directory in the place of the old one.
    /// - Returns: where the old one is now.
    private func exchange() throws(QwenSFTError) -> String {
        // In one step where the kernel and the file system can: there is always one of the two, even if this process is killed.
        if qk_exchange_files(path, target) == 0 { return path }
        guard [EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) else {
            throw systemError("put the checkpoint there", target)
        }
        // Elsewhere in two; the first is taken back where the second fails.
        let aside = path + ".old"
        if rename(target, aside) != 0 { throw systemError("move the old checkpoint aside", target) }
        if rename(path, target) != 0 {
            let error = systemError("put the checkpoint there", target)
            rename(aside, target)
            throw error
        }
        return aside
    }

    // MARK: Names

    /// The model's weights under the names that transformers gives them.
    private static func isModelWeights(_ name: String) -> Bool {
        name.hasPrefix("model") && (name.hasSuffix(".safetensors") || name.hasSuffix(".safetensors.index.json"))
            || name.hasPrefix("pytorch_model") && (name.hasSuffix(".bin") || name.hasSuffix(".bin.index.json"))
    }

    /// Weights, optimizer states and the like of any kind: they would not fit the new weights.
    static func isTensorFile(_ name: String) -> Bool {
        isModelWeights(name)
            || [".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".onnx"].contains { name.hasSuffix($0) }
    }

    /// Files of a checkpoint that may be replaced though the new one does not have them.
    private static let companions: Set<String> = [
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
        "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json", "qwen.tiktoken",
        "README.md", "LICENSE", ".gitattributes",
    ]

    private static func parent(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    // MARK: System

    private static func resolve(_ path: String) throws(QwenSFTError) -> String {
        guard let resolved = try withCPath(path, { (p) throws(QwenSFTError) in realpath(p, nil) }) else {
            throw systemError("resolve it", path)
        }
        defer { free(resolved) }
        guard let text = String(validatingCString: resolved) else {
            throw QwenSFTError(.invalidArgument, "\(path): its full path is not UTF-8")
        }
        return text
    }

    private static func makeDirectories(_ path: String) throws(QwenSFTError) {
        switch try fileKind(path) {
        case .directory: return
        case .file, .other: throw QwenSFTError(.io, "\(path): is a file, not a directory")
        case nil:
            try makeDirectories(parent(of: path))
            if mkdir(path, 0o777) != 0 && errno != EEXIST { throw systemError("create the directory", path) }
        }
    }

    private static func makeSibling(of path: String) throws(QwenSFTError) -> String {
        for attempt in 0..<100 {
            let sibling = joinPath(parent(of: path), ".\(fileName(path)).saving-\(getpid())-\(attempt)")
            if mkdir(sibling, 0o777) == 0 { return sibling }
            if errno != EEXIST { throw systemError("create a directory", sibling) }
        }
        throw QwenSFTError(.io, "\(path): too many unfinished saves lie beside it")
    }

    /// Removes a directory of files. What cannot be removed stays: the checkpoint is in its place by then, or never was.
    private static func remove(_ path: String) {
        for name in (try? listDirectory(path)) ?? [] { unlink(joinPath(path, name)) }
        rmdir(path)
    }

    private static func synchronize(_ directory: String) throws(QwenSFTError) {
        let descriptor = try withCPath(directory) { (p) throws(QwenSFTError) in
            open(p, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        if descriptor < 0 { throw systemError("open the directory", directory) }
        defer { close(descriptor) }
        // Some file systems cannot do this for a directory and say EINVAL.
        if fsync(descriptor) != 0 && errno != EINVAL { throw systemError("write the directory", directory) }
    }
}
