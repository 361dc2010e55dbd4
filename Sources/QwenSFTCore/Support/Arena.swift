/// A stack of memory for what lives no longer than one computation: activations, gradients of activations, scratch.
///
/// Allocation moves a mark. Memory grows block by block the first time a size is met; `reset` joins the blocks, so that
/// from the second computation of that size on nothing is taken from the system.
package final class Arena {
    /// A place in the stack to come back to.
    package struct Mark {
        fileprivate let block: Int
        fileprivate let used: Int
    }

    /// Of one that only counts: bytes in use, and the most that ever were.
    private var tally: (used: Int, peak: Int)?
    private var blocks: [Block] = []
    private var current = -1
    private let purpose: String

    private final class Block {
        let memory: HugeBuffer
        var used = 0
        init(_ memory: consuming HugeBuffer) { self.memory = memory }
    }

    package init(purpose: String) { self.purpose = purpose }

    /// One that hands out addresses with no memory behind them and counts: what a computation would take is found by the same
    /// code that takes it.
    package static func counting() -> Arena {
        let arena = Arena(purpose: "an estimate")
        arena.tally = (0, 0)
        return arena
    }

    /// The most bytes that were in use at one time. Of one that counts.
    package var peakByteCount: Int { tally?.peak ?? 0 }

    /// Bytes held from the system.
    package var byteCount: Int { blocks.reduce(0) { $0 + $1.memory.byteCount } }

    package var mark: Mark {
        if let tally { return Mark(block: -1, used: tally.used) }
        return Mark(block: current, used: current < 0 ? 0 : blocks[current].used)
    }

    /// Everything allocated since `mark` is free again.
    package func release(to mark: Mark) {
        if tally != nil {
            tally?.used = mark.used
            return
        }
        var index = current
        while index > mark.block {
            blocks[index].used = 0
            index -= 1
        }
        current = mark.block
        if current >= 0 { blocks[current].used = mark.used }
    }

    /// Frees everything; several blocks become one of their joint size at the next allocation.
    package func reset() {
        release(to: Mark(block: -1, used: 0))
        guard blocks.count > 1 else { return }
        let total = byteCount
        blocks.removeAll()
        if let memory = try? HugeBuffer(byteCount: total, purpose: purpose) { blocks.append(Block(memory)) }
    }

    /// Uninitialized memory for `count` elements, aligned to 64 bytes, valid until released.
    package func allocate<T: BitwiseCopyable>(_: T.Type = T.self, _ count: Int) throws(QwenSFTError)
        -> UnsafeMutablePointer<T>
    {
        let (bytes, overflow) = max(count, 1).multipliedReportingOverflow(by: MemoryLayout<T>.stride)
        guard !overflow, bytes < Int.max / 4 else {
            throw QwenSFTError(.outOfMemory, "\(purpose): \(count) elements is no possible size")
        }
        let size = (bytes + 63) & ~63
        if let (used, peak) = tally {
            let (end, overflow) = used.addingReportingOverflow(size)
            guard !overflow, end < Int.max / 4, let address = UnsafeMutablePointer<T>(bitPattern: 64 + used) else {
                throw QwenSFTError(.outOfMemory, "\(purpose): more than any memory holds")
            }
            tally = (end, max(peak, end))
            return address
        }
        if current >= 0, blocks[current].memory.byteCount - blocks[current].used >= size {
            return take(size)
        }
        // The next block that is large enough, or a new one in its place.
        current += 1
        if current < blocks.count, blocks[current].memory.byteCount < size { blocks.removeSubrange(current...) }
        if current == blocks.count {
            let held = byteCount
            do {
                blocks.append(
                    Block(try HugeBuffer(byteCount: max(size, min(held, 256 << 20), 1 << 20), purpose: purpose)))
            } catch {
                current -= 1
                throw error
            }
        }
        return take(size)
    }

    /// Makes sure that allocations of `byteCount` bytes in all ask nothing of the system.
    package func reserve(_ byteCount: Int) throws(QwenSFTError) {
        let here = mark
        _ = try allocate(UInt8.self, byteCount)
        release(to: here)
    }

    private func take<T: BitwiseCopyable>(_ size: Int) -> UnsafeMutablePointer<T> {
        let block = blocks[current]
        let pointer = block.memory.base + block.used
        block.used += size
        return pointer.bindMemory(to: T.self, capacity: size / MemoryLayout<T>.stride)
    }

    package func floats(_ count: Int) throws(QwenSFTError) -> UnsafeMutablePointer<Float> {
        try allocate(Float.self, count)
    }
}
