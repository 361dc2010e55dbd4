/// Y = X · Wᵀ for a few rows of X, as in decoding: W is read once, in its order, at the speed of memory.
///
/// The rows are brought into the form that the weight's kernel multiplies with first. Every worker does so for itself: that is
/// less work than a barrier.
enum RowProduct {
    /// y (rows, outputs) = or += x · Wᵀ as a piece of work of its own.
    static func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ w: some WeightFormat, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let size = roundUp(w.preparedBytes(rows: x.rows), 64)
        let memory = try compute.arena.allocate(UInt8.self, compute.threads * size)
        compute.run { worker in
            let own = worker.range(of: w.rows, unit: 16)
            guard !own.isEmpty else { return }
            let rows = PreparedRows(x, in: memory + worker.index * size)
            w.prepare(rows)
            w.multiply(y[columns: own], rows, own, accumulate: accumulate)
        }
    }
}

/// Memory for one row in the form that a weight's kernel multiplies with: for products inside of a piece of work, as decoding
/// a token is one.
struct RowScratch {
    private let memory: UnsafeMutableRawPointer

    /// Enough for any of `weights`.
    init(for weights: [Weight], _ arena: Arena) throws(QwenSFTError) {
        let most = weights.map { $0.format.preparedBytes(rows: 1) }.max() ?? 0
        memory = UnsafeMutableRawPointer(try arena.allocate(UInt8.self, most))
    }

    /// Brings x (1, inputs) into the form of `weight`, until the next row is.
    func prepare(_ x: Matrix<Float>, for weight: Weight) -> PreparedRows {
        let rows = PreparedRows(x, in: memory)
        weight.format.prepare(rows)
        return rows
    }
}
