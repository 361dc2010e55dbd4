import Glibc
import QwenSFTCore

/// The (out, capacity, &count) of the header: where a result of variable length goes.
struct Output<Element: BitwiseCopyable> {
    private let out: UnsafeMutablePointer<Element>?
    private let capacity: Int
    private let count: UnsafeMutablePointer<Int>

    init(
        _ out: UnsafeMutablePointer<Element>?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?, _ name: String
    ) throws(QwenSFTError) {
        guard let count else { throw .isNull(Element.self == CChar.self ? "size" : "count") }
        count.pointee = 0
        guard capacity >= 0 else { throw .size(name) }
        guard out != nil || capacity == 0 else { throw .isNull(name) }
        self.out = out
        self.capacity = capacity
        self.count = count
    }

    /// Reports how many elements are needed and hands out where to write them.
    /// - Throws: `bufferTooSmall`; the caller's array is then left alone.
    func reserve(_ needed: Int) throws(QwenSFTError) -> UnsafeMutableBufferPointer<Element> {
        count.pointee = needed
        guard needed <= capacity else {
            throw QwenSFTError(.bufferTooSmall, "the result has \(needed) elements, capacity is \(capacity)")
        }
        return UnsafeMutableBufferPointer(start: out, count: needed)
    }

    func write(_ elements: [Element]) throws(QwenSFTError) {
        let destination = try reserve(elements.count)
        _ = destination.update(fromContentsOf: elements)
    }
}

extension Output<CChar> {
    /// Text, with a NUL after it where there is room.
    func write(_ text: String) throws(QwenSFTError) { try write(utf8: Array(text.utf8)) }

    func write(utf8 bytes: [UInt8]) throws(QwenSFTError) {
        let destination = try reserve(bytes.count)
        bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(destination).copyMemory(from: $0) }
        if let out, bytes.count < capacity { out[bytes.count] = 0 }
    }
}
