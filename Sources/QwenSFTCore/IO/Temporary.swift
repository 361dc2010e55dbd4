import Libc

/// Files and directories that are being written beside their place.
///
/// One for `NAME` is called `.NAME.saving-` and 16 random digits: a process number is not unique where containers share a
/// directory. Its writer holds a lock on it (flock) that ends with the writer, however that ends; so whoever comes later can
/// tell what is being written from what was left behind.
package enum Temporary {
    /// A file or directory of the writer's own, with its lock.
    package struct Place: ~Copyable {
        package let path: String
        /// Of the file itself, open for writing; of a directory, for reading.
        fileprivate let descriptor: Int32

        deinit {
            // A process that was forked meanwhile holds the descriptor too, and must not hold the lock.
            flock(descriptor, LOCK_UN)
            close(descriptor)
        }

        /// Another descriptor of the file. The lock ends with the last of them.
        package func duplicate() throws(QwenSFTError) -> Int32 {
            let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
            if copy < 0 { throw systemError("open it", path) }
            return copy
        }
    }

    /// Creates an empty file in `directory` that is to become its file `name`.
    package static func file(in directory: String, for name: String) throws(QwenSFTError) -> Place {
        try place(in: directory, for: name) { path in
            open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        }
    }

    /// Creates an empty directory in `directory` that is to become its directory `name`.
    package static func directory(in directory: String, for name: String) throws(QwenSFTError) -> Place {
        try place(in: directory, for: name) { path in
            guard mkdir(path, 0o777) == 0 else { return -1 }
            let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            if descriptor < 0 {
                // Gone again: another writer took it for a leftover.
                let number = errno == ENOENT ? EEXIST : errno
                rmdir(path)
                errno = number
            }
            return descriptor
        }
    }

    /// Another writer may take what was created and is not yet locked for a leftover: then it is tried again, as where there is
    /// one of that name (EEXIST).
    private static func place(
        in directory: String, for name: String, _ create: (UnsafePointer<CChar>) -> Int32
    ) throws(QwenSFTError) -> Place {
        for _ in 0..<100 {
            let path = joinPath(directory, prefix(name) + digits(of: UInt64.random(in: 0...UInt64.max)))
            let descriptor = aboveStandardStreams(try withCPath(path) { (p) throws(QwenSFTError) in create(p) })
            if descriptor < 0 {
                if errno == EEXIST { continue }
                throw systemError("create it", path)
            }
            let place = Place(path: path, descriptor: descriptor)
            // Where a file system has no locks, nobody takes anything for a leftover either.
            if flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK { continue }
            var info = stat()
            if fstat(descriptor, &info) == 0, info.isSame(as: fileStatus(path, followsLinks: false)) { return place }
        }
        throw QwenSFTError(.io, "\(directory): nothing can be created in it for '\(name)'")
    }

    /// Calls `remove` with every temporary file and directory for `name` in `directory` whose writer is gone.
    package static func forEachLeftover(in directory: String, for name: String, _ remove: (String) -> Void) {
        let prefix = prefix(name)
        for candidate in (try? listDirectory(directory)) ?? []
        where candidate.hasPrefix(prefix) && isDigits(candidate.utf8.dropFirst(prefix.utf8.count)) {
            let path = joinPath(directory, candidate)
            let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            guard descriptor >= 0 else { continue }
            var info = stat()
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0, fstat(descriptor, &info) == 0,
                info.isSame(as: fileStatus(path, followsLinks: false))
            {
                remove(path)
            }
            close(descriptor)
        }
    }

    // MARK: Names

    /// A long name is cut, so that the whole fits into the 255 bytes that a name may have.
    private static func prefix(_ name: String) -> String {
        var short = name
        while short.utf8.count > 200 { short.removeLast() }
        return ".\(short).saving-"
    }

    private static func digits(of number: UInt64) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: 16 - text.utf8.count) + text
    }

    private static func isDigits(_ text: some Collection<UInt8>) -> Bool {
        text.count == 16
            && text.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }
}
