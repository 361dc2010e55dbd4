/// One token through the whole model: a single piece of work with barriers in it. Every worker multiplies with its own part
/// of each matrix and normalizes the row for itself; a token costs the reading of the weights and little else.
extension Decoder {
    /// Appends `id` to the cache; `logits` (1, vocabulary) become those that follow it.
    func decode(
        _ id: Int32, _ cache: KeyValueCache, logits: MutableMatrix<Float>, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let position = cache.count
        try cache.reserve(position + 1)
        rotary.reserve(position + 1)
        let x = try compute.arena.matrix(rows: 1, columns: configuration.hiddenSize)
        let memory = try DecodeMemory(self, cache.layer(0), compute)
        compute.run { worker in
            if embeddingTokens?.rows.lookUp(x, id: id, worker) != true {
                Embedding.forward(x, id: id, table: embedding.weight, worker)
            }
            worker.barrier()
            for (index, layer) in layers.enumerated() {
                layer.attention.decode(x, position: position, cache.layer(index), memory, worker)
                worker.barrier()
                layer.mlp.decode(x, memory, worker)
                worker.barrier()
            }
            let own = memory.own[worker.index]
            norm.row(own.normalized, x.readOnly)
            let outputs = worker.range(of: logits.columns, unit: 16)
            head.row(
                logits[columns: outputs], own.prepare(own.normalized.readOnly, for: head.weight), outputs,
                inner: memory.inner)
            headTokens?.rows.row(logits[columns: outputs], own.normalized.readOnly, of: outputs)
        }
        cache.append(1)
    }
}

/// Memory of a token on its way: what all workers share, and what each has for itself.
struct DecodeMemory {
    /// queries | keys | values, (1, width).
    let states: MutableMatrix<Float>
    /// What attention puts out, (1, heads · d).
    let context: MutableMatrix<Float>
    /// silu(gate) ∘ up.
    let activated: MutableMatrix<Float>
    /// What an adapter makes of a product's input before it makes outputs of that, (1, ranks).
    let inner: MutableMatrix<Float>
    let own: [Own]

    struct Own {
        let normalized: MutableMatrix<Float>
        /// gate | up of the worker's columns.
        let gateUp: MutableMatrix<Float>
        let attention: CachedAttention.Scratch
        fileprivate let scratch: RowScratch

        func prepare(_ x: Matrix<Float>, for weight: Weight) -> PreparedRows { scratch.prepare(x, for: weight) }
    }

    init(_ decoder: Decoder, _ cached: CachedKeyValues, _ compute: Compute) throws(QwenSFTError) {
        let (c, arena) = (decoder.configuration, compute.arena)
        states = try arena.matrix(rows: 1, columns: c.attention.width)
        context = try arena.matrix(rows: 1, columns: c.attention.queryWidth)
        activated = try arena.matrix(rows: 1, columns: c.intermediateSize)
        let ranks = decoder.layers.flatMap(\.projections).map { $0.lowRank?.ranks ?? 0 }.max() ?? 0
        inner = try arena.matrix(rows: 1, columns: ranks)
        // All layers are of one size.
        let weights = decoder.layers.prefix(1).flatMap(\.projections).map(\.weight) + [decoder.head.weight]
        var own: [Own] = []
        for _ in 0..<compute.threads {
            own.append(
                Own(
                    normalized: try arena.matrix(rows: 1, columns: c.hiddenSize),
                    gateUp: try arena.matrix(rows: 1, columns: 2 * c.intermediateSize),
                    attention: try .init(cached, rows: c.heads / c.kvHeads, arena),
                    scratch: try RowScratch(for: weights, arena)))
        }
        self.own = own
    }
}
