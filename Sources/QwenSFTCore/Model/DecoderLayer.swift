/// What forward leaves for backward: everything that would cost a matrix product to compute again. Shapes are
/// (rows, width) in float32. The input of the layer is kept by the caller.
struct LayerActivations {
    /// 1 / rms of the input, and of `middle`.
    let inputReciprocal: UnsafeMutablePointer<Float>
    let middleReciprocal: UnsafeMutablePointer<Float>
    /// queries | keys | values, with their biases and rotated.
    let qkv: UnsafeMutablePointer<Float>
    let logSumExp: UnsafeMutablePointer<Float>
    /// What attention puts out.
    let context: UnsafeMutablePointer<Float>
    /// The residual stream between attention and MLP.
    let middle: UnsafeMutablePointer<Float>
    /// gate | up.
    let gateUp: UnsafeMutablePointer<Float>

    init(rows: Int, _ c: Configuration, _ arena: Arena) throws(QwenSFTError) {
        inputReciprocal = try arena.floats(rows)
        middleReciprocal = try arena.floats(rows)
        qkv = try arena.floats(rows * c.attention.width)
        logSumExp = try arena.floats(rows * c.heads)
        context = try arena.floats(rows * c.attention.queryWidth)
        middle = try arena.floats(rows * c.hiddenSize)
        gateUp = try arena.floats(rows * 2 * c.intermediateSize)
    }
}

/// One decoder layer: x + attention(norm(x)), then x + mlp(norm(x)). Forward and backward side by side.
struct DecoderLayer {
    let configuration: Configuration
    let weights: ParameterStorage
    let layout: ParameterLayout.Layer
    let rotary: RotaryEmbedding
    let compute: Compute

    private var attention: AttentionShape { configuration.attention }
    /// Whether attention multiplies in bfloat16, as the linear layers do.
    private var isRounded: Bool {
        weights.weight(layout.qkv).dtype == .bfloat16 && BFloat16GEMM.Algorithm.fastest == .blocks
    }
    private var hidden: Int { configuration.hiddenSize }
    private var intermediate: Int { configuration.intermediateSize }

    /// output = layer(input); `output` may be `input`.
    /// - Parameters:
    ///   - output: (wanted rows, hidden).
    ///   - cache: this layer's earlier rows, to which these are added; nil when the rows attend by the plan.
    ///   - wanted: the rows whose output is asked for, ascending; nil: all. The others are there to be attended to.
    func forward(
        _ output: UnsafeMutablePointer<Float>, input: UnsafePointer<Float>, saved: LayerActivations,
        positions: UnsafePointer<Int32>, rows: Int, plan: AttentionPlan, cache: CachedKeyValues? = nil,
        wanted: [Int32]? = nil
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let normalized = try compute.arena.floats(rows * hidden)
        RMSNorm.forward(
            normalized, reciprocal: saved.inputReciprocal, x: input, weight: weights.vector(layout.inputNorm),
            rows: rows,
            width: hidden, epsilon: Float(configuration.rmsNormEpsilon), compute: compute)
        try Linear.forward(
            saved.qkv, ldy: attention.width, x: normalized, ldx: hidden, weight: weights.weight(layout.qkv), rows: rows,
            compute: compute)
        rotary.forward(
            saved.qkv, ld: attention.width, bias: weights.vector(layout.qkvBias), positions: positions, rows: rows,
            heads: attention.heads + attention.keyValueHeads, compute: compute)

        let states = Attention.Rows(start: saved.qkv, ld: attention.width)
        let key = Attention.Rows(start: saved.qkv + attention.queryWidth, ld: attention.width)
        let value = Attention.Rows(start: key.start + attention.keyValueWidth, ld: attention.width)
        let context = Attention.Rows(start: saved.context, ld: attention.queryWidth)
        guard let cache else {
            try (isRounded ? BFloat16Attention.forward : Attention.forward)(
                context, saved.logSumExp, states, rows, plan, attention, compute)
            return try finish(output, input: input, saved: saved, normalized: normalized, rows: rows, wanted: wanted)
        }
        let first = Int(positions[0])
        store(key, value, rows: rows, first: first, in: cache)
        let skipped = wanted.map { Int($0.first ?? Int32(rows)) } ?? 0
        guard skipped < rows else { return }
        try CachedAttention.forward(
            context: .init(start: context.at(skipped, 0), ld: context.ld),
            query: .init(start: states.at(skipped, 0), ld: states.ld), rows: rows - skipped, first: first + skipped,
            cached: cache, compute: compute)
        try finish(output, input: input, saved: saved, normalized: normalized, rows: rows, wanted: wanted)
    }

    /// What follows attention, which is in `saved.context`: every row for itself.
    private func finish(
        _ output: UnsafeMutablePointer<Float>, input: UnsafePointer<Float>, saved: LayerActivations,
        normalized: UnsafeMutablePointer<Float>, rows: Int, wanted: [Int32]?
    ) throws(QwenSFTError) {
        var context = UnsafePointer(saved.context)
        if let wanted {
            compute.gather(saved.middle, wanted, of: input, width: hidden)
            context = try gatheredContext(saved, wanted)
        } else {
            copy(input, to: saved.middle, rows: rows)
        }
        let rows = wanted?.count ?? rows
        try Linear.forward(
            saved.middle, ldy: hidden, x: context, ldx: attention.queryWidth,
            weight: weights.weight(layout.output),
            rows: rows, accumulate: true, compute: compute)

        RMSNorm.forward(
            normalized, reciprocal: saved.middleReciprocal, x: saved.middle, weight: weights.vector(layout.postNorm),
            rows: rows, width: hidden, epsilon: Float(configuration.rmsNormEpsilon), compute: compute)
        try Linear.forward(
            saved.gateUp, ldy: 2 * intermediate, x: normalized, ldx: hidden, weight: weights.weight(layout.gateUp),
            rows: rows, compute: compute)
        let activated = try compute.arena.floats(rows * intermediate)
        SwiGLU.forward(activated, gateUp: saved.gateUp, rows: rows, width: intermediate, compute: compute)
        copy(saved.middle, to: output, rows: rows)
        try Linear.forward(
            output, ldy: hidden, x: activated, ldx: intermediate, weight: weights.weight(layout.down), rows: rows,
            accumulate: true, compute: compute)
    }

    private func store(
        _ key: Attention.Rows, _ value: Attention.Rows, rows: Int, first: Int, in cache: CachedKeyValues
    ) {
        let d = attention.headDimension
        compute.rows(rows) { mine in
            for row in mine {
                for head in 0..<attention.keyValueHeads {
                    cache.store(key: key.at(row, head * d), head: head, position: first + row)
                    cache.store(
                        value: value.at(row, head * d), head: head, position: first + row, isLast: row == rows - 1)
                }
            }
        }
    }

    private func gatheredContext(
        _ saved: LayerActivations, _ wanted: [Int32]
    ) throws(QwenSFTError) -> UnsafePointer<Float> {
        let context = try compute.arena.floats(wanted.count * attention.queryWidth)
        compute.gather(context, wanted, of: saved.context, width: attention.queryWidth)
        return UnsafePointer(context)
    }

    /// `gradient`, the gradient to the layer's output, becomes the gradient to its input; weight gradients go to `sink`.
    ///
    /// Every weight's gradient is disposed of after the last use of its old value, so that it may go into the weight.
    /// - Parameters:
    ///   - gradient: (wanted rows, hidden), then (rows, hidden).
    ///   - saved: as forward left it; `gateUp` is overwritten.
    ///   - wanted: as in forward.
    func backward(
        _ gradient: UnsafeMutablePointer<Float>, input: UnsafePointer<Float>, saved: LayerActivations,
        positions: UnsafePointer<Int32>, rows: Int, plan: AttentionPlan, sink: GradientSink, wanted: [Int32]? = nil
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let normalized = try compute.arena.floats(rows * hidden)
        let dNormalized = try compute.arena.floats(rows * hidden)
        try backwardMLP(gradient, saved, normalized, dNormalized, rows: wanted?.count ?? rows, sink)
        let dContext = try compute.arena.floats(rows * attention.queryWidth)
        try backwardOutput(gradient, saved, dContext, dNormalized, rows: rows, sink, wanted)
        try backwardAttention(
            gradient, dContext, input, saved, normalized, dNormalized, positions: positions, rows: rows, plan: plan,
            sink)
    }

    private func backwardMLP(
        _ gradient: UnsafeMutablePointer<Float>, _ saved: LayerActivations, _ normalized: UnsafeMutablePointer<Float>,
        _ dNormalized: UnsafeMutablePointer<Float>, rows: Int, _ sink: GradientSink
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let activated = try compute.arena.floats(rows * intermediate)
        let dActivated = try compute.arena.floats(rows * intermediate)
        let down = weights.weight(layout.down)
        try Linear.inputGradient(
            dActivated, ldx: intermediate, dy: gradient, ldy: hidden, weight: down, rows: rows, compute: compute)
        SwiGLU.backward(
            saved.gateUp, y: activated, dy: dActivated, rows: rows, width: intermediate, compute: compute)
        try sink.take(layout.down, dy: gradient, ldy: hidden, x: activated, ldx: intermediate, rows: rows)

        try Linear.inputGradient(
            dNormalized, ldx: hidden, dy: saved.gateUp, ldy: 2 * intermediate, weight: weights.weight(layout.gateUp),
            rows: rows, compute: compute)
        let norm = weights.vector(layout.postNorm)
        normalize(normalized, saved.middle, saved.middleReciprocal, norm, rows: rows)
        try sink.take(layout.gateUp, dy: saved.gateUp, ldy: 2 * intermediate, x: normalized, ldx: hidden, rows: rows)
        try RMSNorm.backward(
            gradient, sink.vector(layout.postNorm), reciprocal: saved.middleReciprocal, dy: dNormalized,
            x: saved.middle,
            weight: norm, rows: rows, width: hidden, compute: compute)
    }

    /// Through the product behind attention: to all rows' `dContext`, and `gradient` to all rows.
    /// - Parameter scratch: (rows, hidden).
    private func backwardOutput(
        _ gradient: UnsafeMutablePointer<Float>, _ saved: LayerActivations, _ dContext: UnsafeMutablePointer<Float>,
        _ scratch: UnsafeMutablePointer<Float>, rows: Int, _ sink: GradientSink, _ wanted: [Int32]?
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let width = attention.queryWidth
        let output = weights.weight(layout.output)
        guard let wanted else {
            try Linear.inputGradient(
                dContext, ldx: width, dy: gradient, ldy: hidden, weight: output, rows: rows, compute: compute)
            return try sink.take(layout.output, dy: gradient, ldy: hidden, x: saved.context, ldx: width, rows: rows)
        }
        let dWanted = try compute.arena.floats(wanted.count * width)
        try Linear.inputGradient(
            dWanted, ldx: width, dy: gradient, ldy: hidden, weight: output, rows: wanted.count, compute: compute)
        try sink.take(
            layout.output, dy: gradient, ldy: hidden, x: gatheredContext(saved, wanted), ldx: width,
            rows: wanted.count)
        compute.scatter(dContext, rows: rows, wanted, from: dWanted, width: width)
        copy(gradient, to: scratch, rows: wanted.count)
        compute.scatter(gradient, rows: rows, wanted, from: scratch, width: hidden)
    }

    private func backwardAttention(
        _ gradient: UnsafeMutablePointer<Float>, _ dContext: UnsafeMutablePointer<Float>,
        _ input: UnsafePointer<Float>, _ saved: LayerActivations,
        _ normalized: UnsafeMutablePointer<Float>, _ dNormalized: UnsafeMutablePointer<Float>,
        positions: UnsafePointer<Int32>, rows: Int, plan: AttentionPlan, _ sink: GradientSink
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let dQKV = try compute.arena.floats(rows * attention.width)
        try (isRounded ? BFloat16Attention.backward : Attention.backward)(
            .init(start: dQKV, ld: attention.width), .init(start: saved.qkv, ld: attention.width),
            .init(start: saved.context, ld: attention.queryWidth), .init(start: dContext, ld: attention.queryWidth),
            saved.logSumExp, rows, plan, attention, compute)
        rotary.backward(
            dQKV, ld: attention.width, positions: positions, rows: rows,
            heads: attention.heads + attention.keyValueHeads,
            compute: compute)
        Bias.backward(
            sink.vector(layout.qkvBias), dy: dQKV, ld: attention.width, rows: rows, width: attention.width,
            compute: compute)

        try Linear.inputGradient(
            dNormalized, ldx: hidden, dy: dQKV, ldy: attention.width, weight: weights.weight(layout.qkv), rows: rows,
            compute: compute)
        let norm = weights.vector(layout.inputNorm)
        normalize(normalized, input, saved.inputReciprocal, norm, rows: rows)
        try sink.take(layout.qkv, dy: dQKV, ldy: attention.width, x: normalized, ldx: hidden, rows: rows)
        try RMSNorm.backward(
            gradient, sink.vector(layout.inputNorm), reciprocal: saved.inputReciprocal, dy: dNormalized, x: input,
            weight: norm, rows: rows, width: hidden, compute: compute)
    }

    /// The normalized rows once more; cheaper than keeping them.
    private func normalize(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ reciprocal: UnsafeMutablePointer<Float>,
        _ weight: UnsafePointer<Float>, rows: Int
    ) {
        RMSNorm.forward(
            y, reciprocal: reciprocal, x: x, weight: weight, rows: rows, width: hidden,
            epsilon: Float(configuration.rmsNormEpsilon), compute: compute)
    }

    private func copy(_ source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>, rows: Int) {
        guard target != source else { return }
        compute.rows(rows) {
            (target + $0.lowerBound * hidden).update(from: source + $0.lowerBound * hidden, count: $0.count * hidden)
        }
    }
}
