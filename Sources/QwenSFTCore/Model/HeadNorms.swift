/// The norms of an attention's query heads and of its key heads, each head on its own: forward and backward for all rows.
///
/// They stand behind the product, whose result backward needs, so the normalized states have memory of their own; it is made
/// again in backward, for the price of a pass over them, and not kept.
struct HeadNorms {
    let query: Norm
    let key: Norm
    private let shape: AttentionShape

    /// nil: the architecture has none.
    init?(_ layout: ParameterLayout.Layer, _ configuration: Configuration, in weights: ParameterStorage) {
        guard let query = layout.queryNorm, let key = layout.keyNorm else { return nil }
        self.query = Norm(query, configuration, in: weights)
        self.key = Norm(key, configuration, in: weights)
        shape = configuration.attention
    }

    /// What forward makes, in the arena.
    struct Normalized {
        /// The same as before but for its states.
        let attention: Attention.Saved
        /// 1 / rms of each query head and each key head, (1, rows · heads).
        fileprivate let queryReciprocal: MutableMatrix<Float>
        fileprivate let keyReciprocal: MutableMatrix<Float>
    }

    private var queries: Range<Int> { 0..<shape.queryWidth }
    private var keys: Range<Int> { shape.queryWidth..<shape.queryWidth + shape.keyValueWidth }
    private var values: Range<Int> { keys.upperBound..<shape.width }

    /// Queries and keys of `projected`, normalized; values as they are.
    func forward(_ projected: Attention.Saved, compute: Compute) throws(QwenSFTError) -> Normalized {
        let x = projected.states.readOnly
        let states = try compute.arena.matrix(rows: x.rows, columns: shape.width)
        let queryReciprocal = try compute.arena.matrix(rows: 1, columns: x.rows * shape.heads)
        let keyReciprocal = try compute.arena.matrix(rows: 1, columns: x.rows * shape.keyValueHeads)
        query.forward(states[columns: queries], x[columns: queries], reciprocal: queryReciprocal, compute: compute)
        key.forward(states[columns: keys], x[columns: keys], reciprocal: keyReciprocal, compute: compute)
        compute.copy(x[columns: values], to: states[columns: values])
        return Normalized(
            attention: Attention.Saved(
                states: states, logSumExp: projected.logSumExp, context: projected.context),
            queryReciprocal: queryReciprocal, keyReciprocal: keyReciprocal)
    }

    /// The gradient to `projected`, which takes the place of the normalized states.
    /// - Parameter dy: to the normalized states, (rows, width).
    func backward(
        _ dy: Matrix<Float>, _ normalized: Normalized, projected: Matrix<Float>, sink: GradientSink, compute: Compute
    ) throws(QwenSFTError) -> MutableMatrix<Float> {
        let dx = normalized.attention.states
        compute.clear(dx[columns: 0..<keys.upperBound])
        compute.copy(dy[columns: values], to: dx[columns: values])
        try query.backward(
            dx[columns: queries], dy: dy[columns: queries], x: projected[columns: queries],
            reciprocal: normalized.queryReciprocal.readOnly, sink: sink, compute: compute)
        try key.backward(
            dx[columns: keys], dy: dy[columns: keys], x: projected[columns: keys],
            reciprocal: normalized.keyReciprocal.readOnly, sink: sink, compute: compute)
        return dx
    }
}
