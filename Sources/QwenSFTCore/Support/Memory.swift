import CMemory

/// Whether memory can be had, asked before something is allocated that cannot fail in an orderly way: Swift's arrays, strings
/// and objects end the process where memory is refused.
///
/// Amounts that depend on the caller's data are asked for here, or stand in memory that can be refused (`HugeBuffer`,
/// `LargeArray`). The rest, small and everywhere, is covered by a reserve (CMemory.h); loops that allocate look whether it is
/// still there.
package enum Memory {
    /// Less than this is not asked for: the reserve covers it.
    private static let least = 1 << 20

    /// - Throws: `outOfMemory` where `byteCount` more bytes cannot be had now, or an allocation has already been refused.
    package static func require(_ byteCount: Int, for purpose: String) throws(QwenSFTError) {
        try check(purpose)
        if byteCount < least { return }
        guard byteCount <= Int.max / 2, qm_is_available(byteCount) != 0 else {
            throw QwenSFTError(.outOfMemory, "\(purpose): no memory for \(byteCount) bytes")
        }
    }

    /// The same for `count` elements.
    package static func require<T>(_ count: Int, of _: T.Type, for purpose: String) throws(QwenSFTError) {
        let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<T>.stride)
        try require(overflow ? Int.max : bytes, for: purpose)
    }

    /// - Throws: `outOfMemory` where an allocation has been refused since the call into the library began.
    package static func check(_ purpose: @autoclosure () -> String) throws(QwenSFTError) {
        if qm_reserve_is_spent() != 0 { throw QwenSFTError(.outOfMemory, "\(purpose()): memory has run out") }
    }

    /// Holds the reserve, at the beginning of every call into the shared library.
    package static func holdReserve() throws(QwenSFTError) {
        if qm_reserve_hold() == 0 { throw QwenSFTError(.outOfMemory, "memory has run out") }
    }
}

extension Array {
    /// Makes room for `more` elements where there is none, at least doubling the room there is.
    /// - Throws: `outOfMemory`; the array is as before.
    package mutating func makeRoom(for more: Int, purpose: @autoclosure () -> String) throws(QwenSFTError) {
        let (needed, overflow) = count.addingReportingOverflow(more)
        if !overflow, needed <= capacity { return }
        let room = overflow ? Int.max : Swift.max(needed, 2 * capacity)
        try Memory.require(room, of: Element.self, for: purpose())
        reserveCapacity(room)
    }
}
