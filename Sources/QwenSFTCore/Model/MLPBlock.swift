/// The second half of a decoder layer, x + down(silu(gate(norm(x))) ∘ up(norm(x))): forward, backward and one token.
struct MLPBlock {
    let norm: Norm
    var gateUp: Projection
    var down: Projection
    /// Width of the inner layer.
    let width: Int

    init(_ layout: ParameterLayout.Layer, _ configuration: Configuration, in weights: ParameterStorage) {
        norm = Norm(layout.postNorm, configuration, in: weights)
        gateUp = Projection(layout.gateUp, in: weights)
        down = Projection(layout.down, in: weights)
        width = configuration.intermediateSize
    }

    /// What forward leaves for backward.
    struct Saved {
        /// The block's input, (rows, hidden); written by the block before.
        let input: MutableMatrix<Float>
        /// 1 / rms of it, (1, rows).
        let reciprocal: MutableMatrix<Float>
        /// gate | up, (rows, 2 · width); overwritten by backward.
        let gateUp: MutableMatrix<Float>

        init(rows: Int, _ c: Configuration, _ arena: Arena) throws(QwenSFTError) {
            input = try arena.matrix(rows: rows, columns: c.hiddenSize)
            reciprocal = try arena.matrix(rows: 1, columns: rows)
            gateUp = try arena.matrix(rows: rows, columns: 2 * c.intermediateSize)
        }

        private init(_ other: Saved, rows: Int) {
            input = other.input[rows: 0..<rows]
            reciprocal = other.reciprocal
            gateUp = other.gateUp[rows: 0..<rows]
        }

        /// The first `rows` rows.
        func first(_ rows: Int) -> Saved { Saved(self, rows: rows) }
    }

    /// output (rows, hidden) of what is in `saved.input`.
    func forward(_ output: MutableMatrix<Float>, _ saved: Saved, compute: Compute) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let (rows, x) = (saved.input.rows, saved.input.readOnly)
        let normalized = try compute.arena.matrix(rows: rows, columns: x.columns)
        norm.forward(normalized, x, reciprocal: saved.reciprocal, compute: compute)
        try gateUp.forward(saved.gateUp, normalized.readOnly, compute: compute)
        let activated = try compute.arena.matrix(rows: rows, columns: width)
        SwiGLU.forward(activated, gateUp: saved.gateUp.readOnly, compute: compute)
        compute.copy(x, to: output)
        try down.forward(output, activated.readOnly, accumulate: true, compute: compute)
    }

    /// `gradient` (rows, hidden) to the output becomes that to the input.
    func backward(
        _ gradient: MutableMatrix<Float>, _ saved: Saved, sink: GradientSink, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let (rows, hidden) = (gradient.rows, gradient.columns)
        let normalized = try compute.arena.matrix(rows: rows, columns: hidden)
        let dNormalized = try compute.arena.matrix(rows: rows, columns: hidden)
        let activated = try compute.arena.matrix(rows: rows, columns: width)
        let dActivated = try compute.arena.matrix(rows: rows, columns: width)
        let downInner = try down.inputGradient(dActivated, gradient.readOnly, compute: compute)
        SwiGLU.backward(saved.gateUp, y: activated, dy: dActivated.readOnly, compute: compute)
        try down.weightGradient(dy: gradient.readOnly, x: activated.readOnly, downInner, sink: sink, compute: compute)

        let dGateUp = saved.gateUp.readOnly
        let inner = try gateUp.inputGradient(dNormalized, dGateUp, compute: compute)
        // The normalized rows once more; cheaper than keeping them.
        norm.forward(normalized, saved.input.readOnly, reciprocal: saved.reciprocal, compute: compute)
        try gateUp.weightGradient(dy: dGateUp, x: normalized.readOnly, inner, sink: sink, compute: compute)
        try norm.backward(
            gradient, dy: dNormalized.readOnly, x: saved.input.readOnly, reciprocal: saved.reciprocal.readOnly,
            sink: sink, compute: compute)
    }

    // MARK: One token

    /// x (1, hidden) becomes the output, by all workers of a piece of work; the caller waits for them.
    func decode(_ x: MutableMatrix<Float>, _ memory: DecodeMemory, _ worker: ThreadPool.Worker) {
        let own = memory.own[worker.index]
        norm.row(own.normalized, x.readOnly)
        gateUp.prepareRow(own.normalized.readOnly, memory.inner, worker)
        activate(memory, own, worker)
        worker.barrier()
        down.prepareRow(memory.activated.readOnly, memory.inner, worker)
        let outputs = worker.range(of: x.columns, unit: 16)
        down.row(
            x[columns: outputs], own.prepare(memory.activated.readOnly, for: down.weight), outputs,
            inner: memory.inner, accumulate: true)
    }

    /// The worker's part of silu(gate) ∘ up: it has the rows of both.
    private func activate(_ memory: DecodeMemory, _ own: DecodeMemory.Own, _ worker: ThreadPool.Worker) {
        let range = worker.range(of: width, unit: 16)
        guard !range.isEmpty else { return }
        let x = own.prepare(own.normalized.readOnly, for: gateUp.weight)
        let mine = own.gateUp[columns: 0..<2 * range.count]
        for part in 0..<2 {
            gateUp.row(
                mine[columns: part * range.count..<(part + 1) * range.count], x,
                part * width + range.lowerBound..<part * width + range.upperBound, inner: memory.inner)
        }
        SwiGLU.row(memory.activated[columns: range], gateUp: mine.readOnly)
    }
}
