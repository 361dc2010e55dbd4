import Synchronization

extension Tokenizer {
    /// Encodes each text, on all threads of the library where there is enough to do.
    ///
    /// - Parameters:
    ///   - texts: a row each.
    ///   - splitSpecialTokens: as in `encode`.
    ///   - maxLength: Longer rows keep their first `maxLength` ids.
    /// - Throws: As `encode`; `invalidArgument` for a negative `maxLength`.
    public func encodeBatch(
        _ texts: [String], splitSpecialTokens: Bool = false, maxLength: Int? = nil
    ) throws(QwenSFTError) -> [[Int32]] {
        let size = texts.reduce(0) { $0 + $1.utf8.count }
        return try Self.rows(count: texts.count, size: size, maxLength: maxLength) { (i) throws(QwenSFTError) in
            try encode(texts[i], splitSpecialTokens: splitSpecialTokens)
        }
    }

    /// The same for texts given as bytes: `text` gives them one by one, on any thread, and may refuse them.
    ///
    /// - Parameter size: bytes of all texts together.
    /// - Throws: for the first text that was refused or could not be encoded.
    package func encodeBatch(
        count: Int, size: Int, splitSpecialTokens: Bool, maxLength: Int? = nil,
        _ text: (Int) throws(QwenSFTError) -> UnsafeBufferPointer<UInt8>
    ) throws(QwenSFTError) -> [[Int32]] {
        try Self.rows(count: count, size: size, maxLength: maxLength) { (i) throws(QwenSFTError) in
            try encode(utf8: text(i), splitSpecialTokens: splitSpecialTokens)
        }
    }

    private static func rows(
        count: Int, size: Int, maxLength: Int?, _ row: (Int) throws(QwenSFTError) -> [Int32]
    ) throws(QwenSFTError) -> [[Int32]] {
        if let maxLength, maxLength < 0 {
            throw QwenSFTError(.invalidArgument, "a maximum length of \(maxLength) tokens is negative")
        }
        try Memory.require(count, of: [Int32].self, for: "\(count) rows")
        var rows = [[Int32]](repeating: [], count: count)
        let failure = Locked<(index: Int, error: QwenSFTError)?>(nil)
        let next = Atomic<Int>(0)
        let threads = min(ThreadPool.shared.threads, count, 1 + size / Self.bytesWorthAThread)
        rows.withUnsafeMutableBufferPointer { rows in
            // Each worker takes the next text that nobody has; each row is written by one.
            nonisolated(unsafe) let rows = rows
            ThreadPool.shared.run(threads: max(threads, 1)) { _ in
                while true {
                    let i = next.add(1, ordering: .relaxed).oldValue
                    if i >= count { return }
                    do throws(QwenSFTError) {
                        var ids = try row(i)
                        if let maxLength, ids.count > maxLength { ids.removeSubrange(maxLength...) }
                        rows[i] = ids
                    } catch {
                        // Texts before this one have been taken, too, so the first that fails is always the same.
                        failure.withLock { if i < $0?.index ?? .max { $0 = (i, error) } }
                        return
                    }
                }
            }
        }
        if let failure = failure.withLock({ $0 }) { throw failure.error }
        return rows
    }

    /// Less text than this is not worth waking a thread for; some 0.2 ms of work.
    private static var bytesWorthAThread: Int { 16 << 10 }
}
