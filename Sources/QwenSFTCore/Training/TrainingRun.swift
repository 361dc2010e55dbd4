/// How a run goes through its data.
public struct TrainingRunOptions: Sendable, Equatable {
    /// How often every conversation is seen.
    public var epochs = 1
    /// Conversations that are computed together; with several ranks, by each of them.
    public var batchSize = 8
    /// Batches that make up one step.
    public var accumulation = 1
    /// A step with batches of more tokens than this is computed in more and smaller ones, which changes nothing but
    /// rounding: memory does not depend on which long conversations chance brings together. nil: it is not.
    public var maxBatchTokens: Int? = 4096
    public var schedule = LearningRateSchedule()
    /// Whether every epoch has an order of its own; otherwise each has that of the data.
    public var shuffles = true
    /// Seed of those orders.
    public var seed: UInt64 = 0

    public init() {}

    func validate() throws(QwenSFTError) {
        for (name, value, least) in [
            ("epochs", epochs, 1), ("batch_size", batchSize, 1), ("accumulation", accumulation, 1),
            ("max_batch_tokens", maxBatchTokens ?? 1, 1), ("warmup_steps", schedule.warmupSteps, 0),
        ] where value < least || value > 1 << 31 {
            throw QwenSFTError(.invalidArgument, "\(name) must be at least \(least) and below 2^31, not \(value)")
        }
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

/// Training over a whole dataset, step by step:
///
///     let run = try TrainingRun(trainer, data)
///     while let step = try run.next() { … }
///
/// Where it stands is a number of steps, and all else follows from that number, the options and the data.
public final class TrainingRun {
    public let trainer: Trainer
    public let data: EncodedDataset
    public let options: TrainingRunOptions
    public let stepsPerEpoch: Int
    /// Steps done, refused ones included.
    public private(set) var stepCount = 0
    /// Steps that were refused because something was not finite.
    public private(set) var refusedSteps = 0
    /// The losses so far.
    public private(set) var curve = LossCurve()

    private let order: DataOrder
    private let fullRate: Double
    private var refusedInARow = 0
    private var epochSteps: (epoch: Int, rows: [ArraySlice<Int>])?

    /// A run that bad numbers have overtaken does not recover; so many refused steps one after another end it.
    private static let mostRefusedInARow = 5

    public var totalSteps: Int { stepsPerEpoch * options.epochs }

    /// - Throws: `invalidArgument` naming the option that is out of range; what `check` throws for `data`.
    public init(
        _ trainer: Trainer, _ data: EncodedDataset, options: TrainingRunOptions = .init()
    ) throws(QwenSFTError) {
        try options.validate()
        self.trainer = trainer
        self.data = data
        self.options = options
        fullRate = trainer.learningRate
        // Of all ranks together: each takes its shard of every step.
        let (rows, overflow) = options.batchSize.multipliedReportingOverflow(by: options.accumulation)
        let (rowsPerStep, overflow2) = rows.multipliedReportingOverflow(by: trainer.collective?.worldSize ?? 1)
        order = DataOrder(
            lengths: try data.lengths(),
            rowsPerStep: overflow || overflow2 ? data.count : min(rowsPerStep, data.count),
            seed: options.shuffles ? options.seed : nil)
        stepsPerEpoch = order.stepsPerEpoch
        try check(data)
    }

    /// Whether the model can take every row of `data`, be it to learn from or to measure the loss on: better known before the
    /// first step than in the middle.
    /// - Throws: `tooLong` for a row longer than the model's context, `invalidArgument` for an id that is not in its vocabulary,
    ///   with the place of the conversation.
    public func check(_ data: EncodedDataset) throws(QwenSFTError) {
        let configuration = trainer.model.configuration
        for row in 0..<data.count {
            let length = data.length(ofRow: row)
            guard length <= configuration.maxPositions else {
                throw QwenSFTError(
                    .tooLong,
                    "\(data.place(ofRow: row)): \(length) tokens are more than the model's context of \(configuration.maxPositions); max_length cuts them"
                )
            }
            let id = data.largestID(ofRow: row)
            guard id < configuration.vocabularySize else {
                throw QwenSFTError(
                    .invalidArgument,
                    "\(data.place(ofRow: row)): the id \(id) is not in the model's vocabulary of \(configuration.vocabularySize)"
                )
            }
        }
    }

    /// The next step; nil when the run is done.
    /// - Parameter onProgress: as in `Trainer.step`.
    /// - Throws: `cancelled` when `onProgress` says so, with everything as before the step; `nonFinite` when steps have
    ///   been refused again and again; what `Trainer.step` throws.
    public func next(onProgress: Trainer.Progress = { _, _ in true }) throws(QwenSFTError) -> TrainingRunStep? {
        guard stepCount < totalSteps else { return nil }
        let (epoch, index) = stepCount.quotientAndRemainder(dividingBy: stepsPerEpoch)
        if epochSteps?.epoch != epoch { epochSteps = (epoch, order.steps(ofEpoch: epoch)) }
        let rows = epochSteps?.rows[index] ?? []
        let collective = trainer.collective
        let mine = order.shard(rows, rank: collective?.rank ?? 0, of: collective?.worldSize ?? 1)
        let rate = fullRate * options.schedule.factor(step: stepCount, of: totalSteps)
        try trainer.setLearningRate(rate)
        var metrics: StepMetrics?
        let version = trainer.model.weightsVersion
        do throws(QwenSFTError) {
            metrics = try trainer.step(onProgress: onProgress) { () throws(QwenSFTError) in
                var batches: [Batch] = []
                for pass in order.passes(mine, count: options.accumulation, maxTokens: options.maxBatchTokens) {
                    batches.append(try data.batch(pass))
                }
                return batches
            }
            refusedInARow = 0
        } catch {
            guard error.code == .nonFinite, trainer.model.weightsVersion == version,
                refusedInARow + 1 < Self.mostRefusedInARow
            else { throw error }
            refusedInARow += 1
            refusedSteps += 1
        }
        stepCount += 1
        curve.training.append(.init(step: stepCount, loss: metrics?.loss ?? .nan))
        return TrainingRunStep(
            step: stepCount, epoch: epoch, learningRate: rate, rows: rows.count,
            tokens: rows.reduce(0) { $0 + order.lengths[$1] }, metrics: metrics)
    }

    /// The loss on other data with the weights as they are; noted in `curve`.
    @discardableResult
    public func evaluate(
        _ other: EncodedDataset, onProgress: Trainer.Progress = { _, _ in true }
    ) throws(QwenSFTError) -> StepMetrics {
        let metrics = try trainer.evaluate(other, options, onProgress: onProgress)
        curve.evaluation.append(.init(step: stepCount, loss: metrics.loss))
        return metrics
    }

    // MARK: Stopping and going on

    /// Writes where the run stands: the trainer's state (`Trainer.saveState`), the number of steps and the losses. With the
    /// model saved in the dtype it has in memory, a run that is taken up goes on as if it had not stopped, bit for bit.
    public func saveState(to path: String) throws(QwenSFTError) {
        var notes = JSONObject()
        notes["run.order"] = .string(orderNote)
        notes["run.data"] = .string(dataNote)
        notes["run.step"] = .string("\(stepCount)")
        notes["run.refused"] = .string("\(refusedSteps)")
        notes["run.losses"] = .string(Self.note(of: curve.training))
        notes["run.evaluations"] = .string(Self.note(of: curve.evaluation))
        try trainer.saveState(to: path, adding: notes)
    }

    /// Takes a run up where `saveState` left it. The model must have been opened from the checkpoint saved with it.
    /// - Throws: `invalidArgument` when the data or its order are not those of the saved run; as `Trainer.loadState`. The
    ///   run is as before then.
    public func loadState(from path: String) throws(QwenSFTError) {
        var restored: (step: Int, refused: Int, curve: LossCurve)?
        try trainer.loadState(from: path) { (notes: JSONFields) throws(QwenSFTError) in
            for (key, mine) in [("run.order", orderNote), ("run.data", dataNote)] {
                guard let saved = try notes.string(key) else { throw notes.missing(key) }
                guard saved == mine else {
                    throw QwenSFTError(
                        .invalidArgument,
                        "\(fileName(path)): was saved by a run over \(printable(saved)); this one is over \(mine)")
                }
            }
            func count(_ key: String) throws(QwenSFTError) -> Int {
                guard let value = Int(try notes.string(key) ?? ""), (0...1 << 53).contains(value) else {
                    throw notes.wrong(key, "must be a count")
                }
                return value
            }
            func points(_ key: String) throws(QwenSFTError) -> [LossCurve.Point] {
                var points: [LossCurve.Point] = []
                for text in (try notes.string(key) ?? "").split(separator: " ") {
                    let parts = text.split(separator: ":")
                    guard parts.count == 2, let step = Int(parts[0]), let loss = Double(parts[1]) else {
                        throw notes.wrong(key, "must list step:loss")
                    }
                    points.append(.init(step: step, loss: loss))
                }
                return points
            }
            restored = (
                try count("run.step"), try count("run.refused"),
                LossCurve(training: try points("run.losses"), evaluation: try points("run.evaluations"))
            )
        }
        guard let restored else { return }
        (stepCount, refusedSteps, curve) = restored
        refusedInARow = 0
    }

    private var orderNote: String {
        "\(order.rowsPerStep) conversations a step, "
            + (options.shuffles ? "shuffled with seed \(options.seed)" : "unshuffled")
    }

    private var dataNote: String {
        "\(data.count) conversations of \(data.report.tokens) tokens, \(data.report.targets) of them supervised, "
            + "fingerprint \(String(data.fingerprint, radix: 16))"
    }

    private static func note(of points: [LossCurve.Point]) -> String {
        points.map { "\($0.step):\($0.loss)" }.joined(separator: " ")
    }
}
