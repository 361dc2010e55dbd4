import Libc

/// A block of plain elements at a fixed place, for tables that inner loops read through a pointer.
///
/// Large ones stand in 2 MiB pages: a look-up in a table of megabytes otherwise waits for an address translation too.
final class FlatArray<Element: BitwiseCopyable>: @unchecked Sendable {
    let base: UnsafeMutablePointer<Element>
    let count: Int
    private let memory: HugeBuffer?
    private let isSmall: Bool

    /// All bits zero; pages of a large one are occupied when they are first touched.
    ///
    /// - Throws: `outOfMemory`.
    init(zeros count: Int) throws(QwenSFTError) {
        let byteCount = max(count, 1) * MemoryLayout<Element>.stride
        self.count = count
        isSmall = byteCount < 1 << 20
        if isSmall {
            // At the beginning of a cache line: tables are laid out in lines.
            guard let small = aligned_alloc(64, (byteCount + 63) & ~63) else {
                throw QwenSFTError(.outOfMemory, "no memory for the tokenizer")
            }
            memset(small, 0, byteCount)
            base = small.bindMemory(to: Element.self, capacity: count)
            memory = nil
        } else {
            let large = try HugeBuffer(byteCount: byteCount, purpose: "the tokenizer")
            base = large.base.bindMemory(to: Element.self, capacity: count)
            memory = consume large
        }
    }

    convenience init(repeating value: Element, count: Int) throws(QwenSFTError) {
        try self.init(zeros: count)
        base.update(repeating: value, count: count)
    }

    deinit { if isSmall { free(base) } }
}
