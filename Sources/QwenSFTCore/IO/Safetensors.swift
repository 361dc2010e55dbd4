import Libc

/// A tensor in a file, safetensors or GGUF: where it lies, and how to read it.
package struct StoredTensor: Sendable {
    package let name: String
    /// The format's own name of the element type: "F32", "BF16", "I64", …
    package let elementType: String
    package let shape: [Int]
    /// Product of the shape.
    package let elementCount: Int
    /// Offset of the first byte in `file`, and the number of bytes.
    package let offset: Int
    package let byteCount: Int
    package let file: ReadableFile

    /// What its elements are read as: their own type, float32 for float64 and for blocks; nil where they cannot be weights.
    package var dtype: DType? {
        switch elementType {
        case "F32", "F64": .float32
        case "BF16": .bfloat16
        case "F16": .float16
        default: blockFormat == nil ? nil : .float32
        }
    }

    /// Reads the elements of `range` (all of them by default), converted to `dtype`, to `target`, which may be unaligned.
    ///
    /// Safe from several threads at once. The file is read through a small buffer, so that no more memory is used than `target`.
    /// - Throws: `unsupported` where the elements are not floating-point numbers of 64, 32 or 16 bits; `io`, `invalidFile`.
    package func read(
        _ range: Range<Int>? = nil, as dtype: DType, into target: UnsafeMutableRawPointer
    ) throws(QwenSFTError) {
        let source = try requireFloatingPoint()
        let range = range ?? 0..<elementCount
        guard range.lowerBound >= 0, range.upperBound <= elementCount else {
            throw QwenSFTError(
                .invalidArgument,
                "\(fileName(file.path)): tensor '\(printable(name))' has no elements \(range) of \(elementCount)")
        }
        if let blockFormat { return try readBlocks(blockFormat, range, as: dtype, into: target) }
        let elementSize = isFloat64 ? 8 : source.byteCount
        let start = offset + range.lowerBound * elementSize
        if source == dtype, !isFloat64 {
            let bytes = UnsafeMutableRawBufferPointer(start: target, count: range.count * elementSize)
            return try file.read(into: bytes, at: start)
        }
        let chunk = 1 << 15
        guard let buffer = malloc(chunk * 8) else {
            throw QwenSFTError(.outOfMemory, "\(file.path): no memory to read it")
        }
        defer { free(buffer) }
        var done = 0
        while done < range.count {
            let count = min(chunk, range.count - done)
            let bytes = UnsafeMutableRawBufferPointer(start: buffer, count: count * elementSize)
            try file.read(into: bytes, at: start + done * elementSize)
            if isFloat64 {
                // In place: every float32 ends before the next float64 begins.
                convertFloat64(from: buffer, to: buffer.assumingMemoryBound(to: Float.self), count: count)
            }
            convertElements(from: buffer, source, to: target + done * dtype.byteCount, dtype, count: count)
            done += count
        }
    }

    /// Reads its bytes as they are; there are as many as `target` holds.
    package func readBytes(into target: UnsafeMutableRawBufferPointer) throws(QwenSFTError) {
        try file.read(into: target, at: offset)
    }

    package var isFloat64: Bool { elementType == "F64" }

    /// What its elements are read as.
    /// - Throws: `unsupported` where they cannot be weights.
    @discardableResult
    package func requireFloatingPoint() throws(QwenSFTError) -> DType {
        if let dtype { return dtype }
        throw QwenSFTError(
            .unsupported,
            "\(fileName(file.path)): tensor '\(printable(name))' is \(elementType), not F32, BF16, F16 or F64")
    }
}

/// The header of one safetensors file, checked completely when it is opened: after that, every tensor can be read.
///
/// Format (huggingface/safetensors): eight bytes N, little-endian; N bytes of JSON `{name: {dtype, shape, data_offsets}}`; the data,
/// which the tensors must cover without gap or overlap.
package struct SafetensorsFile: Sendable {
    /// In the order of the header.
    package let tensors: [StoredTensor]
    /// The header's notes, all of them strings.
    package let metadata: JSONFields

    /// The format's own limit for the header.
    private static let headerLimit = 100_000_000

    package init(_ path: String) throws(QwenSFTError) {
        let file = try ReadableFile(path)
        let name = fileName(path)
        func broken(_ message: String) -> QwenSFTError { QwenSFTError(.invalidFile, "\(name): \(message)") }

        guard file.size >= 8 else { throw broken("\(file.size) bytes are too few for a safetensors file") }
        var length = UInt64(0)
        try withUnsafeMutableBytes(of: &length) { (bytes) throws(QwenSFTError) in try file.read(into: bytes, at: 0) }
        length = UInt64(littleEndian: length)
        guard length <= UInt64(Self.headerLimit) else {
            throw broken("the header's length \(length) is larger than the format allows (\(Self.headerLimit))")
        }
        let headerLength = Int(length)
        guard headerLength <= file.size - 8 else {
            throw broken("the header's length \(headerLength) is larger than the file (\(file.size) bytes)")
        }
        let dataStart = 8 + headerLength
        let (tensors, metadata) = try FileContents(file, 8..<dataStart).withBytes { (bytes) throws(QwenSFTError) in
            guard bytes.first == UInt8(ascii: "{") else { throw broken("the header must begin with '{'") }
            return try Self.parseHeader(bytes, file: file, dataStart: dataStart)
        }
        try Self.checkCoverage(tensors, dataStart: dataStart, fileSize: file.size, name)
        self.tensors = tensors
        self.metadata = try JSONFields(.object(metadata), file: name + " (metadata)")
    }

    private static func parseHeader(
        _ bytes: UnsafeRawBufferPointer, file: ReadableFile, dataStart: Int
    ) throws(QwenSFTError) -> ([StoredTensor], metadata: JSONObject) {
        var reader = JSONReader(bytes, file: fileName(file.path) + " (header)", depthLimit: 8)
        var tensors: [StoredTensor] = []
        var metadata = JSONObject()
        var seen: Set<[UInt8]> = []
        try reader.beginObject()
        while let key = try reader.nextKey() {
            let name = String(decoding: key, as: UTF8.self)
            guard seen.insert(Array(key)).inserted else {
                throw reader.error("the name '\(printable(name))' occurs twice", at: reader.keyPosition)
            }
            if name == "__metadata__" {
                try reader.beginObject()
                while let key = try reader.nextKey() {
                    let key = String(decoding: key, as: UTF8.self)
                    metadata[key] = .string(String(decoding: try reader.string(), as: UTF8.self))
                }
            } else {
                tensors.append(try parseTensor(&reader, name, file, dataStart))
            }
        }
        try reader.end()
        return (tensors, metadata)
    }

    private static func parseTensor(
        _ reader: inout JSONReader, _ name: String, _ file: ReadableFile, _ dataStart: Int
    ) throws(QwenSFTError) -> StoredTensor {
        func broken(_ message: String) -> QwenSFTError {
            QwenSFTError(.invalidFile, "\(fileName(file.path)): tensor '\(printable(name))' \(message)")
        }
        var type: String?
        var shape: [Int]?
        var offsets: [Int]?
        try reader.beginObject()
        while let bytes = try reader.nextKey() {
            let key = String(decoding: bytes, as: UTF8.self)
            switch key {
            case "dtype" where type == nil: type = String(decoding: try reader.string(), as: UTF8.self)
            case "shape" where shape == nil: shape = try integers(&reader)
            case "data_offsets" where offsets == nil: offsets = try integers(&reader)
            case "dtype", "shape", "data_offsets": throw broken("has two entries '\(key)'")
            default: throw broken("has an unknown entry '\(printable(key))'")
            }
        }
        guard let type else { throw broken("has no dtype") }
        guard let shape else { throw broken("has no shape") }
        guard let offsets, offsets.count == 2 else { throw broken("has no data_offsets [start, end]") }
        guard let elementBits = elementBits[type] else { throw broken("has the unknown dtype '\(printable(type))'") }

        var count = 1
        var bitCount = elementBits
        for size in shape {
            guard size >= 0 else { throw broken("has the shape \(shape)") }
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            let (bits, overflow2) = product.multipliedReportingOverflow(by: elementBits)
            guard !overflow && !overflow2 else { throw broken("has the shape \(shape), too large for any memory") }
            count = product
            bitCount = bits
        }
        guard bitCount.isMultiple(of: 8) else { throw broken("has the shape \(shape), which ends inside a byte") }
        let byteCount = bitCount / 8
        guard offsets[0] >= 0, offsets[0] <= offsets[1], offsets[1] <= file.size - dataStart else {
            throw broken(
                "lies at \(offsets[0])–\(offsets[1]), outside of the file's \(file.size - dataStart) data bytes")
        }
        guard offsets[1] - offsets[0] == byteCount else {
            throw broken("has \(offsets[1] - offsets[0]) bytes, but \(type) \(shape) needs \(byteCount)")
        }
        return StoredTensor(
            name: name, elementType: type, shape: shape, elementCount: count, offset: dataStart + offsets[0],
            byteCount: byteCount, file: file)
    }

    private static func integers(_ reader: inout JSONReader) throws(QwenSFTError) -> [Int] {
        var result: [Int] = []
        try reader.beginArray()
        while try reader.nextElement() { result.append(try reader.integer()) }
        return result
    }

    private static func checkCoverage(
        _ tensors: [StoredTensor], dataStart: Int, fileSize: Int, _ name: String
    ) throws(QwenSFTError) {
        var end = dataStart
        var previous = ""
        for tensor in tensors.sorted(by: { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }) {
            let here = "tensor '\(printable(tensor.name))'"
            if tensor.offset < end {
                throw QwenSFTError(.invalidFile, "\(name): \(here) overlaps tensor '\(printable(previous))'")
            }
            if tensor.offset > end {
                throw QwenSFTError(.invalidFile, "\(name): \(tensor.offset - end) unused bytes lie before \(here)")
            }
            end += tensor.byteCount
            previous = tensor.name
        }
        if end < fileSize {
            throw QwenSFTError(.invalidFile, "\(name): \(fileSize - end) unused bytes lie after the last tensor")
        }
    }

    /// Every type of the format, whether it can be a weight here or not.
    private static let elementBits = [
        "C64": 64, "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
        "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
    ]
}
