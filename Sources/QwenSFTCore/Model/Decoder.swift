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
    var attention: AttentionBlock
    var mlp: MLPBlock

    var projections: [Projection] { [attention.qkv, attention.output, mlp.gateUp, mlp.down] }
    var norms: [Norm] { [attention.norm, mlp.norm] }

    /// Changes each of the projections.
    mutating func forEachProjection(_ body: (inout Projection) -> Void) {
        body(&attention.qkv)
        body(&attention.output)
        body(&mlp.gateUp)
        body(&mlp.down)
    }

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
    /// - Parameter reachesInput: false where only the layer itself takes gradients.
    func backward(
        _ gradient: MutableMatrix<Float>, input: Matrix<Float>, _ saved: Saved, _ rows: DecoderRows,
        reachesInput: Bool, sink: GradientSink, compute: Compute
    ) throws(QwenSFTError) {
        let asked = rows.wanted?.count ?? rows.count
        try mlp.backward(gradient[rows: 0..<asked], saved.mlp.first(asked), sink: sink, compute: compute)
        try attention.backward(
            gradient, input: input, saved.attention, rows, reachesInput: reachesInput, sink: sink, compute: compute)
    }
}

/// A model from ids to the residual stream behind the last layer, and back.
struct Decoder {
    let configuration: Configuration
    let embedding: Projection
    private(set) var layers: [DecoderLayer]
    let norm: Norm
    /// The embedding itself where the two are tied.
    let head: Projection
    let rotary: RotaryEmbedding
    /// Rows that the adapter that is set has for a few tokens, in place of those of `embedding` and `head`; nil where there are none.
    private(set) var embeddingTokens: TokenReplacement?
    private(set) var headTokens: TokenReplacement?

    init(_ configuration: Configuration, _ layout: ParameterLayout, _ weights: ParameterStorage) {
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

    /// The same with what an adapter adds to the projections, and with its rows of tokens.
    func adapted(by adapter: Adapter?) -> Decoder {
        var result = self
        var next = (adapter?.lowRanks ?? []).makeIterator()
        (result.embeddingTokens, result.headTokens) = (adapter?.embeddingTokens, adapter?.headTokens)
        for index in result.layers.indices {
            result.layers[index].forEachProjection { $0.lowRank = next.next() ?? nil }
        }
        return result
    }

    /// The same for one pass of training, in which adapters drop inputs out.
    func dropping(_ key: UInt64) -> Decoder {
        var result = self
        for index in result.layers.indices {
            result.layers[index].forEachProjection { $0.lowRank?.dropoutKey = key }
        }
        return result
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
        fileprivate let keeping: Keeping
        /// The residual stream behind the last layer, (rows or wanted rows, hidden).
        fileprivate(set) var output: MutableMatrix<Float>
    }

    private func rows(_ rows: DecoderRows, ofLayer index: Int) -> DecoderRows {
        index == layers.count - 1 ? rows : rows.all
    }

    /// - Parameters:
    ///   - first: the layer that backward will end at; nothing is kept of those below.
    ///   - cache: earlier tokens; these rows are appended to it.
    ///   - afterLayer: what it throws ends the pass.
    /// - Throws: what `cache` throws when it is full.
    func forward(
        _ rows: DecoderRows, keeping: Keeping, from first: Int = 0, cache: KeyValueCache? = nil, compute: Compute,
        afterLayer: () throws(QwenSFTError) -> Void = {}
    ) throws(QwenSFTError) -> Trace {
        let arena = compute.arena
        rotary.reserve(Int(rows.positions.max() ?? 0) + 1)
        try cache?.reserve((cache?.count ?? 0) + rows.count)
        var x = try arena.matrix(rows: rows.count, columns: configuration.hiddenSize)
        var trace = Trace(keeping: keeping, output: x)
        let mark = arena.mark
        defer { if keeping == .nothing { arena.release(to: mark) } }
        Embedding.forward(x, ids: rows.ids, table: embedding.weight, compute: compute)
        embeddingTokens?.rows.lookUp(x, ids: rows.ids, compute: compute)
        for (index, layer) in layers.enumerated() {
            let keeping = index < first ? .nothing : keeping
            if keeping != .everything, let shared = trace.saved.first {
                trace.saved.append(shared)
            } else {
                trace.saved.append(try DecoderLayer.Saved(rows: rows.count, configuration, arena))
            }
            let output = keeping == .nothing ? x : try arena.matrix(rows: rows.count, columns: x.columns)
            try layer.forward(
                output, input: x.readOnly, trace.saved[index],
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
    /// - Parameter end: how far down it goes; where that is not the input, `gradient` means nothing afterwards.
    func backward(
        _ gradient: MutableMatrix<Float>, _ rows: DecoderRows, _ trace: Trace, to end: BackwardEnd,
        sink: GradientSink, compute: Compute,
        afterLayer: () throws(QwenSFTError) -> Void = {}
    ) throws(QwenSFTError) {
        for index in layers.indices.reversed() where index >= end.layer {
            let saved = trace.saved[index]
            let (input, rows) = (trace.inputs[index].readOnly, self.rows(rows, ofLayer: index))
            if trace.keeping == .inputs {
                let mark = compute.arena.mark
                let unused = try compute.arena.matrix(rows: rows.count, columns: gradient.columns)
                try layers[index].forward(unused, input: input, saved, rows, compute: compute)
                compute.arena.release(to: mark)
            }
            try layers[index].backward(
                gradient, input: input, saved, rows, reachesInput: index > end.layer || end.reachesInput, sink: sink,
                compute: compute)
            try afterLayer()
        }
    }
}
