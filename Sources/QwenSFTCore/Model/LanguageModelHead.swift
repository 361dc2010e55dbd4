/// The final norm, the output matrix and the cross-entropy, at the rows that count and nowhere else.
///
/// Logits exist for a tile of the vocabulary at a time. Where all of them fit into the budget there is one tile, which
/// forward leaves for backward; where they do not, backward makes each tile again. Either way a tile of the matrix is not
/// needed any more when its gradient is known, so that the gradient may go into the matrix itself.
package struct LanguageModelHead {
    let norm: Norm
    let projection: Projection
    /// Rows that the adapter that is set has for a few tokens; nil where there are none.
    let tokens: TokenReplacement?
    /// Most logits that exist at one time.
    let logitBudget: Int

    package static let defaultLogitBudget = 128 << 20

    /// What forward leaves for backward.
    struct Saved {
        let targets: Targets
        /// The residual stream, its 1/rms, and the normalized rows.
        let x: Matrix<Float>
        let reciprocal: MutableMatrix<Float>
        let normalized: MutableMatrix<Float>
        /// (1, rows).
        let logSumExp: MutableMatrix<Float>
        /// (rows, tile).
        let logits: MutableMatrix<Float>
        /// Those of the tokens that an adapter has rows for, (rows, tokens); backward turns them into their gradients.
        let tokenLogits: MutableMatrix<Float>?
        /// Cross-entropy of every target, by `source`.
        let losses: [(source: Int, weight: Float, loss: Float)]
    }

    private var vocabulary: Int { projection.matrix.rows }

    /// Cross-entropy of every target; x (rows of the targets, hidden) is the output of the last layer, which backward reads
    /// again.
    func forward(_ x: Matrix<Float>, targets: Targets, compute: Compute) throws(QwenSFTError) -> Saved {
        let (rows, arena) = (targets.rows.count, compute.arena)
        let reciprocal = try arena.matrix(rows: 1, columns: rows)
        let normalized = try arena.matrix(rows: rows, columns: x.columns)
        let logSumExp = try arena.matrix(rows: 1, columns: rows)
        let tile = max(min(vocabulary, 64), min(vocabulary, logitBudget / max(rows, 1) / 64 * 64))
        let logits = try arena.matrix(rows: rows, columns: tile)
        norm.forward(normalized, x, reciprocal: reciprocal, compute: compute)

        let tokenLogits = try tokens?.rows.products(normalized.readOnly, compute: compute)
        var entropy = try CrossEntropy(targets, arena)
        try forEachTile(tile) { (range, matrix) throws(QwenSFTError) in
            let part = logits[columns: 0..<range.count]
            try multiply(part, normalized.readOnly, matrix, tokenLogits, of: range, compute: compute)
            entropy.add(part.readOnly, of: range, compute: compute)
        }
        return Saved(
            targets: targets, x: x, reciprocal: reciprocal, normalized: normalized, logSumExp: logSumExp,
            logits: logits, tokenLogits: tokenLogits, losses: entropy.finish(logSumExp))
    }

    /// dx (rows of the targets, hidden) = gradient of Σ weight · cross-entropy ÷ `totalWeight` to the output of the last layer.
    func backward(
        _ dx: MutableMatrix<Float>, _ saved: Saved, totalWeight: Double, sink: GradientSink, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let dNormalized = try compute.arena.matrix(rows: dx.rows, columns: dx.columns)
        let isTrainable = !sink.trainableRows(of: projection.matrix).isEmpty
        if isTrainable {
            // Row by row the gradient to the logits is weight ÷ totalWeight times (softmax − onehot), whose norm is below √2.
            try sink.admit(2 * Elements.norm(saved.normalized.readOnly, compute: compute), "the head")
        }
        let tile = saved.logits.columns
        var isFirst = true
        try forEachTile(tile) { (range, matrix) throws(QwenSFTError) in
            let logits = saved.logits[columns: 0..<range.count]
            if tile < vocabulary {
                try multiply(
                    logits, saved.normalized.readOnly, matrix, saved.tokenLogits, of: range, compute: compute)
            }
            CrossEntropy.gradient(
                logits, saved.targets, of: range, logSumExp: saved.logSumExp, totalWeight: totalWeight,
                compute: compute)
            if let tokens, let gradients = saved.tokenLogits {
                tokens.rows.take(gradients, of: logits, range, compute: compute)
            }
            try Linear.inputGradient(dNormalized, logits.readOnly, matrix, accumulate: !isFirst, compute: compute)
            isFirst = false
            if isTrainable {
                try Linear.weightGradient(
                    sink.destination(projection.matrix, rows: range), logits.readOnly, saved.normalized.readOnly,
                    of: matrix, compute: compute)
            }
        }
        if let tokens, let gradients = saved.tokenLogits?.readOnly {
            tokens.rows.inputGradient(dNormalized, gradients, compute: compute)
            if let target = sink.adapter(tokens.matrix) {
                LowRankProduct.weightGradient(target, gradients, saved.normalized.readOnly, compute: compute)
            }
        }
        compute.clear(dx)
        try norm.backward(
            dx, dy: dNormalized.readOnly, x: saved.x, reciprocal: saved.reciprocal.readOnly, sink: sink,
            compute: compute)
    }

    /// logits (rows, vocabulary) of x (rows, hidden), all at once.
    func logits(_ logits: MutableMatrix<Float>, _ x: Matrix<Float>, compute: Compute) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let normalized = try compute.arena.matrix(rows: x.rows, columns: x.columns)
        norm.forward(
            normalized, x, reciprocal: try compute.arena.matrix(rows: 1, columns: x.rows), compute: compute)
        let tokenLogits = try tokens?.rows.products(normalized.readOnly, compute: compute)
        try multiply(
            logits, normalized.readOnly, projection.weight, tokenLogits, of: 0..<vocabulary, compute: compute)
    }

    /// logits (rows, range) of normalized rows, by those rows of the matrix and by what an adapter has in place of them.
    private func multiply(
        _ logits: MutableMatrix<Float>, _ normalized: Matrix<Float>, _ matrix: Weight,
        _ tokenLogits: MutableMatrix<Float>?, of range: Range<Int>, compute: Compute
    ) throws(QwenSFTError) {
        try Linear.forward(logits, normalized, matrix, compute: compute)
        if let tokens, let tokenLogits {
            tokens.rows.put(tokenLogits.readOnly, to: logits, of: range, compute: compute)
        }
    }

    private func forEachTile(
        _ tile: Int, _ body: (Range<Int>, Weight) throws(QwenSFTError) -> Void
    ) throws(QwenSFTError) {
        var start = 0
        while start < vocabulary {
            let range = start..<min(start + tile, vocabulary)
            try body(range, projection.weight.slice(range))
            start = range.upperBound
        }
    }
}
