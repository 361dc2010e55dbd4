import Libc

/// Runs `body` with `path` as a C string. A path with a NUL byte is refused: the system would see only what stands before it.
package func withCPath<R>(_ path: String, _ body: (UnsafePointer<CChar>) throws(QwenSFTError) -> R) throws(QwenSFTError)
    -> R
{
    if path.isEmpty { throw QwenSFTError(.invalidArgument, "the path is empty") }
    if path.utf8.contains(0) {
        throw QwenSFTError(.invalidArgument, "the path '\(printable(path))' holds a NUL byte")
    }
    let bytes = path.utf8CString
    return try bytes.withUnsafeBufferPointer { (buffer) throws(QwenSFTError) -> R in
        guard let base = buffer.baseAddress else { throw QwenSFTError(.invalidArgument, "the path is empty") }
        return try body(base)
    }
}

/// The error for a failed system call on `path`; reads `errno`, so it must be the first thing done after the call.
package func systemError(_ action: String, _ path: String) -> QwenSFTError {
    let number = errno
    let reason = strerror(number).map { String(cString: $0) } ?? "error \(number)"
    switch number {
    case ENOENT: return QwenSFTError(.notFound, "\(path): no such file or directory")
    case ENOTDIR: return QwenSFTError(.notFound, "\(path): a part of the path is not a directory")
    case ENOMEM: return QwenSFTError(.outOfMemory, "\(path): cannot \(action): \(reason)")
    default: return QwenSFTError(.io, "\(path): cannot \(action): \(reason)")
    }
}

/// The same open file under a number above those of standard input, output and error: a program that was started with them
/// closed would print into a file that had got one of their numbers. A negative number stays as it is.
func aboveStandardStreams(_ descriptor: Int32) -> Int32 {
    guard (0...2).contains(descriptor) else { return descriptor }
    let higher = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
    let number = errno
    close(descriptor)
    errno = number
    return higher
}

/// Text from outside, as it may stand in a one-line message: control characters escaped, long text cut.
package func printable(_ text: String, limit: Int = 80) -> String {
    var result = ""
    var count = 0
    for scalar in text.unicodeScalars {
        if count == limit { return result + "…" }
        count += 1
        if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || scalar.value == 0x2028
            || scalar.value == 0x2029
        {
            result += "\\u{" + String(scalar.value, radix: 16) + "}"
        } else {
            result.unicodeScalars.append(scalar)
        }
    }
    return result
}

package func joinPath(_ directory: String, _ name: String) -> String {
    directory.utf8.last == UInt8(ascii: "/") ? directory + name : directory + "/" + name
}

/// The last component of a path: what messages about a file's content begin with.
package func fileName(_ path: String) -> String {
    String(path.split(separator: "/").last ?? Substring(path))
}

package enum FileKind: Sendable { case file, directory, other }

/// What stands at `path`, symbolic links followed; nil where there is nothing.
package func fileKind(_ path: String) throws(QwenSFTError) -> FileKind? {
    var info = stat()
    let result = try withCPath(path) { (p) throws(QwenSFTError) in stat(p, &info) }
    if result != 0 {
        if errno == ENOENT || errno == ENOTDIR { return nil }
        throw systemError("look at it", path)
    }
    switch info.st_mode & S_IFMT {
    case S_IFREG: return .file
    case S_IFDIR: return .directory
    default: return .other
    }
}

package func fileExists(_ path: String) throws(QwenSFTError) -> Bool {
    try fileKind(path) == .file
}

/// A regular file opened for reading at any offset, by any number of threads at once.
package final class ReadableFile: Sendable {
    package let path: String
    /// Bytes, when it was opened.
    package let size: Int
    private let descriptor: Int32

    package init(_ path: String) throws(QwenSFTError) {
        // O_NONBLOCK: opening a FIFO must not wait for a writer before it is refused below.
        let descriptor = try withCPath(path) { (p) throws(QwenSFTError) in open(p, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        if descriptor < 0 { throw systemError("open it", path) }
        var info = stat()
        if fstat(descriptor, &info) != 0 {
            let error = systemError("look at it", path)
            close(descriptor)
            throw error
        }
        if info.st_mode & S_IFMT != S_IFREG {
            close(descriptor)
            throw QwenSFTError(.io, "\(path): is not a regular file")
        }
        self.path = path
        self.size = Int(info.st_size)
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Fills all of `buffer` with the bytes from `offset` on.
    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(QwenSFTError) {
        guard offset >= 0, buffer.count <= size, offset <= size - buffer.count else {
            throw QwenSFTError(
                .invalidFile, "\(fileName(path)): ends after \(size) bytes, before byte \(offset) + \(buffer.count)")
        }
        var done = 0
        while done < buffer.count {
            guard let start = buffer.baseAddress else { return }
            let count = pread(descriptor, start + done, buffer.count - done, off_t(offset + done))
            if count < 0 {
                if errno == EINTR { continue }
                throw systemError("read it", path)
            }
            if count == 0 {
                throw QwenSFTError(
                    .invalidFile, "\(fileName(path)): was cut to \(offset + done) bytes while it was read")
            }
            done += count
        }
    }
}

/// A whole file read into memory of its own: what text files are parsed from.
///
/// A mapping would save the copy, but a file that somebody cuts meanwhile would then kill the process (SIGBUS).
package struct FileContents: ~Copyable, @unchecked Sendable {
    package let path: String
    private let buffer: UnsafeMutableRawBufferPointer

    /// More than any configuration, template or index has: one of gigabytes is something else, or broken.
    package static let documentLimit = 32 << 20
    /// The same for files that hold a vocabulary.
    package static let vocabularyLimit = 256 << 20

    /// - Throws: `invalidFile` for a file of more than `limit` bytes, before anything of it is read.
    package init(_ path: String, limit: Int = documentLimit) throws(QwenSFTError) {
        let file = try ReadableFile(path)
        guard file.size <= limit else {
            throw QwenSFTError(
                .invalidFile, "\(fileName(path)): \(file.size) bytes are more than such a file has (at most \(limit))")
        }
        try self.init(file, 0..<file.size)
    }

    /// Data of any size, from a file, a pipe or a device: "/dev/stdin", "/dev/fd/3". A pipe is read to its end.
    package init(data path: String) throws(QwenSFTError) {
        if try fileKind(path) == .file {
            try self.init(path, limit: .max)
        } else {
            try self.init(stream: path)
        }
    }

    private init(stream path: String) throws(QwenSFTError) {
        let descriptor = try withCPath(path) { (p) throws(QwenSFTError) in open(p, O_RDONLY | O_CLOEXEC) }
        if descriptor < 0 { throw systemError("open it", path) }
        defer { close(descriptor) }
        var memory: UnsafeMutableRawPointer?
        var (count, capacity) = (0, 0)
        do throws(QwenSFTError) {
            while true {
                if count == capacity {
                    capacity = max(1 << 16, 2 * capacity)
                    guard let larger = realloc(memory, capacity) else {
                        throw QwenSFTError(.outOfMemory, "\(path): no memory for \(capacity) bytes of it")
                    }
                    memory = larger
                }
                guard let start = memory else { break }
                let got = Libc.read(descriptor, start + count, capacity - count)
                if got < 0 {
                    if errno == EINTR { continue }
                    throw systemError("read it", path)
                }
                if got == 0 { break }
                count += got
            }
        } catch {
            free(memory)
            throw error
        }
        self.path = path
        buffer = UnsafeMutableRawBufferPointer(start: memory, count: count)
    }

    /// A part of a file; `range` must lie inside of it.
    package init(_ file: ReadableFile, _ range: Range<Int>) throws(QwenSFTError) {
        guard let memory = malloc(max(range.count, 1)) else {
            throw QwenSFTError(.outOfMemory, "\(file.path): no memory for \(range.count) bytes of it")
        }
        let buffer = UnsafeMutableRawBufferPointer(start: memory, count: range.count)
        do { try file.read(into: buffer, at: range.lowerBound) } catch {
            free(memory)
            throw error
        }
        self.path = file.path
        self.buffer = buffer
    }

    /// Bytes that are to be in a file.
    package init(_ bytes: [UInt8], path: String) throws(QwenSFTError) {
        guard let memory = malloc(max(bytes.count, 1)) else {
            throw QwenSFTError(.outOfMemory, "\(path): no memory for \(bytes.count) bytes of it")
        }
        self.path = path
        buffer = UnsafeMutableRawBufferPointer(start: memory, count: bytes.count)
        buffer.copyBytes(from: bytes)
    }

    deinit { free(buffer.baseAddress) }

    package var count: Int { buffer.count }

    /// The bytes, valid inside `body`.
    package borrowing func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws(QwenSFTError) -> R) throws(QwenSFTError)
        -> R
    {
        try body(UnsafeRawBufferPointer(buffer))
    }
}
