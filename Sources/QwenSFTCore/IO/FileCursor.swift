/// Reads the front of a file from beginning to end, in numbers and texts. Nothing is kept but a small buffer.
struct FileCursor {
    let file: ReadableFile
    /// Of the next byte.
    private(set) var position = 0
    /// Nothing is read from here on.
    private let limit: Int
    private var buffer: [UInt8] = []
    private var bufferStart = 0

    init(_ file: ReadableFile, limit: Int) {
        self.file = file
        self.limit = min(limit, file.size)
    }

    /// Bytes that may still be read.
    var remaining: Int { limit - position }

    /// A little-endian number.
    mutating func integer<Number: FixedWidthInteger & UnsignedInteger>(
        _ type: Number.Type
    ) throws(QwenSFTError) -> Number {
        let size = Number.bitWidth / 8
        try fill(size)
        let start = position - bufferStart
        var value: Number = 0
        for i in 0..<size { value |= Number(buffer[start + i]) << Number(8 * i) }
        position += size
        return value
    }

    /// The next bytes; valid until more is read.
    mutating func bytes(_ count: Int) throws(QwenSFTError) -> ArraySlice<UInt8> {
        try fill(count)
        let start = position - bufferStart
        position += count
        return buffer[start..<start + count]
    }

    /// Makes sure that the buffer holds the next bytes.
    private mutating func fill(_ count: Int) throws(QwenSFTError) {
        if position >= bufferStart, position + count <= bufferStart + buffer.count { return }
        guard count <= remaining else {
            throw limit < file.size
                ? QwenSFTError(
                    .unsupported,
                    "\(fileName(file.path)): its header is longer than any model's (more than \(limit) bytes)")
                : QwenSFTError(
                    .invalidFile,
                    "\(fileName(file.path)): ends after \(file.size) bytes, within its header")
        }
        let size = min(max(count, 1 << 16), remaining)
        try Memory.require(size, for: "\(file.path): its header")
        buffer = Array(repeating: 0, count: size)
        bufferStart = position
        let (file, start) = (file, position)
        let result: Result<Void, QwenSFTError> = buffer.withUnsafeMutableBytes { bytes in
            Result { () throws(QwenSFTError) in try file.read(into: bytes, at: start) }
        }
        try result.get()
    }
}
