import Libc

/// The names in a directory without "." and "..", sorted by their bytes.
/// - Parameter onOtherName: called for every name that is not UTF-8 and therefore not listed.
package func listDirectory(_ path: String, onOtherName: () -> Void = {}) throws(QwenSFTError) -> [String] {
    guard let stream = try withCPath(path, { (p) throws(QwenSFTError) in opendir(p) }) else {
        throw systemError("list the directory", path)
    }
    defer { closedir(stream) }
    var names: [String] = []
    while true {
        errno = 0
        guard let entry = readdir(stream) else { break }
        let name = withUnsafePointer(to: &entry.pointee.d_name) { field in
            field.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: field.pointee)) { p in
                String(
                    validating: UnsafeBufferPointer(start: p, count: strlen(p)).lazy.map { UInt8(bitPattern: $0) },
                    as: UTF8.self)
            }
        }
        guard let name else {
            onOtherName()
            continue
        }
        if name != "." && name != ".." { names.append(name) }
    }
    if errno != 0 { throw systemError("list the directory", path) }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
}

/// The path without its last component; "." for a plain name.
package func parentPath(_ path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// The path without symbolic links; it must exist.
package func resolvePath(_ path: String) throws(QwenSFTError) -> String {
    guard let resolved = try withCPath(path, { (p) throws(QwenSFTError) in realpath(p, nil) }) else {
        throw systemError("resolve it", path)
    }
    defer { free(resolved) }
    guard let text = String(validatingCString: resolved) else {
        throw QwenSFTError(.invalidArgument, "\(path): its full path is not UTF-8")
    }
    return text
}

/// Creates a directory and its parents where they are missing.
package func makeDirectories(_ path: String) throws(QwenSFTError) {
    switch try fileKind(path) {
    case .directory: return
    case .file, .other: throw QwenSFTError(.io, "\(path): is a file, not a directory")
    case nil:
        try makeDirectories(parentPath(path))
        if mkdir(path, 0o777) != 0 && errno != EEXIST { throw systemError("create the directory", path) }
    }
}

/// What `stat` says of a path, or of a symbolic link itself; nil where nothing can be found out.
package func fileStatus(_ path: String, followsLinks: Bool = true) -> stat? {
    var info = stat()
    return (followsLinks ? stat(path, &info) : lstat(path, &info)) == 0 ? info : nil
}

extension stat {
    package var isFile: Bool { st_mode & S_IFMT == S_IFREG }
    package var isDirectory: Bool { st_mode & S_IFMT == S_IFDIR }

    /// Whether both are the same file or directory.
    package func isSame(as other: stat?) -> Bool { st_dev == other?.st_dev && st_ino == other?.st_ino }
}

/// A directory that is held open: what has to be done to it later then depends on its path no more.
package struct OpenDirectory: ~Copyable {
    package let path: String
    private let descriptor: Int32

    package init(_ path: String) throws(QwenSFTError) {
        let descriptor = try withCPath(path) { (p) throws(QwenSFTError) in
            open(p, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        if descriptor < 0 { throw systemError("open the directory", path) }
        self.descriptor = descriptor
        self.path = path
    }

    deinit {
        // A process that was forked meanwhile holds the descriptor too, and must not hold the lock.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    /// Waits until the names in it are on the disk.
    package func synchronize() throws(QwenSFTError) {
        // Some file systems cannot do this for a directory and say EINVAL.
        if fsync(descriptor) != 0 && errno != EINVAL { throw systemError("write the directory", path) }
    }

    /// Whether `path` leads here still.
    package var isInPlace: Bool {
        var info = stat()
        return fstat(descriptor, &info) == 0 && info.isSame(as: fileStatus(path))
    }

    /// Waits until no other writer holds the directory, for ten seconds at most; it is let go of with the value.
    package func lock() {
        for _ in 0..<1000 {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK { return }
            usleep(10_000)
        }
    }
}
