import CKernels

/// One token through the whole model: a single piece of work with barriers in it. Every worker multiplies with its own part
/// of each matrix and normalizes the row for itself; a token costs the reading of the weights and little else.
extension Model {
    /// Memory that one worker has for itself.
    private struct Own {
        let product: RowProduct
        let normalized: UnsafeMutablePointer<Float>
        /// gate | up of the worker's columns.
        let gateUp: UnsafeMutablePointer<Float>
        let attention: CachedAttention.Scratch
    }

    /// Appends `id` to the cache; `logits` (vocabulary) become those that follow it.
    func decode(
        _ id: Int32, _ cache: KeyValueCache, logits: UnsafeMutablePointer<Float>
    ) throws(QwenSFTError) {
        let c = configuration
        let arena = compute.arena
        let mark = arena.mark
        defer { arena.release(to: mark) }
        let position = cache.count
        try cache.reserve(position + 1)
        rotary.reserve(position + 1)
        let x = try arena.floats(c.hiddenSize)
        let qkv = try arena.floats(c.attention.width)
        let context = try arena.floats(c.attention.queryWidth)
        let activated = try arena.floats(c.intermediateSize)
        var own: [Own] = []
        for _ in 0..<compute.threads {
            own.append(
                Own(
                    product: try RowProduct(
                        columns: max(c.hiddenSize, c.attention.queryWidth, c.intermediateSize), arena),
                    normalized: try arena.floats(c.hiddenSize), gateUp: try arena.floats(2 * c.intermediateSize),
                    attention: try .init(cache.layer(0), rows: c.heads / c.kvHeads, arena)))
        }
        compute.run { worker in
            let own = own[worker.index]
            let embedding = weights.weight(weights.layout.embedding)
            let columns = worker.range(of: c.hiddenSize)
            embedding.copy(row: Int(id), columns: columns, to: x)
            worker.barrier()
            for index in 0..<c.layers {
                let layer = weights.layout.layers[index]
                let cached = cache.layer(index)
                normalize(own.normalized, x, layer.inputNorm)
                multiply(qkv, own.normalized, layer.qkv, worker, own)
                worker.barrier()
                finishStates(qkv, bias: weights.vector(layer.qkvBias), position: position, cached, worker)
                worker.barrier()
                attend(context, qkv, position: position, cached, worker, own)
                worker.barrier()
                multiply(x, context, layer.output, worker, own, accumulate: true)
                worker.barrier()
                normalize(own.normalized, x, layer.postNorm)
                activate(activated, layer.gateUp, worker, own)
                worker.barrier()
                multiply(x, activated, layer.down, worker, own, accumulate: true)
                worker.barrier()
            }
            normalize(own.normalized, x, weights.layout.norm)
            multiply(logits, own.normalized, weights.layout.head, worker, own)
        }
        cache.append(1)
    }

    private func normalize(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ weight: ParameterLayout.Vector
    ) {
        var reciprocal: Float = 0
        qk_rmsnorm_forward(
            y, &reciprocal, x, weights.vector(weight), 1, configuration.hiddenSize, Float(configuration.rmsNormEpsilon))
    }

    /// The worker's part of y = or += W · x.
    private func multiply(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ matrix: ParameterLayout.Matrix,
        _ worker: ThreadPool.Worker, _ own: Own, accumulate: Bool = false
    ) {
        let weight = weights.weight(matrix)
        let range = worker.range(of: weight.rows, unit: 16)
        guard !range.isEmpty else { return }
        own.product.prepare(x, for: weight)
        own.product.multiply(y, x, weight, range, accumulate: accumulate)
    }

    /// Bias and rotation; keys and values to the cache.
    private func finishStates(
        _ qkv: UnsafeMutablePointer<Float>, bias: UnsafePointer<Float>, position: Int, _ cached: CachedKeyValues,
        _ worker: ThreadPool.Worker
    ) {
        let shape = configuration.attention
        let d = shape.headDimension
        for head in worker.range(of: shape.heads + 2 * shape.keyValueHeads) {
            let state = qkv + head * d
            qk_add(state, bias + head * d, d)
            let key = head - shape.heads
            let value = key - shape.keyValueHeads
            if value < 0 { rotary.rotate(state, position: position, heads: 1) }
            if value >= 0 {
                cached.store(value: state, head: value, position: position, isLast: true)
            } else if key >= 0 {
                cached.store(key: state, head: key, position: position)
            }
        }
    }

    /// Query heads that share keys and values go together.
    private func attend(
        _ context: UnsafeMutablePointer<Float>, _ qkv: UnsafeMutablePointer<Float>, position: Int,
        _ cached: CachedKeyValues, _ worker: ThreadPool.Worker, _ own: Own
    ) {
        let shape = configuration.attention
        let group = shape.heads / shape.keyValueHeads
        let heads = worker.range(of: shape.heads)
        var start = heads.lowerBound
        while start < heads.upperBound {
            let end = min(heads.upperBound, (start / group + 1) * group)
            CachedAttention.tile(
                context: .init(start: context, ld: shape.queryWidth), query: .init(start: qkv, ld: shape.width),
                heads: start..<end, queries: 0..<1, first: position, cached: cached, own.attention)
            start = end
        }
    }

    /// The worker's part of silu(gate) ∘ up: it has the rows of both.
    private func activate(
        _ activated: UnsafeMutablePointer<Float>, _ matrix: ParameterLayout.Matrix, _ worker: ThreadPool.Worker,
        _ own: Own
    ) {
        let weight = weights.weight(matrix)
        let width = configuration.intermediateSize
        let range = worker.range(of: width, unit: 16)
        guard !range.isEmpty else { return }
        own.product.prepare(own.normalized, for: weight)
        for part in 0..<2 {
            own.product.multiply(
                own.gateUp + part * (range.count - width) - range.lowerBound, own.normalized, weight,
                part * width + range.lowerBound..<part * width + range.upperBound)
        }
        qk_swiglu_forward(activated + range.lowerBound, own.gateUp, 1, range.count)
    }
}
