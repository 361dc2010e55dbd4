import Libc

/// A file that others may read while it grows.
final class AppendedFile {
    private let path: String
    private let descriptor: Int32

    /// Begins the file, in the place of one that is there.
    init(_ path: String) throws(QwenSFTError) {
        self.path = path
        let descriptor = try withCPath(path) { (p) throws(QwenSFTError) in
            open(p, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o666)
        }
        self.descriptor = aboveStandardStreams(descriptor)
        if self.descriptor < 0 { throw systemError("create it", path) }
    }

    deinit { close(descriptor) }

    /// Writes the bytes at once, so that readers see all of them or none, as far as the file system has room.
    func append(_ bytes: [UInt8]) throws(QwenSFTError) {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { Libc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno != EINTR { throw systemError("write it", path) }
            done += max(0, count)
        }
    }
}
