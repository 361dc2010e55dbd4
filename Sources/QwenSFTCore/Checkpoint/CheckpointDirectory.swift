import CSystem
import Libc

/// A checkpoint directory in the making: written to a temporary directory, then put in its place.
///
///     var new = try CheckpointDirectory(replacing: target)
///     try new.write("config.json", …)
///     try new.copy(companions)                        // tokenizer, template, license, …
///     var weights = try new.create("model.safetensors")
///     …
///     try new.commit()
///
/// Until `commit` begins, what stood at the target before is as it was; a value that goes away without commit removes what it
/// has written. What is not of a checkpoint's own kinds (`CheckpointFileKind`) stays where it is. Target and source may be the
/// same directory.
///
/// There are two ways. Where it can be, the whole directory is exchanged in one system call. A directory that is mounted, that
/// processes stand in or that holds other directories is kept, and the files in it are replaced one by one
/// (`FileReplacement`).
package struct CheckpointDirectory: ~Copyable {
    /// Where the directory will stand, symbolic links resolved.
    package let target: String
    private let temporary: Temporary.Place
    private var isDone = false

    /// Where it is written: beside `target`, or inside of it where the directory has to stay.
    package var path: String { temporary.path }

    private var isInside: Bool { parentPath(path) == target }

    /// What `target` is called in the names of temporary directories inside of it.
    private static let insideName = "checkpoint"

    /// Creates the temporary directory, and the parents of `target` where they are missing. What killed writers left behind
    /// is removed.
    package init(replacing target: String) throws(QwenSFTError) {
        let place = try Self.resolve(target)
        Self.removeLeftovers(of: place, all: false)
        temporary = try Self.makeTemporary(for: place)
        self.target = place
    }

    deinit { if !isDone { Self.remove(temporary.path) } }

    // MARK: Writing

    /// A new file of the checkpoint. It has the permissions of the one it replaces and, where the process may, its owner.
    package func create(_ name: String) throws(QwenSFTError) -> WritableFile {
        let file = try WritableFile(creating: joinPath(path, name))
        if let old = fileStatus(joinPath(target, name)) ?? fileStatus(target) { file.inherit(from: old) }
        return file
    }

    package func write(_ name: String, _ bytes: [UInt8]) throws(QwenSFTError) {
        var file = try create(name)
        try file.write(bytes)
        try file.finish()
    }

    /// Copies the files that are not already written here. A document that the target has stays.
    package func copy(_ companions: CheckpointCompanions) throws(QwenSFTError) {
        for companion in companions.files where fileStatus(joinPath(path, companion.name)) == nil {
            if CheckpointFileKind(companion.name) == .document, isThere(companion.name) { continue }
            var file = try create(companion.name)
            try companion.contents.withBytes { (bytes) throws(QwenSFTError) in try file.write(bytes) }
            try file.finish()
        }
    }

    /// Refuses a target that has a directory where the checkpoint has a file.
    package func checkNames() throws(QwenSFTError) {
        for name in try listDirectory(path) + [SafetensorsCheckpoint.fileName] {
            let place = joinPath(target, name)
            guard fileStatus(place)?.isDirectory != true else {
                throw QwenSFTError(.io, "\(place): is a directory, and the checkpoint has a file of that name")
            }
        }
    }

    /// Bytes that may still be written; nil where the file system does not say.
    package var freeBytes: Int? {
        var info = statvfs()
        guard statvfs(path, &info) == 0, info.f_blocks > 0 else { return nil }
        let blocks = geteuid() == 0 ? info.f_bfree : info.f_bavail
        let (bytes, overflow) = Int(clamping: blocks).multipliedReportingOverflow(by: Int(clamping: info.f_frsize))
        return overflow ? nil : bytes
    }

    private func isThere(_ name: String) -> Bool { fileStatus(joinPath(target, name), followsLinks: false) != nil }

    // MARK: Putting it in its place

    /// Puts the checkpoint in its place. Where that fails, what stood there stands there again, and the new one is kept: the
    /// error says where.
    /// - Returns: what a person should know although the checkpoint is in its place.
    package mutating func commit() throws(QwenSFTError) -> String? {
        let warning: String?
        do throws(QwenSFTError) { warning = try putInPlace() } catch { throw keep(error) }
        isDone = true
        Self.removeLeftovers(of: target, all: true)
        return warning
    }

    private func putInPlace() throws(QwenSFTError) -> String? {
        try OpenDirectory(path).synchronize()
        // Another writer may put a directory there, or another directory, at any moment.
        for _ in 0..<100 {
            guard fileStatus(target) != nil else {
                let parent = try OpenDirectory(parentPath(target))
                if rename(path, target) == 0 { return synchronize(parent) }
                if errno == ENOTEMPTY || errno == EEXIST { continue }
                throw systemError("put the checkpoint there", target)
            }
            let standing = try OpenDirectory(target)
            standing.lock()
            guard standing.isInPlace else { continue }
            if !isInside, let parent = try? OpenDirectory(parentPath(target)), exchange() { return synchronize(parent) }
            var replacement = FileReplacement(from: path, to: target)
            try replacement.run()
            Self.remove(path)
            return synchronize(standing)
        }
        throw QwenSFTError(.io, "\(target): is replaced by others again and again")
    }

    /// What is in its place is reported as that, whatever becomes of it when the power fails.
    private func synchronize(_ directory: borrowing OpenDirectory) -> String? {
        do { try directory.synchronize() } catch {
            return "\(target): is in its place, but may be gone after a power failure: \(error.message)"
        }
        return nil
    }

    /// Exchanges the new directory and the old one: there is always one of the two, even if this process is killed.
    /// - Returns: false, with everything as before, where that cannot be.
    private func exchange() -> Bool {
        guard Self.canExchange(target), let old = fileStatus(target), let names = try? listDirectory(target) else {
            return false
        }
        var links: [String] = []
        func undo() -> Bool {
            for name in links { unlink(joinPath(path, name)) }
            return false
        }
        // What stays gets a second name in the new directory; the first goes with the old one.
        for name in names where Self.stays(name) {
            unlink(joinPath(path, name))
            guard link(joinPath(target, name), joinPath(path, name)) == 0 else { return undo() }
            links.append(name)
        }
        guard chmod(path, old.st_mode & 0o7777) == 0, qk_exchange_files(path, target) == 0 else { return undo() }
        Self.dispose(of: path, for: target)
        return true
    }

    private static func stays(_ name: String) -> Bool {
        switch CheckpointFileKind(name) {
        case .document, .foreign: true
        case .weights, .part: false
        }
    }

    /// Whether a new directory can take the place of the one at `target` without anybody noticing.
    private static func canExchange(_ target: String) -> Bool {
        guard let standing = fileStatus(target), !standing.isSame(as: fileStatus(".")),
            qk_is_mount_point(target) == 0, qk_has_access_list(target) == 0,
            faccessat(AT_FDCWD, target, W_OK | X_OK, AT_EACCESS) == 0
        else { return false }
        var otherNames = 0
        guard let names = try? listDirectory(target, onOtherName: { otherNames += 1 }), otherNames == 0 else {
            return false
        }
        return names.allSatisfy { name in
            !stays(name) || fileStatus(joinPath(target, name), followsLinks: false)?.isFile == true
        }
    }

    private static func makeTemporary(for place: String) throws(QwenSFTError) -> Temporary.Place {
        guard fileStatus(place) != nil else {
            return try Temporary.directory(in: parentPath(place), for: fileName(place))
        }
        if let sibling = makeSibling(of: place) { return sibling }
        return try Temporary.directory(in: place, for: insideName)
    }

    /// A temporary directory beside `place` with its owner; nil where it could not be exchanged with `place`.
    private static func makeSibling(of place: String) -> Temporary.Place? {
        guard canExchange(place), let old = fileStatus(place),
            let sibling = try? Temporary.directory(in: parentPath(place), for: fileName(place))
        else { return nil }
        let new = fileStatus(sibling.path)
        let isOwned = new?.st_uid == old.st_uid && new?.st_gid == old.st_gid
        if isOwned || chown(sibling.path, old.st_uid, old.st_gid) == 0 { return sibling }
        rmdir(sibling.path)
        return nil
    }

    /// Gives the new checkpoint a name of its own, so that nothing is lost although it could not be put in its place.
    private mutating func keep(_ error: QwenSFTError) -> QwenSFTError {
        let isWhole = [CheckpointFileKind.marker, SafetensorsCheckpoint.fileName]
            .allSatisfy { fileStatus(joinPath(path, $0)) != nil }
        isDone = true
        guard isWhole else {
            return QwenSFTError(
                error.code, "\(error.message); the new checkpoint is divided between '\(path)' and '\(target)'")
        }
        let digits = String(fileName(path).suffix(8))
        var kept = joinPath(parentPath(path), isInside ? "saved-\(digits)" : "\(fileName(target)).saved-\(digits)")
        if rename(path, kept) != 0 { kept = path }
        return QwenSFTError(error.code, "\(error.message); the new checkpoint is complete in '\(kept)'")
    }

    // MARK: Opening

    /// What to say when a directory cannot be opened because a save was killed in the middle of its last step.
    static func explain(_ error: QwenSFTError, _ directory: String) -> QwenSFTError {
        guard error.code == .notFound, fileStatus(joinPath(directory, CheckpointFileKind.marker)) == nil else {
            return error
        }
        var cut: String?
        Temporary.forEachLeftover(in: directory, for: insideName) { path in
            if fileStatus(joinPath(path, CheckpointFileKind.marker)) != nil { cut = fileName(path) }
        }
        guard let cut else { return error }
        return QwenSFTError(
            .invalidFile,
            "\(directory): a save into it was cut off; move the files of '\(cut)' up to it, config.json last")
    }

    // MARK: Removing

    /// - Parameter all: whether those are removed too that may hold what completes the target: a save that was killed while
    ///   it replaced files has left the directory without its configuration.
    private static func removeLeftovers(of target: String, all: Bool) {
        Temporary.forEachLeftover(in: parentPath(target), for: fileName(target)) { dispose(of: $0, for: target) }
        guard all || fileStatus(joinPath(target, CheckpointFileKind.marker)) != nil else { return }
        Temporary.forEachLeftover(in: target, for: insideName) { dispose(of: $0, for: target) }
    }

    /// Removes a directory that was exchanged or left behind. What is no checkpoint's and not at `target` is put there:
    /// somebody may have created it in the last moment. A file of such a name is a state that was left behind.
    private static func dispose(of directory: String, for target: String) {
        guard fileStatus(directory, followsLinks: false)?.isFile != true else {
            unlink(directory)
            return
        }
        for name in (try? listDirectory(directory)) ?? [] {
            let (here, there) = (joinPath(directory, name), joinPath(target, name))
            let isOurs = !stays(name) || FileReplacement.isBackup(name)
            if isOurs || fileStatus(there, followsLinks: false) != nil {
                unlink(here)
            } else {
                rename(here, there)
            }
        }
        rmdir(directory)
    }

    /// Removes a directory whose files are all the library's own.
    private static func remove(_ path: String) {
        for name in (try? listDirectory(path)) ?? [] { unlink(joinPath(path, name)) }
        rmdir(path)
    }

    private static func resolve(_ target: String) throws(QwenSFTError) -> String {
        var place = target
        while place.utf8.count > 1 && place.utf8.last == UInt8(ascii: "/") { place.removeLast() }
        switch try fileKind(place) {
        case .file, .other: throw QwenSFTError(.io, "\(target): is a file, not a directory")
        case .directory: place = try resolvePath(place)
        case nil:
            let parent = parentPath(place)
            try makeDirectories(parent)
            place = joinPath(try resolvePath(parent), fileName(place))
        }
        guard place != "/", fileName(place) != "..", fileName(place) != "." else {
            throw QwenSFTError(.invalidArgument, "\(target): cannot be replaced by a checkpoint")
        }
        return place
    }
}
