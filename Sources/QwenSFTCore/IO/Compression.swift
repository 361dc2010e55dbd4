import CSystem
import Libc

/// How a stream is compressed. What unpacks it is the system's library, looked for when it is needed: this one does not depend on it.
package enum Compression: String, Sendable {
    case gzip, zstd

    init?(start: [UInt8]) {
        if start.starts(with: [0x1F, 0x8B]) {
            self = .gzip
        } else if start.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
            self = .zstd
        } else {
            return nil
        }
    }

    /// - Throws: `unsupported` where the system does not have the library.
    func unpacking(_ name: String, _ source: @escaping ByteStream.Read) throws(QwenSFTError) -> ByteStream.Read {
        switch self {
        case .gzip: try GzipReader(name, source).read
        case .zstd: try ZstdReader(name, source).read
        }
    }
}

/// A library of the system's, and a function of it by its name.
private struct SystemLibrary {
    private let handle: UnsafeMutableRawPointer
    private let missing: QwenSFTError

    init(_ file: String, package: String, for purpose: String) throws(QwenSFTError) {
        missing = QwenSFTError(
            .unsupported, "\(purpose), and \(file), which unpacks it, cannot be loaded (Debian's package \(package))")
        guard let handle = dlopen(file, RTLD_NOW | RTLD_LOCAL) else { throw missing }
        self.handle = handle
    }

    func function<F>(_ name: String, as type: F.Type) throws(QwenSFTError) -> F {
        guard let address = dlsym(handle, name) else { throw missing }
        return unsafeBitCast(address, to: type)
    }
}

/// Compressed bytes on their way into an unpacker.
private final class CompressedInput {
    let name: String
    private let source: ByteStream.Read
    private var bytes = LargeArray<UInt8>(purpose: "compressed data")

    init(_ name: String, _ source: @escaping ByteStream.Read) throws(QwenSFTError) {
        self.name = name
        self.source = source
        try bytes.append(repeating: 0, count: 1 << 16)
    }

    /// More of them, valid until the next call; empty at the end.
    func more() throws(QwenSFTError) -> UnsafeRawBufferPointer {
        let buffer = UnsafeMutableRawBufferPointer(mutating: UnsafeRawBufferPointer(bytes.buffer))
        return UnsafeRawBufferPointer(rebasing: buffer[..<(try source(buffer))])
    }

    func damaged(_ why: String) -> QwenSFTError { QwenSFTError(.invalidFile, "\(name): \(why)") }
    var endsEarly: QwenSFTError { damaged("ends in the middle of its compressed data") }
}

private final class GzipReader {
    private typealias Stream = UnsafeMutablePointer<qk_z_stream>
    private let inflate: @convention(c) (Stream, Int32) -> Int32
    private let reset: @convention(c) (Stream) -> Int32
    private let end: @convention(c) (Stream) -> Int32
    private let input: CompressedInput
    private let stream: Stream
    private var isAtEnd = false
    /// Inside of a member; a file may have several, one after another.
    private var isInside = true

    init(_ name: String, _ source: @escaping ByteStream.Read) throws(QwenSFTError) {
        let library = try SystemLibrary(
            sharedLibrary("z", version: 1), package: "zlib1g", for: "\(name): is compressed with gzip")
        typealias Begin = @convention(c) (Stream, Int32, UnsafePointer<CChar>, Int32) -> Int32
        let begin = try library.function("inflateInit2_", as: Begin.self)
        inflate = try library.function("inflate", as: (@convention(c) (Stream, Int32) -> Int32).self)
        reset = try library.function("inflateReset", as: (@convention(c) (Stream) -> Int32).self)
        end = try library.function("inflateEnd", as: (@convention(c) (Stream) -> Int32).self)
        input = try CompressedInput(name, source)
        stream = .allocate(capacity: 1)
        stream.initialize(to: qk_z_stream())
        // 15: windows of any size; 16: gzip's header and check sums.
        guard begin(stream, 15 + 16, "1", Int32(MemoryLayout<qk_z_stream>.size)) == 0 else {
            throw QwenSFTError(.outOfMemory, "\(name): gzip data cannot be unpacked")
        }
    }

    deinit {
        _ = end(stream)
        stream.deallocate()
    }

    func read(_ buffer: UnsafeMutableRawBufferPointer) throws(QwenSFTError) -> Int {
        let room = min(buffer.count, 1 << 30)
        stream.pointee.next_out = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(room)
        while stream.pointee.avail_out == UInt32(room) {
            if stream.pointee.avail_in == 0, !isAtEnd {
                let more = try input.more()
                isAtEnd = more.isEmpty
                stream.pointee.next_in = more.baseAddress?.assumingMemoryBound(to: UInt8.self)
                stream.pointee.avail_in = UInt32(more.count)
            }
            if !isInside {
                if isAtEnd, stream.pointee.avail_in == 0 { break }
                _ = reset(stream)
                isInside = true
            }
            switch inflate(stream, 0) {
            case 0: continue
            case 1: isInside = false
            case -5:  // no progress
                if isAtEnd { throw input.endsEarly }
            case -4: throw QwenSFTError(.outOfMemory, "\(input.name): no memory to unpack gzip data")
            default:
                let why = stream.pointee.msg.map { String(cString: $0) } ?? "unknown"
                throw input.damaged("is damaged gzip data (\(why))")
            }
        }
        return room - Int(stream.pointee.avail_out)
    }
}

private final class ZstdReader {
    private typealias Decompress =
        @convention(c) (
            OpaquePointer, UnsafeMutablePointer<qk_zstd_output>, UnsafeMutablePointer<qk_zstd_input>
        ) -> Int
    private let decompress: Decompress
    private let isError: @convention(c) (Int) -> UInt32
    private let errorName: @convention(c) (Int) -> UnsafePointer<CChar>?
    private let free: @convention(c) (OpaquePointer) -> Int
    private let context: OpaquePointer
    private let input: CompressedInput
    private var given = qk_zstd_input()
    private var isAtEnd = false
    /// What the last call expected to come; 0 at the end of a frame.
    private var expected = 1

    init(_ name: String, _ source: @escaping ByteStream.Read) throws(QwenSFTError) {
        let library = try SystemLibrary(
            sharedLibrary("zstd", version: 1), package: "libzstd1", for: "\(name): is compressed with zstd")
        let create = try library.function("ZSTD_createDStream", as: (@convention(c) () -> OpaquePointer?).self)
        decompress = try library.function("ZSTD_decompressStream", as: Decompress.self)
        isError = try library.function("ZSTD_isError", as: (@convention(c) (Int) -> UInt32).self)
        errorName = try library.function(
            "ZSTD_getErrorName", as: (@convention(c) (Int) -> UnsafePointer<CChar>?).self)
        free = try library.function("ZSTD_freeDStream", as: (@convention(c) (OpaquePointer) -> Int).self)
        input = try CompressedInput(name, source)
        guard let context = create() else {
            throw QwenSFTError(.outOfMemory, "\(name): zstd data cannot be unpacked")
        }
        self.context = context
    }

    deinit { _ = free(context) }

    func read(_ buffer: UnsafeMutableRawBufferPointer) throws(QwenSFTError) -> Int {
        var output = qk_zstd_output(dst: buffer.baseAddress, size: buffer.count, pos: 0)
        while output.pos == 0 {
            if given.pos == given.size, !isAtEnd {
                let more = try input.more()
                isAtEnd = more.isEmpty
                given = qk_zstd_input(src: more.baseAddress, size: more.count, pos: 0)
            }
            let isLast = isAtEnd && given.pos == given.size
            if isLast, expected == 0 { return 0 }
            // Without more to unpack, it may still have something to give.
            expected = decompress(context, &output, &given)
            if isLast, output.pos == 0, isError(expected) == 0 { throw input.endsEarly }
            if isError(expected) != 0 {
                let why = errorName(expected).map { String(cString: $0) } ?? "unknown"
                throw input.damaged("is damaged zstd data (\(why))")
            }
        }
        return output.pos
    }
}
