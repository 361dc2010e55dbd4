import CQwenSFT
import Libc
import QwenSFTCore

/// A text argument: pointer and size in bytes, `SFT_ZSTRING` for "up to the NUL". NULL is fine if the size is 0.
func text(_ pointer: UnsafePointer<CChar>?, _ size: Int, _ name: String) throws(QwenSFTError) -> String {
    let bytes = try utf8(pointer, size, name)
    try Memory.require(bytes.count, for: name)
    return String(decoding: bytes, as: UTF8.self)
}

/// A copy of an array argument.
func copy<T>(of elements: UnsafeBufferPointer<T>, _ name: String) throws(QwenSFTError) -> [T] {
    try Memory.require(elements.count, of: T.self, for: name)
    return Array(elements)
}

/// The bytes of a text argument.
/// - Throws: `invalidArgument` where they are not UTF-8.
func utf8(_ pointer: UnsafePointer<CChar>?, _ size: Int, _ name: @autoclosure () -> String) throws(QwenSFTError)
    -> UnsafeBufferPointer<UInt8>
{
    let bytes = try bytes(pointer, size, name())
    if let offset = firstInvalidUTF8(in: UnsafeRawBufferPointer(bytes)) {
        throw QwenSFTError(.invalidArgument, "argument '\(name())' is not UTF-8 at byte \(offset)")
    }
    return bytes
}

/// The bytes of a text argument, whatever they are.
private func bytes(_ pointer: UnsafePointer<CChar>?, _ size: Int, _ name: @autoclosure () -> String)
    throws(QwenSFTError) -> UnsafeBufferPointer<UInt8>
{
    guard size == zString || size >= 0 else { throw .size(name()) }
    guard let pointer else {
        guard size == 0 else { throw .isNull(name()) }
        return UnsafeBufferPointer(start: nil, count: 0)
    }
    guard size == zString || isPossible(pointer, byteCount: size) else { throw .size(name()) }
    let start = UnsafeRawPointer(pointer).assumingMemoryBound(to: UInt8.self)
    return UnsafeBufferPointer(start: start, count: size == zString ? strlen(pointer) : size)
}

/// An array of texts.
func texts(_ pointer: UnsafePointer<sft_text>?, _ count: Int, _ name: String) throws(QwenSFTError) -> [String] {
    var result: [String] = []
    for (i, item) in try array(pointer, count, name).enumerated() {
        try result.makeRoom(for: 1, purpose: name)
        result.append(try text(item.data, item.size, "\(name)[\(i)]"))
    }
    return result
}

/// An array of texts whose bytes are looked at when they are asked for, on any thread.
struct TextList {
    private let texts: UnsafeBufferPointer<sft_text>
    private let name: String
    /// Bytes of all texts together.
    let size: Int

    init(_ pointer: UnsafePointer<sft_text>?, _ count: Int, _ name: String) throws(QwenSFTError) {
        texts = try array(pointer, count, name)
        self.name = name
        var size = 0
        for (i, text) in texts.enumerated() {
            size = size.addingReportingOverflow(try bytes(text.data, text.size, "\(name)[\(i)]").count).partialValue
        }
        self.size = size
    }

    var count: Int { texts.count }

    /// - Throws: `invalidArgument` where text `i` is not UTF-8.
    func utf8(_ i: Int) throws(QwenSFTError) -> UnsafeBufferPointer<UInt8> {
        try QwenSFTCAPI.utf8(texts[i].data, texts[i].size, "\(name)[\(i)]")
    }
}

/// One of `all` by the caller's index.
/// - Parameter owner: who has them, and what they are called.
func element<T>(_ index: Int, of all: [T], _ owner: (name: String, plural: String)) throws(QwenSFTError) -> T {
    guard all.indices.contains(index) else {
        throw QwenSFTError(
            .invalidArgument,
            "'index' is \(UInt(bitPattern: index)), the \(owner.name) has \(all.count) \(owner.plural)")
    }
    return all[index]
}

/// A path: text that is not empty and has no NUL, at which the operating system would cut it.
func path(_ pointer: UnsafePointer<CChar>?, _ size: Int, _ name: String) throws(QwenSFTError) -> String {
    let path = try text(pointer, size, name)
    guard !path.isEmpty else { throw QwenSFTError(.invalidArgument, "argument '\(name)' is empty") }
    guard !path.utf8.contains(0) else { throw QwenSFTError(.invalidArgument, "argument '\(name)' holds a NUL byte") }
    return path
}

/// An array argument. NULL is fine if `count` is 0.
func array<T>(_ pointer: UnsafePointer<T>?, _ count: Int, _ name: String) throws(QwenSFTError) -> UnsafeBufferPointer<T>
{
    let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<T>.stride)
    guard count >= 0, !overflow else { throw .size(name) }
    guard pointer != nil || count == 0 else { throw .isNull(name) }
    guard isPossible(pointer, byteCount: bytes) else { throw .size(name) }
    return UnsafeBufferPointer(start: pointer, count: count)
}

/// Whether so many bytes can stand there at all: no process has addresses of more than 56 bits.
func isPossible(_ pointer: UnsafeRawPointer?, byteCount: Int) -> Bool {
    let (end, overflow) = Int(bitPattern: pointer).addingReportingOverflow(byteCount)
    return !overflow && end >= 0 && end <= 1 << 56
}

/// A flag argument or field: 0 or 1.
func flag(_ value: Int32, _ name: String) throws(QwenSFTError) -> Bool {
    guard value == 0 || value == 1 else {
        throw QwenSFTError(.invalidArgument, "'\(name)' is \(value), expected 0 or 1")
    }
    return value == 1
}

/// `rows * columns`, if that is a possible size.
func area(_ rows: Int, _ columns: Int) throws(QwenSFTError) -> Int {
    let (area, overflow) = rows.multipliedReportingOverflow(by: columns)
    guard rows >= 0, columns >= 0, !overflow else {
        throw QwenSFTError(.invalidArgument, "'rows' times 'columns' is no possible size")
    }
    return area
}

/// SFT_ZSTRING: (size_t)-1, and size_t is `Int` here.
private let zString = -1

extension QwenSFTError {
    static func size(_ name: String) -> QwenSFTError {
        QwenSFTError(.invalidArgument, "the size given for '\(name)' is no possible size")
    }
}
