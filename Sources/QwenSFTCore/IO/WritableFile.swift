import CSystem
import Libc

/// A new file that is written from front to back. It counts as written only after `finish`.
package struct WritableFile: ~Copyable {
    package let path: String
    private var descriptor: Int32
    /// What may still be written. Whoever exceeds the process's limit is sent a signal that ends the process.
    private var room: UInt64

    /// Creates the file; one that is there already is an error.
    package init(creating path: String) throws(QwenSFTError) {
        var descriptor = try withCPath(path) { (p) throws(QwenSFTError) in
            open(p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        }
        descriptor = aboveStandardStreams(descriptor)
        if descriptor < 0 { throw systemError("create it", path) }
        self.init(path, descriptor)
    }

    /// The file that a writer has made for itself.
    package init(_ place: borrowing Temporary.Place) throws(QwenSFTError) {
        self.init(place.path, try place.duplicate())
    }

    private init(_ path: String, _ descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
        room = qk_file_size_limit()
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Gives the file the permissions of another one and, where the process may, its owner.
    package func inherit(from other: stat) {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { return }
        if info.st_uid != other.st_uid || info.st_gid != other.st_gid {
            _ = fchown(descriptor, other.st_uid, other.st_gid)
        }
        if other.isFile { fchmod(descriptor, other.st_mode & 0o7777) }
    }

    package mutating func write(_ bytes: UnsafeRawBufferPointer) throws(QwenSFTError) {
        guard let start = bytes.baseAddress else { return }
        guard UInt64(bytes.count) <= room else {
            errno = EFBIG
            throw systemError("write it", path)
        }
        room -= UInt64(bytes.count)
        var done = 0
        while done < bytes.count {
            let count = Libc.write(descriptor, start + done, bytes.count - done)
            if count < 0 {
                if errno == EINTR { continue }
                throw systemError("write it", path)
            }
            done += count
        }
    }

    package mutating func write(_ bytes: [UInt8]) throws(QwenSFTError) {
        try bytes.withUnsafeBufferPointer { (buffer) throws(QwenSFTError) in try write(UnsafeRawBufferPointer(buffer)) }
    }

    /// Waits until the content is on the disk, and closes the file.
    package mutating func finish() throws(QwenSFTError) {
        if fsync(descriptor) != 0 { throw systemError("write it", path) }
        let result = close(descriptor)
        descriptor = -1
        if result != 0 { throw systemError("write it", path) }
    }
}

/// Writes a new file with this content.
package func writeFile(_ path: String, _ bytes: [UInt8]) throws(QwenSFTError) {
    var file = try WritableFile(creating: path)
    try file.write(bytes)
    try file.finish()
}

/// Lets `write` make a file beside `path` and puts it there in one step: until then, what is at `path` stays whole.
///
/// Symbolic links are followed. Only a regular file is replaced; the new one has its permissions. Of several writers at once,
/// the last one wins.
/// - Returns: what a person should know although the file is in its place.
package func replaceFile(
    _ path: String, _ write: (inout WritableFile) throws(QwenSFTError) -> Void
) throws(QwenSFTError) -> String? {
    let path = try followLinks(path)
    let old = fileStatus(path)
    if let old, !old.isFile { throw QwenSFTError(.io, "\(path): is not a regular file") }
    let name = fileName(path)
    guard !name.isEmpty, path.utf8.last != UInt8(ascii: "/") else {
        throw QwenSFTError(.invalidArgument, "\(path): does not name a file")
    }
    let directory = try OpenDirectory(parentPath(path))
    Temporary.forEachLeftover(in: directory.path, for: name) { unlink($0) }
    let temporary = try Temporary.file(in: directory.path, for: name)
    do throws(QwenSFTError) {
        var file = try WritableFile(temporary)
        if let old { file.inherit(from: old) }
        try write(&file)
        try file.finish()
        try withCPath(path) { (p) throws(QwenSFTError) in
            if rename(temporary.path, p) != 0 { throw systemError("put it in its place", path) }
        }
    } catch {
        unlink(temporary.path)
        throw error
    }
    do { try directory.synchronize() } catch {
        return "\(path): is in its place, but may be gone after a power failure: \(error.message)"
    }
    return nil
}

/// Where a path leads, itself or what does not exist yet included.
private func followLinks(_ path: String) throws(QwenSFTError) -> String {
    var path = path
    for _ in 0..<40 {
        guard let info = try withCPath(path, { (_) throws(QwenSFTError) in fileStatus(path, followsLinks: false) }),
            info.st_mode & S_IFMT == S_IFLNK
        else { return path }
        if fileStatus(path) != nil { return try resolvePath(path) }
        // It leads to what does not exist yet.
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &bytes, bytes.count)
        let target = String(validating: bytes.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard let target, !target.isEmpty else { throw QwenSFTError(.io, "\(path): the link cannot be followed") }
        path = target.utf8.first == UInt8(ascii: "/") ? target : joinPath(parentPath(path), target)
    }
    throw QwenSFTError(.io, "\(path): too many links lead to each other")
}
