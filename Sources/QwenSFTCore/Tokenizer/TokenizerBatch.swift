import Synchronization

/// Rows of ids, padded on the right to a rectangle.
public struct TokenBatch: Sendable, Equatable {
    /// (B, T)
    public let rows: Int
    public let columns: Int
    /// B·T, row by row.
    public let inputIDs: [Int64]
    /// B·T: 1 at tokens, 0 at padding.
    public let attentionMask: [Int64]

    /// More padding than this is a mistake in a number, and memory for it might not be there: 2 GiB for each array.
    private static let mostTokens = 1 << 28

    /// - Throws: `invalidArgument` for more than that.
    init(_ rows: [[Int32]], columns: Int, padding: Int32) throws(QwenSFTError) {
        let (size, overflow) = rows.count.multipliedReportingOverflow(by: columns)
        guard !overflow, size <= Self.mostTokens else {
            throw QwenSFTError(.invalidArgument, "\(rows.count) rows of \(columns) columns have no possible size")
        }
        self.rows = rows.count
        self.columns = columns
        inputIDs = padded(rows, columns: columns, with: padding)
        attentionMask = paddingMask(of: rows, columns: columns)
    }
}

/// Rows one after the other, each filled up on the right to `columns`, written by all threads.
/// - Parameter fill: writes the beginning of a row and returns how many numbers that are. A call for a row, not for a number: then
///   its loop is a vector loop.
func padded<Value: BitwiseCopyable>(
    rows: Int, columns: Int, with padding: Value, fill: (_ row: Int, _ target: UnsafeMutablePointer<Value>) -> Int
) -> [Value] {
    let count = rows * columns
    return [Value](unsafeUninitializedCapacity: count) { result, initialized in
        initialized = count
        guard let base = result.baseAddress else { return }
        let threads = min(ThreadPool.shared.threads, rows, 1 + count / elementsWorthAThread)
        ThreadPool.shared.run(threads: max(threads, 1)) { worker in
            for row in worker.range(of: rows) {
                let target = base + row * columns
                let written = fill(row, target)
                (target + written).initialize(repeating: padding, count: columns - written)
            }
        }
    }
}

/// Ids or labels as 64-bit integers.
func padded(_ rows: [[Int32]], columns: Int, with padding: Int32) -> [Int64] {
    padded(rows: rows.count, columns: columns, with: Int64(padding)) { row, target in
        rows[row].withUnsafeBufferPointer { values in
            for i in 0..<values.count { target[i] = Int64(values[i]) }
            return values.count
        }
    }
}

/// 1 at the rows' tokens, 0 at padding.
func paddingMask(of rows: [[Int32]], columns: Int) -> [Int64] {
    padded(rows: rows.count, columns: columns, with: 0) { row, target in
        target.initialize(repeating: 1, count: rows[row].count)
        return rows[row].count
    }
}

/// Less to write than this is not worth waking a thread for.
private let elementsWorthAThread = 16 << 10

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

    /// Pads rows of ids on the right with the pad token, to `length` or to the longest row.
    ///
    /// - Throws: `invalidArgument` where there is no pad token, no row, or a row longer than `length`.
    public func pad(_ rows: [[Int32]], to length: Int? = nil) throws(QwenSFTError) -> TokenBatch {
        guard let padTokenID else { throw QwenSFTError(.invalidArgument, "the tokenizer \(name) has no pad token") }
        guard !rows.isEmpty else { throw QwenSFTError(.invalidArgument, "there is no row to pad") }
        let longest = rows.reduce(0) { max($0, $1.count) }
        let columns = length ?? longest
        if columns < longest, let row = rows.firstIndex(where: { $0.count > columns }) {
            throw QwenSFTError(
                .invalidArgument, "row \(row) has \(rows[row].count) tokens, more than the \(columns) to pad to")
        }
        return try TokenBatch(rows, columns: columns, padding: padTokenID)
    }

    public func decodeBatch(_ rows: [[Int32]], skipSpecialTokens: Bool = false) -> [String] {
        rows.map { decode($0, skipSpecialTokens: skipSpecialTokens) }
    }
}
