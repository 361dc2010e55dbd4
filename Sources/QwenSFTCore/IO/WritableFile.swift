import Glibc

/// A new file that is written from front to back. It counts as written only after `finish`.
package struct WritableFile: ~Copyable {
    package let path: String
    private var descriptor: Int32

    /// Creates the file; one that is there already is an error.
    package init(creating path: String) throws(QwenSFTError) {
        let descriptor = try withCPath(path) { (p) throws(QwenSFTError) in
            open(p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        }
        if descriptor < 0 { throw systemError("create it", path) }
        self.path = path
        self.descriptor = descriptor
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    package mutating func write(_ bytes: UnsafeRawBufferPointer) throws(QwenSFTError) {
        guard let start = bytes.baseAddress else { return }
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(descriptor, start + done, bytes.count - done)
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

/// Copies a regular file's content to a new file.
package func copyFile(_ input: ReadableFile, to target: String) throws(QwenSFTError) {
    var output = try WritableFile(creating: target)
    let chunk = 1 << 20
    guard let memory = malloc(chunk) else { throw QwenSFTError(.outOfMemory, "\(input.path): no memory to copy it") }
    defer { free(memory) }
    var done = 0
    while done < input.size {
        let part = UnsafeMutableRawBufferPointer(start: memory, count: min(chunk, input.size - done))
        try input.read(into: part, at: done)
        try output.write(UnsafeRawBufferPointer(part))
        done += part.count
    }
    try output.finish()
}

/// Lets `write` make a file beside `path` and puts it there in one step: until then, what is at `path` stays whole.
package func replaceFile(
    _ path: String, _ write: (_ temporaryPath: String) throws(QwenSFTError) -> Void
) throws(QwenSFTError) {
    let temporary = "\(path).saving-\(getpid())"
    try withCPath(temporary) { (p) throws(QwenSFTError) in _ = unlink(p) }
    do throws(QwenSFTError) {
        try write(temporary)
        try withCPath(path) { (p) throws(QwenSFTError) in
            if rename(temporary, p) != 0 { throw systemError("put it in its place", path) }
        }
    } catch {
        unlink(temporary)
        throw error
    }
}
