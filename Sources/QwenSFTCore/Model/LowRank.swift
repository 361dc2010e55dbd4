/// What an adapter adds to a projection (Hu et al., 2021), y += s · B(A(dropout x)): its forward, backward and one token.
///
/// Queries, keys and values are one product, and so are gate and up; each may have a part of its own here. A of all parts stand
/// one after the other, so that one product makes the inner numbers of all.
struct LowRank {
    struct Part {
        /// Of the projection.
        let outputs: Range<Int>
        /// Of the inner numbers.
        let ranks: Range<Int>
        let scale: Float
        /// B, (outputs, rank), as a parameter and its values.
        let b: ParameterLayout.Matrix
        let up: Matrix<Float>
    }

    /// A of all parts, (ranks, inputs), as parameters and their values.
    let a: ParameterLayout.Matrix
    let down: Matrix<Float>
    let parts: [Part]
    /// Probability with which an input is dropped in training.
    let dropout: Double
    /// Which ones, in a pass of training; nil: none are.
    var dropoutKey: UInt64?

    var ranks: Int { down.rows }

    /// Gradient to the inner numbers, scaled: s · dy · B, (rows, ranks).
    struct Inner {
        let gradient: MutableMatrix<Float>
    }

    /// y (rows, outputs of the projection) += s · B(A(dropout x)).
    func forward(_ y: MutableMatrix<Float>, _ x: Matrix<Float>, compute: Compute) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let inner = try inner(x, compute: compute)
        for part in parts {
            LowRankProduct.forward(
                y[columns: part.outputs], inner[columns: part.ranks], part.up, accumulate: true, compute: compute)
        }
    }

    /// s · A(dropout x), (rows, ranks), in the arena.
    private func inner(_ x: Matrix<Float>, compute: Compute) throws(QwenSFTError) -> Matrix<Float> {
        let inner = try compute.arena.matrix(rows: x.rows, columns: ranks)
        try forEachInput(x, compute: compute) { parts, x in
            for part in parts {
                LowRankProduct.forward(
                    inner[columns: part.ranks], x, down[rows: part.ranks], scale: part.scale, compute: compute)
            }
        }
        return inner.readOnly
    }

    func innerGradient(_ dy: Matrix<Float>, compute: Compute) throws(QwenSFTError) -> Inner {
        let gradient = try compute.arena.matrix(rows: dy.rows, columns: ranks)
        for part in parts {
            LowRankProduct.inputGradient(
                gradient[columns: part.ranks], dy[columns: part.outputs], part.up, scale: part.scale, compute: compute)
        }
        return Inner(gradient: gradient)
    }

    /// dx += the gradient to the input.
    func inputGradient(_ dx: MutableMatrix<Float>, _ inner: Inner, compute: Compute) throws(QwenSFTError) {
        guard let key = activeKey else {
            return LowRankProduct.inputGradient(
                dx, inner.gradient.readOnly, down, accumulate: true, compute: compute)
        }
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let dropped = try compute.arena.matrix(rows: dx.rows, columns: dx.columns)
        for part in parts {
            LowRankProduct.inputGradient(
                dropped, inner.gradient.readOnly[columns: part.ranks], down[rows: part.ranks], compute: compute)
            Dropout.apply(
                dx, dropped.readOnly, rate: dropout, key: self.key(of: part, key), accumulate: true, compute: compute)
        }
    }

    /// The gradients of A and B, to where `sink` wants them.
    func gradients(
        dy: Matrix<Float>, x: Matrix<Float>, _ inner: Inner, sink: GradientSink, compute: Compute
    ) throws(QwenSFTError) {
        guard let dA = sink.adapter(a) else { return }
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        // Once more; less than keeping it would make of the code.
        let values = try self.inner(x, compute: compute)
        for part in parts {
            guard let dB = sink.adapter(part.b) else { continue }
            LowRankProduct.weightGradient(
                dB, dy[columns: part.outputs], values[columns: part.ranks], compute: compute)
        }
        try forEachInput(x, compute: compute) { parts, x in
            for part in parts {
                LowRankProduct.weightGradient(
                    dA[rows: part.ranks], inner.gradient.readOnly[columns: part.ranks], x, compute: compute)
            }
        }
    }

    // MARK: Dropout

    private var activeKey: UInt64? { dropout > 0 ? dropoutKey : nil }

    /// Every part drops inputs of its own.
    private func key(of part: Part, _ key: UInt64) -> UInt64 {
        var mixed = RandomSource(seed: key ^ UInt64(part.b.offset))
        return mixed.next()
    }

    /// Calls `body` with the input that parts read: all of them the same, or each its own.
    private func forEachInput(
        _ x: Matrix<Float>, compute: Compute, _ body: (ArraySlice<Part>, Matrix<Float>) -> Void
    ) throws(QwenSFTError) {
        guard let key = activeKey else { return body(parts[...], x) }
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let dropped = try compute.arena.matrix(rows: x.rows, columns: x.columns)
        for (index, part) in parts.enumerated() {
            Dropout.apply(dropped, x, rate: dropout, key: self.key(of: part, key), compute: compute)
            body(parts[index...index], dropped.readOnly)
        }
    }

    // MARK: One token

    /// The worker's share of the inner numbers (1, ranks) of x.
    func prepareRow(_ inner: MutableMatrix<Float>, _ x: Matrix<Float>, _ worker: ThreadPool.Worker) {
        let mine = worker.range(of: ranks)
        for part in parts {
            let own = part.ranks.clamped(to: mine)
            LowRankProduct.row(inner[columns: own], x, down[rows: own], scale: part.scale)
        }
    }

    /// y (1, outputs.count) += what is added to some outputs of the projection.
    func row(_ y: MutableMatrix<Float>, _ inner: Matrix<Float>, _ outputs: Range<Int>) {
        for part in parts {
            let own = part.outputs.clamped(to: outputs)
            guard !own.isEmpty else { continue }
            let rows = own.lowerBound - part.outputs.lowerBound..<own.upperBound - part.outputs.lowerBound
            LowRankProduct.row(
                y[columns: own.lowerBound - outputs.lowerBound..<own.upperBound - outputs.lowerBound],
                inner[columns: part.ranks], part.up[rows: rows], accumulate: true)
        }
    }
}
