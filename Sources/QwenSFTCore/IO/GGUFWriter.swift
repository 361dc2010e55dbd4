import Libc

/// A tensor to be written to a GGUF file: its values lie in memory that must stay as it is until then.
package struct GGUFTensorSource {
    package let name: String
    package let shape: [Int]
    package let values: UnsafeRawPointer
    let valuesType: DType
    let type: GGUFElementType
    /// What every value is multiplied by; other than 1 for float32 only.
    let factor: Float

    package init(
        name: String, shape: [Int], values: UnsafeRawPointer, valuesType: DType, type: GGUFElementType,
        factor: Float = 1
    ) {
        (self.name, self.shape, self.values) = (name, shape, values)
        (self.valuesType, self.type, self.factor) = (valuesType, type, factor)
    }

    var count: Int { shape.reduce(1, *) }  // it lies in memory: no overflow
    var byteCount: Int { count / type.elements * type.bytes }
}

/// Writes a file in version 3 of the format, keys and tensors in this order. Values are converted in small pieces on their way.
/// - Parameter onProgress: called with the bytes of the tensors written, and all of them; `false` cancels.
/// - Throws: `nonFinite` for a block whose scale has no room; `io`, `outOfMemory`, `cancelled`.
package func writeGGUF(
    _ entries: [GGUFEntry], _ tensors: [GGUFTensorSource], to file: inout WritableFile,
    onProgress: (_ done: Int, _ total: Int) -> Bool
) throws(QwenSFTError) {
    var header = GGUFHeaderWriter()
    header.put(UInt32(0x4655_4747))
    header.put(UInt32(3))
    header.put(UInt64(tensors.count))
    header.put(UInt64(entries.count))
    for entry in entries { header.put(entry) }
    var end = 0
    for tensor in tensors {
        header.put(tensor.name.utf8)
        header.put(UInt32(tensor.shape.count))
        for size in tensor.shape.reversed() { header.put(UInt64(size)) }
        header.put(tensor.type.number)
        header.put(UInt64(end))
        end += padded(tensor.byteCount)
    }
    header.pad(to: padded(header.bytes.count))
    try file.write(header.bytes)

    let path = file.path
    let piece = 1 << 15
    guard let memory = malloc(8 * piece) else {
        throw QwenSFTError(.outOfMemory, "\(path): no memory to write it")
    }
    defer { free(memory) }
    let zeros = [UInt8](repeating: 0, count: alignment)
    var written = 0
    for tensor in tensors {
        guard onProgress(written, end) else { throw QwenSFTError(.cancelled, "\(fileName(path)): cancelled") }
        for start in stride(from: 0, to: tensor.count, by: piece) {
            let count = min(piece, tensor.count - start)
            let bytes = try tensor.convert(start, count, memory, path)
            try file.write(bytes)
        }
        let gap = padded(tensor.byteCount) - tensor.byteCount
        if gap > 0 { try file.write(Array(zeros[..<gap])) }
        written += tensor.byteCount + gap
    }
    guard onProgress(end, end) else { throw QwenSFTError(.cancelled, "\(fileName(path)): cancelled") }
}

/// Where a tensor may begin; what readers take where the file says nothing else.
private let alignment = 32

private func padded(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }

extension GGUFTensorSource {
    /// The bytes of some elements, in `memory`: as float32 first, where they are not simply narrowed.
    fileprivate func convert(
        _ start: Int, _ count: Int, _ memory: UnsafeMutableRawPointer, _ path: String
    ) throws(QwenSFTError) -> UnsafeRawBufferPointer {
        let source = values + start * valuesType.byteCount
        let plain: DType? =
            switch type {
            case .float32: .float32
            case .float16: .float16
            case .bfloat16: .bfloat16
            default: nil
            }
        if let plain, plain == valuesType, factor == 1 {
            return UnsafeRawBufferPointer(start: source, count: count * plain.byteCount)
        }
        if let plain, factor == 1 {
            convertElements(from: source, valuesType, to: memory, plain, count: count)
            return UnsafeRawBufferPointer(start: memory, count: count * plain.byteCount)
        }
        convertElements(from: source, valuesType, to: memory, .float32, count: count)
        let floats = memory.bindMemory(to: Float.self, capacity: count)
        if plain != nil {
            for i in 0..<count { floats[i] *= factor }
            return UnsafeRawBufferPointer(start: memory, count: 4 * count)
        }
        let blocks = memory + 4 * count
        let bytes = blocks.bindMemory(to: UInt8.self, capacity: 4 * count)
        guard BlockFormat.narrowQ8(floats, count: count / type.elements, to: bytes) else {
            throw QwenSFTError(
                .nonFinite, "\(fileName(path)): '\(name)' has weights that are too large for \(type.name)")
        }
        return UnsafeRawBufferPointer(start: blocks, count: count / type.elements * type.bytes)
    }
}

private struct GGUFHeaderWriter {
    var bytes: [UInt8] = []

    mutating func put(_ number: some FixedWidthInteger) {
        withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func put(_ text: some Collection<UInt8>) {
        put(UInt64(text.count))
        bytes.append(contentsOf: text)
    }

    mutating func pad(to count: Int) { bytes += repeatElement(0, count: count - bytes.count) }

    mutating func put(_ entry: GGUFEntry) {
        put(entry.key.utf8)
        switch entry.value {
        case .scalar(let type, let bits):
            put(type.rawValue)
            for i in 0..<type.byteCount { bytes.append(UInt8(truncatingIfNeeded: bits >> UInt64(8 * i))) }
        case .string(let text):
            put(GGUFScalar.stringType)
            put(text.utf8)
        case .strings(let texts):
            put(GGUFScalar.arrayType)
            put(GGUFScalar.stringType)
            put(UInt64(texts.count))
            for index in 0..<texts.count { put(texts[index]) }
        case .array(let type, let elements):
            put(GGUFScalar.arrayType)
            put(type.rawValue)
            put(UInt64(elements.count / type.byteCount))
            bytes.append(contentsOf: elements)
        }
    }
}
