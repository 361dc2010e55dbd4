import Libc

/// A growing array of plain elements in memory that can be refused. It stays where it is unless it grows.
package struct LargeArray<Element: BitwiseCopyable>: ~Copyable {
    private var base: UnsafeMutablePointer<Element>?
    private var capacity = 0
    package private(set) var count = 0
    private let purpose: String

    /// - Parameter purpose: what it is for, in the message of an error.
    package init(purpose: String) { self.purpose = purpose }

    deinit { free(base) }

    /// The first element; nil where no memory was ever asked for.
    package var pointer: UnsafePointer<Element>? { UnsafePointer(base) }

    /// All elements; valid as long as the array, which somebody else must keep. For one of one's own: `withBuffer`.
    package var buffer: UnsafeBufferPointer<Element> { UnsafeBufferPointer(start: base, count: count) }

    /// All elements, valid inside `body`.
    package borrowing func withBuffer<R>(
        _ body: (UnsafeBufferPointer<Element>) throws(QwenSFTError) -> R
    ) throws(QwenSFTError) -> R {
        try body(UnsafeBufferPointer(start: base, count: count))
    }

    package subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(index >= 0 && index < count)
            return base.unsafelyUnwrapped[index]
        }
    }

    /// Room for `more` elements behind those that are there.
    /// - Throws: `outOfMemory`, with the array as before.
    package mutating func reserve(_ more: Int) throws(QwenSFTError) {
        let (needed, overflow) = count.addingReportingOverflow(more)
        if !overflow, needed <= capacity { return }
        try grow(to: overflow ? Int.max : max(needed, 2 * capacity, 16))
    }

    private mutating func grow(to room: Int) throws(QwenSFTError) {
        let (bytes, overflow) = room.multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
        guard !overflow, let larger = realloc(base, bytes) else {
            throw QwenSFTError(.outOfMemory, "\(purpose): no memory for \(room) elements")
        }
        base = larger.bindMemory(to: Element.self, capacity: room)
        capacity = room
        try Memory.check(purpose)
    }

    package mutating func append(_ element: Element) throws(QwenSFTError) {
        try reserve(1)
        base.unsafelyUnwrapped[count] = element
        count += 1
    }

    package mutating func append(contentsOf elements: UnsafeBufferPointer<Element>) throws(QwenSFTError) {
        try append(elements.count) { target in
            if let source = elements.baseAddress { target.update(from: source, count: elements.count) }
        }
    }

    package mutating func append(contentsOf elements: [Element]) throws(QwenSFTError) {
        try elements.withUnsafeBufferPointer { (elements) throws(QwenSFTError) in try append(contentsOf: elements) }
    }

    package mutating func append(repeating element: Element, count more: Int) throws(QwenSFTError) {
        try append(more) { $0.update(repeating: element, count: more) }
    }

    /// Appends `more` elements, which `fill` writes.
    package mutating func append(
        _ more: Int, fill: (UnsafeMutablePointer<Element>) -> Void
    ) throws(QwenSFTError) {
        try reserve(more)
        guard more > 0, let base else { return }
        fill(base + count)
        count += more
    }

    package mutating func removeAll() { count = 0 }
}

extension LargeArray<UInt8> {
    /// Appends the text's UTF-8.
    package mutating func append(contentsOf text: inout String) throws(QwenSFTError) {
        try append(text.utf8.count) { target in
            text.withUTF8 { if let base = $0.baseAddress { target.update(from: base, count: $0.count) } }
        }
    }
}
