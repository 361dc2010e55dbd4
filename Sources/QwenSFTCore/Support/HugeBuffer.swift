import CSystem
import Libc

/// Zero-filled memory straight from the system, in 2 MiB pages where it grants them.
///
/// Weights, activations and caches stand here: with 4 KiB pages a walk through a gigabyte of weights loses a third of
/// the memory bandwidth to address translation. Pages are only occupied once they are touched.
package struct HugeBuffer: ~Copyable, @unchecked Sendable {
    package let base: UnsafeMutableRawPointer
    package let byteCount: Int
    private let mapping: UnsafeMutableRawPointer
    private let mappingByteCount: Int

    package static let pageByteCount = 2 << 20

    /// - Throws: `outOfMemory`, naming `purpose`.
    package init(byteCount: Int, purpose: String) throws(QwenSFTError) {
        let page = Self.pageByteCount
        // One page more than needed, so that the part handed out can start on a 2 MiB boundary.
        guard byteCount >= 0, byteCount <= Int.max - 2 * page else {
            throw QwenSFTError(.outOfMemory, "\(purpose): \(byteCount) bytes is no possible size")
        }
        let total = (max(byteCount, 1) + page - 1) / page * page + page
        guard let mapped = mmap(nil, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            mapped != MAP_FAILED
        else {
            throw QwenSFTError(.outOfMemory, "\(purpose): no memory for \(byteCount) bytes")
        }
        mapping = mapped
        mappingByteCount = total
        self.byteCount = byteCount
        base =
            UnsafeMutableRawPointer(bitPattern: (UInt(bitPattern: mapped) + UInt(page) - 1) & ~UInt(page - 1)) ?? mapped
        Self.preferHugePages(base, byteCount: total - page)
    }

    /// Asks for pages of 2 MiB; memory is as good without.
    static func preferHugePages(_ base: UnsafeMutableRawPointer, byteCount: Int) {
        qk_prefer_huge_pages(base, byteCount)
    }

    deinit { munmap(mapping, mappingByteCount) }

    /// The same content in memory of its own.
    package func clone(purpose: String) throws(QwenSFTError) -> HugeBuffer {
        let copy = try HugeBuffer(byteCount: byteCount, purpose: purpose)
        copy.base.copyMemory(from: base, byteCount: byteCount)
        return copy
    }

    /// The buffer as `Float` elements.
    package var floats: UnsafeMutablePointer<Float> { base.assumingMemoryBound(to: Float.self) }

    /// Gives the pages back to the system; the content is zero afterwards.
    package func clear() { qk_clear_pages(base, byteCount) }
}
