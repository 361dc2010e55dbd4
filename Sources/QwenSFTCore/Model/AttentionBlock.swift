/// The first half of a decoder layer, x + output(attention(qkv(norm(x)))): forward, backward and one token. Between the
/// product and attention, queries and keys are normalized by head where the architecture does so, and rotated.
struct AttentionBlock {
    let norm: Norm
    /// Queries, keys and values in one product.
    var qkv: Projection
    var output: Projection
    let headNorms: HeadNorms?
    let shape: AttentionShape
    let rotary: RotaryEmbedding

    init(
        _ layout: ParameterLayout.Layer, _ configuration: Configuration, rotary: RotaryEmbedding,
        in weights: ParameterStorage
    ) {
        norm = Norm(layout.inputNorm, configuration, in: weights)
        qkv = Projection(layout.qkv, bias: layout.qkvBias, in: weights)
        output = Projection(layout.output, in: weights)
        shape = configuration.attention
        headNorms = HeadNorms(layout, configuration, in: weights)
        self.rotary = rotary
    }

    /// What forward leaves for backward. The block's input is kept by the caller.
    struct Saved {
        /// 1 / rms of the input, (1, rows).
        let reciprocal: MutableMatrix<Float>
        /// With head norms its states are what the product made, as backward needs them; else they are rotated already.
        let attention: Attention.Saved

        init(rows: Int, _ shape: AttentionShape, _ arena: Arena) throws(QwenSFTError) {
            reciprocal = try arena.matrix(rows: 1, columns: rows)
            attention = Attention.Saved(
                states: try arena.matrix(rows: rows, columns: shape.width),
                logSumExp: try arena.matrix(rows: shape.heads, columns: rows),
                context: try arena.matrix(rows: rows, columns: shape.queryWidth))
        }
    }

    /// Whether attention multiplies in bfloat16, as the linear layers do.
    private var isRounded: Bool {
        if case .float32 = qkv.weight { false } else { BFloat16GEMM.Algorithm.fastest == .blocks }
    }

    /// - Parameters:
    ///   - middle: the residual stream behind the block, (rows or wanted rows, hidden).
    ///   - cache: this layer's earlier rows, to which these are added; nil when the rows attend by the plan.
    func forward(
        _ middle: MutableMatrix<Float>, input: Matrix<Float>, _ saved: Saved, _ rows: DecoderRows,
        cache: CachedKeyValues?, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let normalized = try compute.arena.matrix(rows: input.rows, columns: input.columns)
        norm.forward(normalized, input, reciprocal: saved.reciprocal, compute: compute)
        let states = saved.attention.states
        try qkv.forward(states, normalized.readOnly, compute: compute)
        let attention = try headNorms?.forward(saved.attention, compute: compute).attention ?? saved.attention
        rotary.forward(
            attention.states, bias: qkv.bias, positions: rows.positions, heads: shape.heads + shape.keyValueHeads,
            compute: compute)
        if let cache {
            guard try attend(attention, rows, cache: cache, compute: compute) else { return }
        } else if isRounded {
            try BFloat16Attention.forward(attention, plan: rows.plan, shape: shape, compute: compute)
        } else {
            try Attention.forward(attention, plan: rows.plan, shape: shape, compute: compute)
        }
        // From here on every row is for itself.
        if let wanted = rows.wanted {
            compute.gather(middle, wanted, of: input)
        } else {
            compute.copy(input, to: middle)
        }
        try output.forward(middle, try context(saved, rows, compute), accumulate: true, compute: compute)
    }

    /// Adds keys and values to the cache and attends to all that is in it.
    /// - Returns: whether any row's output is asked for.
    private func attend(
        _ saved: Attention.Saved, _ rows: DecoderRows, cache: CachedKeyValues, compute: Compute
    ) throws(QwenSFTError) -> Bool {
        let states = saved.states.readOnly
        let first = Int(rows.positions[0])
        let keys = shape.queryWidth..<shape.queryWidth + shape.keyValueWidth
        cache.store(
            states[columns: keys], states[columns: keys.upperBound..<shape.width], first: first, compute: compute)
        let asked = (rows.wanted.map { Int($0.first ?? Int32(states.rows)) } ?? 0)..<states.rows
        guard !asked.isEmpty else { return false }
        try CachedAttention.forward(
            saved.context[rows: asked], query: states[rows: asked], first: first + asked.lowerBound,
            cached: cache, compute: compute)
        return true
    }

    /// What attention put out, at the rows that are asked for.
    private func context(
        _ saved: Saved, _ rows: DecoderRows, _ compute: Compute
    ) throws(QwenSFTError) -> Matrix<Float> {
        guard let wanted = rows.wanted else { return saved.attention.context.readOnly }
        let chosen = try compute.arena.matrix(rows: wanted.count, columns: shape.queryWidth)
        compute.gather(chosen, wanted, of: saved.attention.context.readOnly)
        return chosen.readOnly
    }

    /// `gradient`, to the block's output (its first rows, as many as are wanted), becomes that to the input (all rows).
    ///
    /// Every weight's gradient is disposed of after the last use of its old value, so that it may go into the weight.
    /// - Parameter reachesInput: false where nothing before the products of this block takes a gradient; `gradient` means
    ///   nothing afterwards.
    func backward(
        _ gradient: MutableMatrix<Float>, input: Matrix<Float>, _ saved: Saved, _ rows: DecoderRows,
        reachesInput: Bool, sink: GradientSink, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let normalized = try compute.arena.matrix(rows: input.rows, columns: input.columns)
        let dNormalized = try compute.arena.matrix(rows: input.rows, columns: input.columns)
        let dContext = try compute.arena.matrix(rows: input.rows, columns: shape.queryWidth)
        try backwardOutput(gradient, dContext, saved, rows, sink: sink, compute: compute)

        let dStates = try backwardAttention(dContext.readOnly, saved, rows, sink: sink, compute: compute)
        let inner = try qkv.inputGradient(
            reachesInput ? dNormalized : nil, dStates.readOnly, compute: compute)
        // The normalized rows once more; cheaper than keeping them.
        norm.forward(normalized, input, reciprocal: saved.reciprocal, compute: compute)
        try qkv.weightGradient(dy: dStates.readOnly, x: normalized.readOnly, inner, sink: sink, compute: compute)
        guard reachesInput else { return }
        try norm.backward(
            gradient, dy: dNormalized.readOnly, x: input, reciprocal: saved.reciprocal.readOnly, sink: sink,
            compute: compute)
    }

    /// From attention's output to the product in front of it, (rows, width).
    private func backwardAttention(
        _ dContext: Matrix<Float>, _ saved: Saved, _ rows: DecoderRows, sink: GradientSink, compute: Compute
    ) throws(QwenSFTError) -> MutableMatrix<Float> {
        let dStates = try compute.arena.matrix(rows: dContext.rows, columns: shape.width)
        let backward = isRounded ? BFloat16Attention.backward : Attention.backward
        let heads = shape.heads + shape.keyValueHeads
        // Normalized and rotated once more; cheaper than keeping them.
        let normalized = try headNorms?.forward(saved.attention, compute: compute)
        if let normalized {
            rotary.forward(
                normalized.attention.states, bias: nil, positions: rows.positions, heads: heads, compute: compute)
        }
        try backward(dStates, dContext, normalized?.attention ?? saved.attention, rows.plan, shape, compute)
        rotary.backward(dStates, positions: rows.positions, heads: heads, compute: compute)
        guard let headNorms, let normalized else { return dStates }
        return try headNorms.backward(
            dStates.readOnly, normalized, projected: saved.attention.states.readOnly, sink: sink, compute: compute)
    }

    /// Through the product behind attention: to all rows' `dContext`, and `gradient` to all rows.
    private func backwardOutput(
        _ gradient: MutableMatrix<Float>, _ dContext: MutableMatrix<Float>, _ saved: Saved, _ rows: DecoderRows,
        sink: GradientSink, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        guard let wanted = rows.wanted else {
            let inner = try output.inputGradient(dContext, gradient.readOnly, compute: compute)
            return try output.weightGradient(
                dy: gradient.readOnly, x: saved.attention.context.readOnly, inner, sink: sink, compute: compute)
        }
        let dWanted = try compute.arena.matrix(rows: wanted.count, columns: shape.queryWidth)
        let given = gradient[rows: 0..<wanted.count]
        let inner = try output.inputGradient(dWanted, given.readOnly, compute: compute)
        try output.weightGradient(
            dy: given.readOnly, x: try context(saved, rows, compute), inner, sink: sink, compute: compute)
        compute.scatter(dContext, wanted, from: dWanted.readOnly)
        let copy = try compute.arena.matrix(rows: wanted.count, columns: gradient.columns)
        compute.copy(given.readOnly, to: copy)
        compute.scatter(gradient, wanted, from: copy.readOnly)
    }

    // MARK: One token

    /// x (1, hidden) becomes the block's output, by all workers of a piece of work; the caller waits for them.
    func decode(
        _ x: MutableMatrix<Float>, position: Int, _ cached: CachedKeyValues, _ memory: DecodeMemory,
        _ worker: ThreadPool.Worker
    ) {
        let own = memory.own[worker.index]
        norm.row(own.normalized, x.readOnly)
        let states = worker.range(of: shape.width, unit: 16)
        qkv.prepareRow(own.normalized.readOnly, memory.inner, worker)
        qkv.row(
            memory.states[columns: states], own.prepare(own.normalized.readOnly, for: qkv.weight), states,
            inner: memory.inner)
        worker.barrier()
        finishStates(memory.states, position: position, cached, worker)
        worker.barrier()
        attend(memory, position: position, cached, worker)
        worker.barrier()
        output.prepareRow(memory.context.readOnly, memory.inner, worker)
        let outputs = worker.range(of: x.columns, unit: 16)
        output.row(
            x[columns: outputs], own.prepare(memory.context.readOnly, for: output.weight), outputs,
            inner: memory.inner, accumulate: true)
    }

    /// Bias, norm and rotation; keys and values to the cache.
    private func finishStates(
        _ states: MutableMatrix<Float>, position: Int, _ cached: CachedKeyValues, _ worker: ThreadPool.Worker
    ) {
        let d = shape.headDimension
        for head in worker.range(of: shape.heads + 2 * shape.keyValueHeads) {
            let columns = head * d..<(head + 1) * d
            let state = states[columns: columns]
            if let bias = qkv.bias { Elements.add(bias[columns: columns], to: state) }
            let key = head - shape.heads
            let value = key - shape.keyValueHeads
            if let headNorms, value < 0 { (key < 0 ? headNorms.query : headNorms.key).row(state, state.readOnly) }
            if value < 0 { rotary.rotate(state, position: position) }
            if value >= 0 {
                cached.store(value: state.base, head: value, position: position, isLast: true)
            } else if key >= 0 {
                cached.store(key: state.base, head: key, position: position)
            }
        }
    }

    /// Query heads that share keys and values go together.
    private func attend(
        _ memory: DecodeMemory, position: Int, _ cached: CachedKeyValues, _ worker: ThreadPool.Worker
    ) {
        let group = shape.heads / shape.keyValueHeads
        let heads = worker.range(of: shape.heads)
        var start = heads.lowerBound
        while start < heads.upperBound {
            let end = min(heads.upperBound, (start / group + 1) * group)
            CachedAttention.tile(
                memory.context, query: memory.states.readOnly, heads: start..<end, first: position, cached: cached,
                memory.own[worker.index].attention)
            start = end
        }
    }
}
