/// Training over a whole dataset, step by step:
///
///     let run = try TrainingRun(trainer, data)
///     while let step = try run.next() { … }
///
/// Where it stands is a number of steps, and all else follows from that number, the options and the data. Between two steps
/// the host may do what it likes: evaluate, chat with the model, change the rate, take a snapshot and go back to it, or stop.
/// `FineTuning` does the usual part of that by itself.
public final class TrainingRun {
    public let trainer: Trainer
    public let data: EncodedDataset
    public let options: TrainingRunOptions
    public let stepsPerEpoch: Int
    /// Steps done, refused ones included.
    public internal(set) var stepCount = 0
    /// Steps that were refused because something was not finite.
    public internal(set) var refusedSteps = 0
    /// What has happened so far.
    public internal(set) var history = RunHistory()
    /// What the schedule's factors multiply: at first the trainer's rate.
    public internal(set) var fullRate: Double
    /// What that was when the run was made.
    let initialRate: Double

    /// What tells the weights that are not trained from others; nil: not asked for.
    var base: String?
    package let order: DataOrder
    var refusedInARow = 0
    private var epochSteps: (epoch: Int, rows: [ArraySlice<Int>])?

    public var totalSteps: Int { options.totalSteps(stepsPerEpoch: stepsPerEpoch) }

    /// The losses so far.
    public var curve: LossCurve { history.curve }

    /// - Throws: `invalidArgument` naming the option that is out of range; what `check` throws for `data`.
    public init(
        _ trainer: Trainer, _ data: EncodedDataset, options: TrainingRunOptions = .init()
    ) throws(QwenSFTError) {
        try options.validate()
        self.trainer = trainer
        self.data = data
        self.options = options
        fullRate = trainer.learningRate
        initialRate = trainer.learningRate
        order = try options.order(of: data, worldSize: trainer.collective?.worldSize ?? 1)
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

    /// Sets the full rate of the steps to come, which the schedule's factors multiply.
    public func setLearningRate(_ rate: Double) throws(QwenSFTError) {
        try trainer.setLearningRate(rate)
        fullRate = rate
    }

    /// The next step; nil when the run is done.
    /// - Parameter onProgress: as in `Trainer.step`.
    /// - Throws: `cancelled` when `onProgress` says so, with everything as before the step; `nonFinite` when steps have
    ///   been refused again and again; what `Trainer.step` throws.
    public func next(onProgress: Trainer.Progress = { _, _ in true }) throws(QwenSFTError) -> TrainingRunStep? {
        guard stepCount < totalSteps else {
            try trainer.finishLocalSteps()
            return nil
        }
        let (epoch, index) = stepCount.quotientAndRemainder(dividingBy: stepsPerEpoch)
        if epochSteps?.epoch != epoch { epochSteps = (epoch, order.steps(ofEpoch: epoch)) }
        let rows = epochSteps?.rows[index] ?? []
        let collective = trainer.collective
        let mine = order.shard(rows, rank: collective?.rank ?? 0, of: collective?.worldSize ?? 1)
        let rate = fullRate * options.schedule.factor(step: stepCount, of: totalSteps)
        var metrics: StepMetrics?
        let version = trainer.model.weightsVersion
        do throws(QwenSFTError) {
            metrics = try trainer.step(learningRate: rate, onProgress: onProgress) { () throws(QwenSFTError) in
                var batches: [Batch] = []
                for pass in order.passes(mine, count: options.accumulation, maxTokens: options.maxBatchTokens) {
                    batches.append(try data.batch(pass))
                }
                return batches
            }
            refusedInARow = 0
        } catch {
            // A step of several ranks is never half made, and an average changes the weights after a local one.
            let isWhole = trainer.collective != nil || trainer.model.weightsVersion == version
            // One rank that left the others to wait for it would end nothing.
            let isLimit = refusedInARow + 1 >= options.maxRefusedSteps && (trainer.collective?.localSteps ?? 1) == 1
            guard error.code == .nonFinite, isWhole, !isLimit else { throw error }
            refusedInARow += 1
            refusedSteps += 1
        }
        stepCount += 1
        // Ranks that step by themselves end with the same weights.
        if stepCount == totalSteps { try trainer.finishLocalSteps() }
        let step = TrainingRunStep(
            step: stepCount, epoch: epoch, learningRate: rate, rows: rows.count,
            tokens: rows.reduce(0) { $0 + order.lengths[$1] }, metrics: metrics)
        history.steps.append(step)
        return step
    }

    /// The loss on other data with the weights as they are, and what else can be seen of them; noted in the history.
    @discardableResult
    public func evaluate(
        _ other: EncodedDataset, as kind: Evaluation.Kind = .validation,
        onProgress: Trainer.Progress = { _, _ in true }
    ) throws(QwenSFTError) -> Evaluation {
        let evaluation = try judge(other, as: kind, onProgress: onProgress)
        history.evaluations.append(evaluation)
        return evaluation
    }
}
