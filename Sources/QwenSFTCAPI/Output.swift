import Libc
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

    /// Writes a result of `needed` elements through `body`, which is called only if there is room.
    /// - Throws: `bufferTooSmall`, with the count needed reported and the caller's array left alone; what `body` throws.
    func write(
        count needed: Int, _ body: (UnsafeMutableBufferPointer<Element>) throws(QwenSFTError) -> Void
    ) throws(QwenSFTError) {
        guard needed <= capacity else {
            count.pointee = needed
            throw QwenSFTError(.bufferTooSmall, "the result has \(needed) elements, the capacity is \(capacity)")
        }
        try body(UnsafeMutableBufferPointer(start: out, count: needed))
        count.pointee = needed
    }

    /// As `write`, for a body that finds out how many elements there are: it returns the count, and has written them if it is not
    /// above the capacity it was given.
    func fill(_ body: (UnsafeMutableBufferPointer<Element>) throws(QwenSFTError) -> Int) throws(QwenSFTError) {
        let needed = try body(UnsafeMutableBufferPointer(start: out, count: capacity))
        try write(count: needed) { _ in }
    }

    func write(_ elements: some Collection<Element>) throws(QwenSFTError) {
        try write(count: elements.count) { (destination) in _ = destination.update(fromContentsOf: elements) }
    }
}

extension Output<CChar> {
    /// Text, with a NUL after it where there is room.
    func write(_ text: String) throws(QwenSFTError) {
        var text = text
        let result: Result<Void, QwenSFTError> = text.withUTF8 { utf8 in
            Result { () throws(QwenSFTError) in try write(utf8) }
        }
        try result.get()
    }

    /// The same of UTF-8.
    func write(_ utf8: UnsafeBufferPointer<UInt8>) throws(QwenSFTError) {
        try write(count: utf8.count) { (destination) in
            UnsafeMutableRawBufferPointer(destination).copyMemory(from: UnsafeRawBufferPointer(utf8))
        }
        if let out, utf8.count < capacity { out[utf8.count] = 0 }
    }
}
