/// The rows that go through the layers together.
struct DecoderRows {
    let ids: [Int32]
    let positions: [Int32]
    /// What attends to what.
    let plan: AttentionPlan
    /// The rows whose output is asked for, ascending; nil: all. The others are there to be attended to, and end in the
    /// attention of the last layer.
    var wanted: [Int32]?

    var count: Int { ids.count }

    /// The same for a layer behind which all rows are needed.
    fileprivate var all: DecoderRows { DecoderRows(ids: ids, positions: positions, plan: plan, wanted: nil) }
}

/// One decoder layer: attention, then the MLP, both added to what they read.
struct DecoderLayer {
    let attention: AttentionBlock
    let mlp: MLPBlock

    /// What forward leaves for backward: everything that would cost a matrix product to compute again. The layer's input is
    /// kept by the caller.
    struct Saved {
        let attention: AttentionBlock.Saved
        let mlp: MLPBlock.Saved

        init(rows: Int, _ configuration: Configuration, _ arena: Arena) throws(QwenSFTError) {
            attention = try AttentionBlock.Saved(rows: rows, configuration.attention, arena)
            mlp = try MLPBlock.Saved(rows: rows, configuration, arena)
        }
    }

    /// output (wanted rows, hidden) = layer(input); it may be `input`.
    func forward(
        _ output: MutableMatrix<Float>, input: Matrix<Float>, _ saved: Saved, _ rows: DecoderRows,
        cache: CachedKeyValues? = nil, compute: Compute
    ) throws(QwenSFTError) {
        let asked = rows.wanted?.count ?? rows.count
        let mlpSaved = saved.mlp.first(asked)
        try attention.forward(mlpSaved.input, input: input, saved.attention, rows, cache: cache, compute: compute)
        guard asked > 0 else { return }
        try mlp.forward(output[rows: 0..<asked], mlpSaved, compute: compute)
    }

    /// `gradient` to the output (its first rows, as many as are wanted) becomes that to the input (all rows).
    func backward(
        _ gradient: MutableMatrix<Float>, input: Matrix<Float>, _ saved: Saved, _ rows: DecoderRows,
        sink: GradientSink, compute: Compute
    ) throws(QwenSFTError) {
        let asked = rows.wanted?.count ?? rows.count
        try mlp.backward(gradient[rows: 0..<asked], saved.mlp.first(asked), sink: sink, compute: compute)
        try attention.backward(gradient, input: input, saved.attention, rows, sink: sink, compute: compute)
    }
}

/// A model from ids to the residual stream behind the last layer, and back.
struct Decoder {
    let configuration: Configuration
    let embedding: Projection
    let layers: [DecoderLayer]
    let norm: Norm
    /// The embedding itself where the two are tied.
    let head: Projection
    let rotary: RotaryEmbedding

    init(_ configuration: Configuration, _ weights: ParameterStorage) {
        let layout = weights.layout
        let rotary = RotaryEmbedding(
            theta: configuration.ropeTheta, headDimension: configuration.headDimension, yarn: configuration.yarn)
        self.configuration = configuration
        self.rotary = rotary
        embedding = Projection(layout.embedding, in: weights)
        layers = layout.layers.map {
            DecoderLayer(
                attention: AttentionBlock($0, configuration, rotary: rotary, in: weights),
                mlp: MLPBlock($0, configuration, in: weights))
        }
        norm = Norm(layout.norm, configuration, in: weights)
        head = Projection(layout.head, in: weights)
    }

    /// What forward keeps for backward.
    enum Keeping {
        /// Nothing; there will be no backward.
        case nothing
        /// The layers' inputs; a layer is computed once more before its backward.
        case inputs
        case everything
    }

    /// What forward left, in the arena.
    struct Trace {
        fileprivate var inputs: [MutableMatrix<Float>] = []
        fileprivate var saved: [DecoderLayer.Saved] = []
        /// The residual stream behind the last layer, (rows or wanted rows, hidden).
        fileprivate(set) var output: MutableMatrix<Float>
    }

    private func rows(_ rows: DecoderRows, ofLayer index: Int) -> DecoderRows {
        index == layers.count - 1 ? rows : rows.all
    }

    /// - Parameters:
    ///   - cache: earlier tokens; these rows are appended to it.
    ///   - afterLayer: what it throws ends the pass.
    /// - Throws: what `cache` throws when it is full.
    func forward(
        _ rows: DecoderRows, keeping: Keeping, cache: KeyValueCache? = nil, compute: Compute,
        afterLayer: () throws(QwenSFTError) -> Void = {}
    ) throws(QwenSFTError) -> Trace {
        let arena = compute.arena
        rotary.reserve(Int(rows.positions.max() ?? 0) + 1)
        try cache?.reserve((cache?.count ?? 0) + rows.count)
        var x = try arena.matrix(rows: rows.count, columns: configuration.hiddenSize)
        var trace = Trace(output: x)
        let mark = arena.mark
        defer { if keeping == .nothing { arena.release(to: mark) } }
        Embedding.forward(x, ids: rows.ids, table: embedding.weight, compute: compute)
        for (index, layer) in layers.enumerated() {
            if keeping == .everything || index == 0 {
                trace.saved.append(try DecoderLayer.Saved(rows: rows.count, configuration, arena))
            }
            let output = keeping == .nothing ? x : try arena.matrix(rows: rows.count, columns: x.columns)
            try layer.forward(
                output, input: x.readOnly, trace.saved[keeping == .everything ? index : 0],
                self.rows(rows, ofLayer: index), cache: cache?.layer(index), compute: compute)
            trace.inputs.append(x)
            x = output
            try afterLayer()
        }
        cache?.append(rows.count)
        trace.output = x[rows: 0..<(rows.wanted?.count ?? rows.count)]
        return trace
    }

    /// `gradient` (rows, hidden), to the output in its first rows, becomes that to the embedded rows; weights' gradients go to
    /// `sink`. After `forward` that kept something.
    func backward(
        _ gradient: MutableMatrix<Float>, _ rows: DecoderRows, _ trace: Trace, sink: GradientSink, compute: Compute,
        afterLayer: () throws(QwenSFTError) -> Void = {}
    ) throws(QwenSFTError) {
        let recomputes = trace.saved.count < layers.count
        for index in layers.indices.reversed() {
            let saved = trace.saved[recomputes ? 0 : index]
            let (input, rows) = (trace.inputs[index].readOnly, self.rows(rows, ofLayer: index))
            if recomputes {
                let mark = compute.arena.mark
                let unused = try compute.arena.matrix(rows: rows.count, columns: gradient.columns)
                try layers[index].forward(unused, input: input, saved, rows, compute: compute)
                compute.arena.release(to: mark)
            }
            try layers[index].backward(gradient, input: input, saved, rows, sink: sink, compute: compute)
            try afterLayer()
        }
    }
}
