import CSystem
import Libc

/// Bytes that are written once, from first to last, and then only read: in memory while they are few, in a file without a name
/// once they are many. Pages of such a file are the system's to drop, and its blocks are freed with it.
package final class SpillFile: @unchecked Sendable {
    private let purpose: String
    private let memoryLimit: Int
    private var buffer: LargeArray<UInt8>
    /// -1: everything is in `buffer`.
    private var descriptor: Int32 = -1
    private var mapping: UnsafeMutableRawPointer?
    /// Bytes in the file; those in `buffer` follow.
    private var written = 0

    /// What is gathered before it is written.
    private static let pieceSize = 1 << 20

    /// - Parameters:
    ///   - purpose: what it is for, in the message of an error.
    ///   - memoryLimit: the most bytes that stay in memory.
    package init(purpose: String, memoryLimit: Int) {
        self.purpose = purpose
        self.memoryLimit = memoryLimit
        buffer = LargeArray(purpose: purpose)
    }

    deinit {
        if let mapping { munmap(mapping, written) }
        if descriptor >= 0 { close(descriptor) }
    }

    package var count: Int { written + buffer.count }
    package var isInFile: Bool { descriptor >= 0 }

    /// - Throws: `outOfMemory`; `io` where the disk is full.
    package func append(_ bytes: UnsafeRawBufferPointer) throws(QwenSFTError) {
        try buffer.append(contentsOf: bytes.assumingMemoryBound(to: UInt8.self))
        if buffer.count > (isInFile ? Self.pieceSize : memoryLimit) { try flush() }
    }

    package func append<Element: BitwiseCopyable>(_ elements: [Element]) throws(QwenSFTError) {
        try elements.withUnsafeBufferPointer { (elements) throws(QwenSFTError) in
            try append(UnsafeRawBufferPointer(elements))
        }
    }

    /// The last of the bytes has been appended. `bytes` are valid from then on.
    package func seal() throws(QwenSFTError) {
        guard isInFile else { return }
        try flush()
        buffer = LargeArray(purpose: purpose)
        // Nobody else can cut a file without a name: what is mapped stays there.
        guard let start = mmap(nil, written, PROT_READ, MAP_SHARED, descriptor, 0), start != MAP_FAILED else {
            throw systemError("map it", "\(purpose), in a temporary file")
        }
        mapping = start
    }

    /// All bytes, once they are sealed; valid as long as this object.
    package var bytes: UnsafeRawBufferPointer {
        mapping.map { UnsafeRawBufferPointer(start: $0, count: written) } ?? UnsafeRawBufferPointer(buffer.buffer)
    }

    private func flush() throws(QwenSFTError) {
        if descriptor < 0 { descriptor = try Self.temporaryFile(purpose) }
        let all = UnsafeRawBufferPointer(buffer.buffer)
        // Whoever exceeds the process's limit is sent a signal that ends the process.
        guard UInt64(written + all.count) <= qk_file_size_limit() else {
            errno = EFBIG
            throw systemError("write it", "\(purpose), in a temporary file")
        }
        var done = 0
        while done < all.count, let base = all.baseAddress {
            let count = write(descriptor, base + done, all.count - done)
            if count < 0 {
                if errno == EINTR { continue }
                throw systemError("write it", "\(purpose), in a temporary file")
            }
            done += count
        }
        written += done
        // What is left of the memory that it took before there was a file.
        if written == done { buffer = LargeArray(purpose: purpose) }
        buffer.removeAll()
    }

    /// Of a file that nobody else can open. Where there is room for much rather than where it is fast: /tmp is often memory.
    private static func temporaryFile(_ purpose: String) throws(QwenSFTError) -> Int32 {
        for directory in ["/var/tmp", "/tmp"] {
            let descriptor = aboveStandardStreams(qk_unnamed_file(directory))
            if descriptor >= 0 { return descriptor }
        }
        throw systemError("create it", "\(purpose), in a temporary file in /var/tmp or /tmp")
    }
}
