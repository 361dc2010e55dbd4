/// A batch as arrays of (rows, columns), in memory that can be refused and does not move: what C and numpy see.
package final class BatchArrays: @unchecked Sendable {
    package private(set) var inputIDs = LargeArray<Int64>(purpose: "input_ids")
    package private(set) var labels = LargeArray<Int64>(purpose: "labels")
    package private(set) var attentionMask = LargeArray<Int64>(purpose: "attention_mask")
    /// Empty: 1 everywhere.
    package private(set) var tokenWeights = LargeArray<Float>(purpose: "token_weights")
    package private(set) var conversations = LargeArray<Int>(purpose: "conversations")

    /// - Throws: `outOfMemory`.
    package init(_ batch: Batch) throws(QwenSFTError) {
        let (count, overflow) = batch.rows.multipliedReportingOverflow(by: batch.columns)
        guard !overflow else {
            throw QwenSFTError(.outOfMemory, "a batch of \(batch.rows) rows and \(batch.columns) columns is too large")
        }
        try inputIDs.append(count) { batch.writeIDs(to: $0) }
        try labels.append(count) { batch.writeLabels(to: $0) }
        try attentionMask.append(count) { batch.writeMask(to: $0) }
        if batch.sequences.isWeighted { try tokenWeights.append(count) { batch.writeWeights(to: $0) } }
        try conversations.append(batch.rows) { target in
            for row in 0..<batch.rows { target[row] = batch.sequences[row].conversation }
        }
    }
}

extension Batch {
    /// Token ids of (rows, columns), row-major. This and the following arrays are made anew whenever they are asked for.
    public var inputIDs: [Int64] { array(writeIDs) }
    /// −100, or the id that the position before is to predict.
    public var labels: [Int64] { array(writeLabels) }
    /// 1 at real tokens, 0 at padding.
    public var attentionMask: [Int64] { array(writeMask) }
    /// The weight of each label in the loss; nil: 1.
    public var tokenWeights: [Float]? { sequences.isWeighted ? array(writeWeights) : nil }

    /// For each row the number of the conversation, text or given row that it is made of.
    public var conversationOfRow: [Int] { (0..<rows).map { sequences[$0].conversation } }

    private func array<Value>(_ write: (UnsafeMutablePointer<Value>) -> Void) -> [Value] {
        let count = rows * columns
        return [Value](unsafeUninitializedCapacity: count) { buffer, initialized in
            guard let base = buffer.baseAddress else { return }
            write(base)
            initialized = count
        }
    }

    fileprivate func writeIDs(to target: UnsafeMutablePointer<Int64>) {
        write(target, padding: Int64(paddingID)) { row, tokens in
            let values = sequences.ids.buffer[tokens]
            for (i, value) in values.enumerated() { row[i] = Int64(value) }
        }
    }

    fileprivate func writeLabels(to target: UnsafeMutablePointer<Int64>) {
        write(target, padding: Int64(LabelledSequences.ignored)) { row, tokens in
            let values = sequences.labels.buffer[tokens]
            for (i, value) in values.enumerated() { row[i] = Int64(value) }
        }
    }

    fileprivate func writeMask(to target: UnsafeMutablePointer<Int64>) {
        write(target, padding: 0) { row, tokens in row.update(repeating: 1, count: tokens.count) }
    }

    fileprivate func writeWeights(to target: UnsafeMutablePointer<Float>) {
        write(target, padding: 0) { row, tokens in
            for (i, value) in sequences.weights.buffer[tokens].enumerated() { row[i] = value }
        }
    }

    /// Writes every row and its padding, on all threads where there is enough to write.
    /// - Parameter fill: writes the tokens of a row. A call for a row, not for a number: then its loop is a vector loop.
    private func write<Value: BitwiseCopyable>(
        _ target: UnsafeMutablePointer<Value>, padding: Value,
        fill: (_ row: UnsafeMutablePointer<Value>, _ tokens: Range<Int>) -> Void
    ) {
        let threads = min(ThreadPool.shared.threads, rows, 1 + rows * columns / Self.elementsWorthAThread)
        ThreadPool.shared.run(threads: max(threads, 1)) { worker in
            for row in worker.range(of: rows) {
                let sequence = sequences[row]
                let start = target + row * columns
                let end = sequence.column + sequence.tokens.count
                start.initialize(repeating: padding, count: sequence.column)
                fill(start + sequence.column, sequence.tokens)
                (start + end).initialize(repeating: padding, count: columns - end)
            }
        }
    }

    /// Less to write than this is not worth waking a thread for.
    private static var elementsWorthAThread: Int { 16 << 10 }
}
