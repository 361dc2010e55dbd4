import Synchronization

extension Tokenizer {
    /// Encodes each text, on all threads of the library where there is enough to do.
    ///
    /// - Parameter maxLength: Longer rows keep their first `maxLength` ids.
    /// - Throws: As `encode`; `invalidArgument` for a negative `maxLength`.
    public func encodeBatch(
        _ texts: [String], splitSpecialTokens: Bool = false, maxLength: Int? = nil
    ) throws(QwenSFTError) -> [[Int32]] {
        let size = texts.reduce(0) { $0 + $1.utf8.count }
        return try encodeBatch(count: texts.count, size: size, maxLength: maxLength) { (i) throws(QwenSFTError) in
            try encode(texts[i], splitSpecialTokens: splitSpecialTokens)
        }
    }

    /// The same for texts given as well-formed UTF-8.
    package func encodeBatch(
        utf8 texts: [UnsafeBufferPointer<UInt8>], splitSpecialTokens: Bool, maxLength: Int?
    ) throws(QwenSFTError) -> [[Int32]] {
        let size = texts.reduce(0) { $0 + $1.count }
        return try encodeBatch(count: texts.count, size: size, maxLength: maxLength) { (i) throws(QwenSFTError) in
            try encode(utf8: texts[i], splitSpecialTokens: splitSpecialTokens)
        }
    }

    private func encodeBatch(
        count: Int, size: Int, maxLength: Int?, _ row: (Int) throws(QwenSFTError) -> [Int32]
    ) throws(QwenSFTError) -> [[Int32]] {
        if let maxLength, maxLength < 0 {
            throw QwenSFTError(.invalidArgument, "a maximum length of \(maxLength) tokens is negative")
        }
        try Memory.require(count, of: [Int32].self, for: "\(count) rows")
        var rows = [[Int32]](repeating: [], count: count)
        let failure = Mutex<QwenSFTError?>(nil)
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
                        failure.withLock { $0 = $0 ?? error }
                        return
                    }
                }
            }
        }
        if let error = failure.withLock({ $0 }) { throw error }
        return rows
    }

    /// Less text than this is not worth waking a thread for; some 0.2 ms of work.
    private static var bytesWorthAThread: Int { 16 << 10 }
}
