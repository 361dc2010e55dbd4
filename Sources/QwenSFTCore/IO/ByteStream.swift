import Libc

/// Bytes from first to last, out of a file, a pipe, a device or a function. What gzip or zstd compressed is unpacked on the way.
package final class ByteStream {
    /// Writes the next bytes into the buffer and says how many; 0 at the end.
    package typealias Read = (UnsafeMutableRawBufferPointer) throws(QwenSFTError) -> Int

    /// What messages call it.
    package let name: String
    /// What it was compressed with; nil: nothing.
    package private(set) var compression: Compression?
    private var next: Read

    /// - Parameter path: of a file, a pipe or a device such as /dev/stdin.
    package convenience init(path: String) throws(QwenSFTError) {
        if try fileKind(path) == .directory { throw QwenSFTError(.io, "\(path): is a directory, not a file") }
        let file = try OpenFile(path)
        try self.init(name: fileName(path), reading: file.read)
    }

    package convenience init(bytes: [UInt8], name: String) throws(QwenSFTError) {
        var position = 0
        try self.init(name: name) { buffer in
            let count = min(buffer.count, bytes.count - position)
            buffer.copyBytes(from: bytes[position..<position + count])
            position += count
            return count
        }
    }

    package init(name: String, reading source: @escaping Read) throws(QwenSFTError) {
        self.name = name
        let start = try Start(source)
        next = start.read
        if let other = start.bytes.withUnsafeBufferPointer(refusedKind) {
            throw QwenSFTError(.unsupported, "\(name): \(other)")
        }
        compression = Compression(start: start.bytes)
        if let compression { next = try compression.unpacking(name, start.read) }
    }

    /// - Returns: how many bytes were written to the buffer; 0 at the end.
    package func read(into buffer: UnsafeMutableRawBufferPointer) throws(QwenSFTError) -> Int { try next(buffer) }
}

/// The first bytes, which tell what follows, and then the rest.
private final class Start {
    private(set) var bytes = [UInt8](repeating: 0, count: 6)
    private var given = 0
    private let source: ByteStream.Read

    init(_ source: @escaping ByteStream.Read) throws(QwenSFTError) {
        self.source = source
        var count = 0
        while count < 6 {
            let got = try read(6 - count)
            if got.isEmpty { break }
            bytes.replaceSubrange(count..<count + got.count, with: got)
            count += got.count
        }
        bytes.removeSubrange(count...)
    }

    private func read(_ count: Int) throws(QwenSFTError) -> ArraySlice<UInt8> {
        var piece: UInt64 = 0
        return try withUnsafeMutableBytes(of: &piece) { (buffer) throws(QwenSFTError) in
            let got = try source(UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]))
            return ArraySlice(buffer[..<got])
        }
    }

    func read(_ buffer: UnsafeMutableRawBufferPointer) throws(QwenSFTError) -> Int {
        guard given < bytes.count else { return try source(buffer) }
        let count = min(buffer.count, bytes.count - given)
        buffer.copyBytes(from: bytes[given..<given + count])
        given += count
        return count
    }
}

/// What a file is that begins so, if it is a known kind that is not read.
private func refusedKind(_ start: UnsafeBufferPointer<UInt8>) -> String? {
    let kinds: [([UInt8], String)] = [
        ([0x50, 0x41, 0x52, 0x31], "is a Parquet file; the Python package reads those, with pyarrow"),
        ([0x41, 0x52, 0x52, 0x4F, 0x57], "is an Arrow file; the Python package reads those as `datasets` objects"),
        ([0xFD, 0x37, 0x7A, 0x58, 0x5A], "is compressed with xz; gzip and zstd are read"),
        ([0x42, 0x5A, 0x68], "is compressed with bzip2; gzip and zstd are read"),
        ([0x50, 0x4B, 0x03, 0x04], "is a zip archive; gzip and zstd are read"),
        ([0xFF, 0xFE], "is UTF-16; data must be UTF-8"), ([0xFE, 0xFF], "is UTF-16; data must be UTF-8"),
    ]
    return kinds.first { start.starts(with: $0.0) }?.1
}

/// A file that is read once, from its beginning.
private final class OpenFile {
    private let path: String
    private let descriptor: Int32

    init(_ path: String) throws(QwenSFTError) {
        self.path = path
        descriptor = aboveStandardStreams(
            try withCPath(path) { (p) throws(QwenSFTError) in open(p, O_RDONLY | O_CLOEXEC) })
        if descriptor < 0 { throw systemError("open it", path) }
    }

    deinit { close(descriptor) }

    func read(_ buffer: UnsafeMutableRawBufferPointer) throws(QwenSFTError) -> Int {
        while true {
            let count = Libc.read(descriptor, buffer.baseAddress, buffer.count)
            if count >= 0 { return count }
            if errno != EINTR { throw systemError("read it", path) }
        }
    }
}
