/// Fine-tunes a model, one optimizer step at a time.
public final class Trainer: @unchecked Sendable {
    public let model: Model
    /// The adapter that is trained; nil: the model itself.
    public let adapter: Adapter?
    public private(set) var options: TrainerOptions
    /// The optimizer; its learning rate may be changed between steps.
    public private(set) var optimizer: Optimizer
    /// Steps taken.
    public private(set) var stepCount = 0
    var state: OptimizerState
    private var gradients: ParameterStorage?
    /// What no weight exceeded when the weights had that version.
    private var weightBound: (version: Int, value: Double)?
    private let stopFlag = StopFlag()
    /// Why the other ranks cannot be reached any more.
    var communicationFailure: QwenSFTError?
    /// Whether the ranks have found that they began with the same values.
    var hasComparedValues = false
    /// Steps that this rank has taken by itself since the last average.
    var stepsSinceAverage = 0
    /// The weights before those steps, where an outer step is to begin.
    var averagedWeights: ParameterStorage?

    /// Called with how much of a step or an evaluation is done, and all of it, in units that mean nothing else; `false` cancels.
    public typealias Progress = (_ done: Int, _ total: Int) -> Bool

    /// Trains the adapter that is set and nothing of the model below it, or the model where none is.
    /// - Throws: `invalidArgument` for optimizer values out of range, `outOfMemory`.
    public init(
        _ model: Model, optimizer: Optimizer = .sgd(SGD()), options: TrainerOptions = .init()
    ) throws(QwenSFTError) {
        try optimizer.validate()
        if let norm = options.maxGradientNorm, !(norm > 0) {
            throw QwenSFTError(.invalidArgument, "max_grad_norm must be above 0, not \(norm)")
        }
        guard options.loraPlusRatio > 0, Float(options.loraPlusRatio).isFinite else {
            throw QwenSFTError(
                .invalidArgument, "loraplus_lr_ratio must be above 0, not \(options.loraPlusRatio)")
        }
        self.model = model
        self.optimizer = optimizer
        self.options = options
        adapter = model.active
        let trained = Self.trained(model, adapter)
        state = try OptimizerState(
            optimizer, trained.storage.list, isTrainable: trained.isTrainable, hasOuter: options.ranks?.outer != nil)
    }

    /// What this trainer changes.
    var trained: TrainedParameters { Self.trained(model, adapter) }

    /// The parameters that it changes: the model's, frozen ones included, or the adapter's.
    public var parameters: [Parameter] { trained.parameters }

    private static func trained(_ model: Model, _ adapter: Adapter?) -> TrainedParameters {
        guard let adapter else {
            return TrainedParameters(storage: model.weights, isTrainable: model.isTrainable, isAdapter: false)
        }
        return TrainedParameters(
            storage: adapter.storage, isTrainable: Array(repeating: true, count: adapter.parameters.count),
            isAdapter: true)
    }

    /// What is trained has to be what the model computes with.
    func requireAdapter() throws(QwenSFTError) {
        guard model.active !== adapter else { return }
        func name(_ adapter: Adapter?) -> String { adapter.map { "adapter '\(printable($0.name))'" } ?? "no adapter" }
        throw QwenSFTError(
            .invalidArgument,
            "the trainer was made with \(name(adapter)) set, and now \(name(model.active)) is; set that one or make a new trainer"
        )
    }

    /// The rate of the next step.
    public var learningRate: Double { optimizer.learningRate }

    public func setLearningRate(_ rate: Double) throws(QwenSFTError) {
        let changed = try optimizer.with(learningRate: rate)
        try model.exclusively { optimizer = changed }
    }

    /// `learningRate` and `stepCount`, for a thread that does not know whether another one is training.
    /// - Throws: `busy` while a step is under way.
    package func counters() throws(QwenSFTError) -> (learningRate: Double, stepCount: Int) {
        try model.exclusively { (learningRate, stepCount) }
    }

    /// What a loaded state says.
    func restore(optimizer: Optimizer, stepCount: Int, seed: UInt64) {
        self.optimizer = optimizer
        self.stepCount = stepCount
        options.seed = seed
        hasComparedValues = false
        stepsSinceAverage = 0
        state.forgetBounds()
    }

    /// Ends the step or the evaluation that is under way on another thread, after its present layer and unless it has begun to
    /// change weights; without one, does nothing.
    public func stop() { stopFlag.set() }

    /// One optimizer step on `batch`.
    /// - Parameters:
    ///   - batch: what to learn from.
    ///   - onProgress: called after every layer. `false` cancels, and nothing has changed; once weights change, as they do
    ///     in backward where gradients need no memory, the step is finished all the same.
    /// - Throws: `noSupervisedTokens`, `nonFinite` or `cancelled`, with weights and state as before; `invalidArgument`, `busy`.
    ///   Where gradients go straight into the weights (plain SGD, no clipping, one batch) and one of them turns out too large
    ///   within backward, `nonFinite` says that a part of the weights was updated; all of them are finite.
    @discardableResult
    public func step(_ batch: Batch, onProgress: Progress = { _, _ in true }) throws(QwenSFTError) -> StepMetrics {
        try step(accumulating: [batch], onProgress: onProgress)
    }

    /// One optimizer step on several batches: the same step as on one batch of all their rows, in the memory of the largest.
    @discardableResult
    public func step(
        accumulating batches: [Batch], onProgress: Progress = { _, _ in true }
    ) throws(QwenSFTError) -> StepMetrics {
        try step(onProgress: onProgress) { batches }
    }

    /// The same with batches that are made within the step: where that fails on one rank of several, the others are told.
    /// - Parameter learningRate: of this step alone; nil: the trainer's.
    package func step(
        learningRate: Double? = nil, onProgress: Progress = { _, _ in true },
        batches make: () throws(QwenSFTError) -> [Batch]
    ) throws(QwenSFTError) -> StepMetrics {
        try timed { () throws(QwenSFTError) in
            guard let collective, collective.localSteps > 1 else { return try step(learningRate, onProgress, make) }
            return try locally(collective) { () throws(QwenSFTError) in try step(learningRate, onProgress, make) }
        }
    }

    private func step(
        _ learningRate: Double?, _ onProgress: Progress, _ make: () throws(QwenSFTError) -> [Batch]
    ) throws(QwenSFTError) -> StepMetrics {
        let own = optimizer
        defer { optimizer = own }
        let (starts, batches) = try together(.start, stepRanks) { (report) throws(QwenSFTError) in
            if let learningRate { optimizer = try optimizer.with(learningRate: learningRate) }
            try requireAdapter()
            let batches = try make()
            if adapter == nil { try model.ownWeights() }
            report.weight = batches.reduce(0) { $0 + $1.sequences.targetWeight }
            report.stopID = batches.lazy.compactMap(model.newStopID).first
            if stepRanks != nil { (report.settings, report.values) = (settingsFingerprint(), valuesFingerprint()) }
            return batches
        }
        try requireAgreement(starts)
        let total = starts.reduce(0) { $0 + $1.weight }
        try requireTargets(total, isOne: batches.count == 1 && stepRanks == nil)
        let rounding: Rounding =
            options.roundsStochastically ? .stochastic(seed: options.seed, step: UInt64(stepCount)) : .nearest
        let metrics: StepMetrics
        if case .sgd(let sgd) = optimizer, adapter == nil,
            options.updatesDirectly(optimizer, accumulation: batches.count)
        {
            let mode = GradientSink.Mode.update(
                rate: Float(sgd.learningRate), decay: Float(sgd.weightDecay),
                decaysVectors: options.decaysVectors, rounding: rounding, bound: measuredWeightBound())
            metrics = try run(batches, total, mode, onProgress)
        } else {
            metrics = try update(batches, total, rounding, onProgress)
        }
        stepCount += 1
        for id in starts.compactMap(\.stopID) { model.learn(stopID: id) }
        return metrics
    }

    /// A step by way of gradients in memory of their own, those of all ranks added up.
    private func update(
        _ batches: [Batch], _ total: Double, _ rounding: Rounding, _ onProgress: Progress
    ) throws(QwenSFTError) -> StepMetrics {
        let trained = trained
        let (passes, gradients) = try together(.passes, stepRanks) { (report) throws(QwenSFTError) in
            try state.cover(trained.isTrainable, isFirstStep: stepCount == 0)
            let gradients = try clearedGradients()
            let metrics = try run(batches, total, .buffer(gradients), onProgress)
            (report.loss, report.tokens) = (metrics.loss, metrics.supervisedTokens)
            return gradients
        }
        var metrics = StepMetrics()
        metrics.loss = passes.reduce(0) { $0 + $1.loss }
        metrics.supervisedTokens = passes.reduce(0) { $0 + $1.tokens }
        try sum(gradients, over: stepRanks)
        // A norm's last bits depend on the number of threads: rank 0's is everybody's.
        let norms = try together(.norm, stepRanks) { (report) throws(QwenSFTError) in
            report.norm = try gradientNorm(gradients)
        }
        let norm = norms.reports[0].norm
        metrics.gradientNorm = norm
        let scale = options.maxGradientNorm.map { min(1, $0 / (norm + 1e-6)) } ?? 1
        let step = OptimizerState.Step(
            optimizer: optimizer, number: stepCount + 1, gradientScale: Float(scale), largestGradient: norm,
            decaysVectors: options.decaysVectors, isTrainable: trained.isTrainable, rounding: rounding,
            ratioOfB: trained.isAdapter ? options.loraPlusRatio : 1)
        var bound = measuredWeightBound()
        try state.apply(step, to: trained.storage, gradients: gradients, weightBound: &bound, compute: model.compute)
        model.weightsVersion += 1
        weightBound = (model.weightsVersion, bound)
        return metrics
    }

    /// What no weight exceeds. Measured where it is not known: at the first step, and when somebody else has changed the weights.
    private func measuredWeightBound() -> Double {
        if let known = weightBound, known.version == model.weightsVersion,
            MagnitudeBounds(weights: known.value).areTight
        {
            return known.value
        }
        let trained = trained
        return trained.parameters.map { Elements.norm(trained.storage.weight($0), compute: model.compute) }
            .reduce(0) { max($0, $1) }
    }

    func timed(_ body: () throws(QwenSFTError) -> StepMetrics) throws(QwenSFTError) -> StepMetrics {
        try model.exclusively { () throws(QwenSFTError) in
            stopFlag.reset()
            let clock = ContinuousClock()
            let start = clock.now
            var metrics = try body()
            metrics.seconds = (clock.now - start) / .seconds(1)
            return metrics
        }
    }

    /// Tells how much is done, and ends it where somebody wants that.
    func ask(_ done: Int, of work: Int, _ onProgress: Progress) throws(QwenSFTError) {
        let goesOn = onProgress(done, work) && !stopFlag.isSet
        guard goesOn || model.isHalfChanged else {
            throw QwenSFTError(.cancelled, "cancelled before the model was changed")
        }
    }

    /// Forward and backward over every batch; the loss is that of all of them together.
    func run(
        _ batches: [Batch], _ total: Double, _ mode: GradientSink.Mode, _ onProgress: Progress
    ) throws(QwenSFTError) -> StepMetrics {
        let trained = trained
        if !trained.isAdapter {
            try model.requireFullWeights("only an adapter can be trained on it")
        }
        var metrics = StepMetrics()
        let work =
            max(1, batches.count)  // a rank may have none
            * TrainingPass.Work.total(
                layers: model.configuration.layers, backward: true, recomputes: options.recomputation)
        var done = 0
        func advance(_ part: Int) throws(QwenSFTError) {
            done += part
            try ask(done, of: work, onProgress)
        }
        try advance(0)
        for (index, batch) in batches.enumerated() {
            try model.compute.session { () throws(QwenSFTError) in
                var pass = try TrainingPass(
                    model, batch, sharing: options.sharesPrefixes, recomputes: options.recomputation,
                    training: trained, dropoutKey: dropoutKey(pass: index))
                let losses = try pass.finiteLosses(keeps: true, advance: advance)
                metrics.loss += losses.sum / total
                metrics.supervisedTokens += losses.all.count
                var isDirect = false
                if case .update = mode { isDirect = true }
                let sink = try GradientSink(mode, trained, compute: model.compute)
                if isDirect {
                    try pass.reserveBackward(sink: sink)
                    model.weightsVersion += 1
                    model.isHalfChanged = true
                }
                defer { model.isHalfChanged = false }
                try pass.backward(totalWeight: total, sink: sink, compute: model.compute, advance: advance)
                if isDirect { weightBound = (model.weightsVersion, sink.bound) }
            }
        }
        return metrics
    }

    /// Of one pass of the next step; nil where nothing is dropped out.
    private func dropoutKey(pass: Int) -> UInt64? {
        guard let adapter, adapter.configuration.dropout > 0 else { return nil }
        var key: UInt64 = 0
        let rank = collective?.rank ?? 0
        for number in [options.seed, UInt64(stepCount), UInt64(pass) | UInt64(rank) << 32] {
            var random = RandomSource(seed: key ^ number)
            key = random.next()
        }
        return key
    }

    /// Σ weights of all targets of a step: known before anything is computed, so that each batch's gradient has its final scale.
    func totalWeight(of batches: [Batch]) throws(QwenSFTError) -> Double {
        let total = batches.reduce(0.0) { $0 + $1.sequences.targetWeight }
        try requireTargets(total, isOne: batches.count == 1)
        return total
    }

    func requireTargets(_ weight: Double, isOne: Bool) throws(QwenSFTError) {
        guard weight > 0 else {
            throw QwenSFTError(.noSupervisedTokens, "no token of the \(isOne ? "batch" : "batches") is supervised")
        }
    }

    func clearedGradients() throws(QwenSFTError) -> ParameterStorage {
        let trained = trained
        if let gradients, gradients.included == trained.isTrainable {
            gradients.clear()
            return gradients
        }
        gradients = nil
        let made = try ParameterStorage(
            trained.storage.list, dtype: .float32, included: trained.isTrainable, purpose: "gradients")
        gradients = made
        return made
    }

    private func gradientNorm(_ gradients: ParameterStorage) throws(QwenSFTError) -> Double {
        var sum = 0.0
        let trained = trained
        for (index, parameter) in trained.parameters.enumerated() where trained.isTrainable[index] {
            let squares = Elements.sumOfSquares(gradients.floats(parameter), compute: model.compute)
            guard squares.isFinite else {
                throw QwenSFTError(.nonFinite, "the gradient of \(parameter.name) is not finite; nothing was changed")
            }
            sum += squares
        }
        return sum.squareRoot()
    }
}

extension Model {
    /// What a batch ends turns with, where the model does not stop there yet.
    fileprivate func newStopID(of batch: Batch) -> Int32? {
        guard let id = batch.endOfTurnID, !learnedStopIDs.contains(id), batch.sequences.labels.buffer.contains(id)
        else { return nil }
        return id
    }

    /// A model that was taught to end its turns somewhere is to stop there, wherever it is loaded.
    func learn(stopID id: Int32) {
        if !learnedStopIDs.contains(id) { learnedStopIDs.append(id) }
    }
}
