import Libc

/// A tensor to be written: its values lie in memory that must stay as it is until the file is written.
package struct TensorSource {
    package let name: String
    package let shape: [Int]
    package let values: UnsafeRawPointer
    /// nil: bytes, which are written as they are.
    package let valuesType: DType?

    package init(name: String, shape: [Int], values: UnsafeRawPointer, valuesType: DType) {
        self.name = name
        self.shape = shape
        self.values = values
        self.valuesType = valuesType
    }

    package init(name: String, shape: [Int], bytes: UnsafeRawPointer) {
        self.name = name
        self.shape = shape
        values = bytes
        valuesType = nil
    }

    /// What its elements are in the file: numbers of a type, or bytes.
    fileprivate func type(as wanted: DType?) -> (dtype: DType?, byteCount: Int, name: String) {
        guard let dtype = valuesType.map({ wanted ?? $0 }) else { return (nil, 1, "U8") }
        return (dtype, dtype.byteCount, dtype.safetensorsName)
    }
}

/// Writes the tensors, in this order, as one new safetensors file with elements of type `dtype`, and waits until it is on the disk.
package func writeSafetensors(
    _ tensors: [TensorSource], as dtype: DType, to path: String,
    onProgress: (_ done: Int, _ total: Int) -> Bool = { _, _ in true }
) throws(QwenSFTError) {
    var file = try WritableFile(creating: path)
    try writeSafetensors(tensors, as: dtype, to: &file, onProgress: onProgress)
    try file.finish()
}

/// Writes the tensors, in this order, to a new file in the safetensors format with elements of type `dtype` or, where that is
/// nil, each as it lies in memory.
///
/// The data begins at a multiple of eight bytes. Values are converted in small chunks on their way to the file.
/// - Parameters:
///   - metadata: notes for the header.
///   - onProgress: called with the bytes of the tensors written, and all of them; `false` cancels.
package func writeSafetensors(
    _ tensors: [TensorSource], as wanted: DType?, metadata notes: JSONObject = JSONObject(),
    to file: inout WritableFile, onProgress: (_ done: Int, _ total: Int) -> Bool = { _, _ in true }
) throws(QwenSFTError) {
    let path = file.path
    var header = JSONObject()
    var metadata = notes
    metadata["format"] = .string("pt")  // transformers refuses files that do not say so
    header["__metadata__"] = .object(metadata)
    var counts: [Int] = []
    var end = 0
    for tensor in tensors {
        let type = tensor.type(as: wanted)
        var count = 1
        for size in tensor.shape { count *= size }  // it lies in memory: no overflow
        let start = end
        end += count * type.byteCount
        var entry = JSONObject()
        entry["dtype"] = .string(type.name)
        entry["shape"] = .array(tensor.shape.map { .integer($0) })
        entry["data_offsets"] = .array([.integer(start), .integer(end)])
        guard header[tensor.name] == nil else {
            throw QwenSFTError(
                .invalidArgument, "\(fileName(path)): two tensors have the name '\(printable(tensor.name))'")
        }
        header[tensor.name] = .object(entry)
        counts.append(count)
    }
    var head = JSONValue.object(header).serialized()
    while head.count % 8 != 0 { head.append(UInt8(ascii: " ")) }

    try withUnsafeBytes(of: UInt64(head.count).littleEndian) { (bytes) throws(QwenSFTError) in try file.write(bytes) }
    try file.write(head)
    let chunk = 1 << 17
    guard let buffer = malloc(chunk * (wanted ?? .float32).byteCount) else {
        throw QwenSFTError(.outOfMemory, "\(path): no memory to write it")
    }
    defer { free(buffer) }
    var written = 0
    for (tensor, count) in zip(tensors, counts) {
        guard onProgress(written, end) else { throw QwenSFTError(.cancelled, "\(fileName(path)): cancelled") }
        let type = tensor.type(as: wanted)
        written += count * type.byteCount
        guard let valuesType = tensor.valuesType, let dtype = type.dtype, valuesType != dtype else {
            try file.write(UnsafeRawBufferPointer(start: tensor.values, count: count * type.byteCount))
            continue
        }
        var done = 0
        while done < count {
            let part = min(chunk, count - done)
            let source = tensor.values + done * valuesType.byteCount
            convertElements(from: source, valuesType, to: buffer, dtype, count: part)
            try file.write(UnsafeRawBufferPointer(start: buffer, count: part * dtype.byteCount))
            done += part
        }
    }
    guard onProgress(end, end) else { throw QwenSFTError(.cancelled, "\(fileName(path)): cancelled") }
}

extension DType {
    fileprivate var safetensorsName: String {
        switch self {
        case .float32: "F32"
        case .bfloat16: "BF16"
        case .float16: "F16"
        }
    }
}
