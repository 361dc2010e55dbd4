/// How a run goes through its data.
public struct TrainingRunOptions: Sendable, Equatable {
    /// How often every conversation is seen; 0.5 is half of them, once.
    public var epochs = 1.0
    /// Steps of the run, whatever `epochs` says; nil: as many as the epochs have.
    public var maxSteps: Int?
    /// Conversations that are computed together; with several ranks, by each of them.
    public var batchSize = 8
    /// Batches that make up one step.
    public var accumulation = 1
    /// Tokens of a step, about: then each has as many conversations as that takes, whatever `batchSize` says (see `DataOrder`). nil: it
    /// has `batchSize` times `accumulation`.
    public var tokensPerStep: Int?
    /// A step with batches of more tokens than this is computed in more and smaller ones, which changes nothing but
    /// rounding: memory does not depend on which long conversations chance brings together. nil: it is not.
    public var maxBatchTokens: Int? = 4096
    public var schedule = LearningRateSchedule()
    /// Whether every epoch has an order of its own; otherwise each has that of the data.
    public var shuffles = true
    /// Seed of those orders.
    public var seed: UInt64 = 0
    /// So many refused steps one after another end the run: what bad numbers have overtaken does not recover.
    public var maxRefusedSteps = 5

    public init() {}

    /// - Throws: `invalidArgument` for values out of range, by name.
    public func validate() throws(QwenSFTError) {
        for (name, value, least) in [
            ("max_steps", maxSteps ?? 1, 1), ("batch_size", batchSize, 1), ("accumulation", accumulation, 1),
            ("tokens_per_step", tokensPerStep ?? 1, 1),
            ("max_batch_tokens", maxBatchTokens ?? 1, 1), ("warmup_steps", schedule.warmupSteps, 0),
            ("max_refused_steps", maxRefusedSteps, 1),
        ] where value < least || value > 1 << 31 {
            throw QwenSFTError(.invalidArgument, "\(name) must be at least \(least) and below 2^31, not \(value)")
        }
        guard epochs > 0, epochs <= 0x1p31 else {
            throw QwenSFTError(.invalidArgument, "epochs must be above 0 and below 2^31, not \(epochs)")
        }
        guard (0...1).contains(schedule.warmupRatio) else {
            throw QwenSFTError(
                .invalidArgument, "warmup_ratio must be at least 0 and at most 1, not \(schedule.warmupRatio)")
        }
    }

    /// The order in which `worldSize` ranks together go through `data`: each takes its shard of every step.
    func order(of data: EncodedDataset, worldSize: Int) throws(QwenSFTError) -> DataOrder {
        let (rows, overflow) = batchSize.multipliedReportingOverflow(by: accumulation)
        let (rowsPerStep, rankOverflow) = rows.multipliedReportingOverflow(by: worldSize)
        return DataOrder(
            lengths: try data.lengths(),
            rowsPerStep: overflow || rankOverflow ? data.count : min(rowsPerStep, data.count),
            tokensPerStep: tokensPerStep, seed: shuffles ? seed : nil)
    }

    /// As transformers has it: a part of an epoch is rounded up to whole steps.
    func totalSteps(stepsPerEpoch: Int) -> Int {
        maxSteps ?? Int(exactly: (epochs * Double(stepsPerEpoch)).rounded(.up)) ?? .max
    }
}

/// One step of a run.
public struct TrainingRunStep: Sendable, Equatable {
    /// From 1 to the run's `totalSteps`.
    public var step: Int
    /// From 0.
    public var epoch: Int
    public var learningRate: Double
    /// Conversations, and their tokens, those of all ranks together.
    public var rows: Int
    public var tokens: Int
    /// nil: the loss or a gradient was not finite, so the step was left out and the weights are as before.
    public var metrics: StepMetrics?
}
