/// What a run will take, known before the model is opened: steps, memory, and how much there is to compute.
public struct TrainingPlan: Sendable, Equatable {
    public let steps: Int
    public let stepsPerEpoch: Int
    /// Of all rows, once.
    public let tokens: Int
    /// Tokens of the longest batch that is computed at once, in the first epoch.
    public let longestBatch: Int
    /// With that batch.
    public let memory: TrainingMemory
    /// What can be had now without swapping; nil: the system does not say.
    public let availableMemory: Int?
    /// Floating-point operations of all steps and ranks, multiplications and additions, without evaluations.
    public let operations: Double

    /// Whether there is memory enough, as far as is known.
    public var fits: Bool { availableMemory.map { memory.total <= $0 } ?? true }

    /// - Throws: `invalidArgument` naming the option that is out of range; what `TrainingMemory.init` throws.
    public init(
        _ configuration: Configuration, _ setup: TrainingSetup, _ data: EncodedDataset, run: TrainingRunOptions
    ) throws(QwenSFTError) {
        try run.validate()
        let ranks = setup.options.collective?.worldSize ?? 1
        let order = try run.order(of: data, worldSize: ranks)
        stepsPerEpoch = order.stepsPerEpoch
        steps = run.totalSteps(stepsPerEpoch: stepsPerEpoch)
        tokens = order.lengths.reduce(0, +)
        longestBatch = order.steps(ofEpoch: 0).reduce(0) { longest, rows in
            (0..<ranks).reduce(longest) { longest, rank in
                let mine = order.shard(rows, rank: rank, of: ranks)
                return order.passes(mine, count: run.accumulation, maxTokens: run.maxBatchTokens)
                    .reduce(longest) { max($0, $1.reduce(0) { $0 + order.lengths[$1] }) }
            }
        }
        memory = try TrainingMemory(configuration, setup, tokens: longestBatch, accumulation: run.accumulation)
        availableMemory = AvailableMemory.bytes
        let epoch = Self.operations(
            configuration, setup, lengths: order.lengths, supervised: data.report.targets)
        operations = epoch * Double(steps) / Double(stepsPerEpoch)
    }

    /// Of one pass over the rows: those of the matrix products and of attention, which nearly all of the time goes into.
    private static func operations(
        _ c: Configuration, _ setup: TrainingSetup, lengths: [Int], supervised: Int
    ) -> Double {
        let layout = ParameterLayout(c)
        let weights = layout.layers.reduce(0.0) { sum, layer in
            [layer.qkv, layer.output, layer.gateUp, layer.down].reduce(sum) { $0 + Double($1.rows * $1.columns) }
        }
        // Scores and their weighted sum, over half of a square, in every head of every layer.
        let attention = 2 * Double(c.layers * c.heads * c.headDimension)
        var layers = 0.0
        for length in lengths { layers += 2 * Double(length) * (weights + attention * Double(length) / 2) }
        let head = 2 * Double(supervised) * Double(layout.head.rows * layout.head.columns)
        // Forward and the gradients of inputs cost the same; those of weights do, where weights are trained.
        let passes = setup.adapter == nil ? 3.0 : 2.0
        return layers * (passes + (setup.options.recomputation ? 1 : 0)) + head * passes
    }
}
