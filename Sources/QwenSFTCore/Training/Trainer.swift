import Glibc

/// What a step or an evaluation found.
public struct StepMetrics: Sendable, Equatable {
    /// Cross-entropy per supervised token, weighted; before the update.
    public var loss: Double
    /// Targets the loss is made of.
    public var supervisedTokens: Int
    /// L2 norm of all gradients before clipping; nil where gradients went straight into the weights.
    public var gradientNorm: Double?
    public var seconds: Double
}

/// How a trainer works, beyond its optimizer.
public struct TrainerOptions: Sendable, Equatable {
    /// Gradients are scaled down to this L2 norm; nil: they are not.
    public var maxGradientNorm: Double?
    /// Keep only the layers' inputs between forward and backward, and compute the rest twice: slower, and smaller.
    public var recomputation = false
    /// Compute a beginning that several rows share only once; exact.
    public var sharesPrefixes = true
    /// Whether weight decay applies to norms and biases too, as torch does unless told otherwise.
    public var decaysVectors = true
    /// bfloat16 weights: round updates at random with the right mean, so that small ones are not lost.
    public var roundsStochastically = true
    /// Seed of that.
    public var seed: UInt64 = 0
    /// How many times as fast an adapter's B learns as its A (LoRA+).
    public var loraPlusRatio = 1.0
    /// The processes that take every step together; nil: this one is alone.
    public var collective: Collective?

    public init() {}

    /// Whether gradients go straight into the weights, and need no memory.
    func updatesDirectly(_ optimizer: Optimizer, accumulation: Int) -> Bool {
        optimizer.needsNoGradientMemory && accumulation == 1 && maxGradientNorm == nil
            && (collective?.worldSize ?? 1) == 1
    }
}

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
        state = try OptimizerState(optimizer, trained.storage.list, isTrainable: trained.isTrainable)
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
    private func requireAdapter() throws(QwenSFTError) {
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
        var changed = optimizer
        changed.learningRate = rate
        try changed.validate()
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
        state.forgetBounds()
    }

    /// Ends the step or the evaluation that is under way on another thread, after its present layer and unless it has begun to
    /// change weights; without one, does nothing.
    public func stop() { stopFlag.set() }

    /// One optimizer step on `batch`.
    /// - Parameter onProgress: called after every layer. `false` cancels, and nothing has changed; once weights change, as they do
    ///   in backward where gradients need no memory, the step is finished all the same.
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
    package func step(
        onProgress: Progress = { _, _ in true }, batches make: () throws(QwenSFTError) -> [Batch]
    ) throws(QwenSFTError) -> StepMetrics {
        try timed { () throws(QwenSFTError) in
            var batches: [Batch] = []
            let starts = try together(.start) { () throws(QwenSFTError) in
                try requireAdapter()
                batches = try make()
                if adapter == nil { try model.ownWeights() }
                var report = RankReport()
                report.weight = batches.reduce(0) { $0 + $1.sequences.targetWeight }
                if collective != nil {
                    report.stopID = batches.lazy.compactMap(model.newStopID).first
                    (report.settings, report.values) = (settingsFingerprint(), valuesFingerprint())
                }
                return report
            }
            try requireAgreement(starts)
            let total = starts.reduce(0) { $0 + $1.weight }
            try requireTargets(total, isOne: batches.count == 1 && collective == nil)
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
            for id in starts.compactMap(\.stopID) + batches.compactMap(model.newStopID) { model.learn(stopID: id) }
            return metrics
        }
    }

    /// A step by way of gradients in memory of their own, those of all ranks added up.
    private func update(
        _ batches: [Batch], _ total: Double, _ rounding: Rounding, _ onProgress: Progress
    ) throws(QwenSFTError) -> StepMetrics {
        let trained = trained
        var metrics = StepMetrics()
        var gradients: ParameterStorage?
        let passes = try together(.passes) { () throws(QwenSFTError) in
            try state.cover(trained.isTrainable, isFirstStep: stepCount == 0)
            let cleared = try clearedGradients()
            gradients = cleared
            metrics = try run(batches, total, .buffer(cleared), onProgress)
            var report = RankReport()
            (report.loss, report.tokens) = (metrics.loss, metrics.supervisedTokens)
            return report
        }
        guard let gradients else { return metrics }
        metrics.loss = passes.reduce(0) { $0 + $1.loss }
        metrics.supervisedTokens = passes.reduce(0) { $0 + $1.tokens }
        try sumOverRanks(gradients)
        // A norm's last bits depend on the number of threads: rank 0's is everybody's.
        let norms = try together(.norm) { () throws(QwenSFTError) in
            var report = RankReport()
            report.norm = try gradientNorm(gradients)
            return report
        }
        let norm = norms[0].norm
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

    /// The loss of `batch` with the weights as they are.
    public func evaluate(_ batch: Batch, onProgress: Progress = { _, _ in true }) throws(QwenSFTError) -> StepMetrics {
        try evaluate(accumulating: [batch], onProgress: onProgress)
    }

    /// The loss over all of `batches` together, in the memory of the largest.
    public func evaluate(
        accumulating batches: [Batch], onProgress: Progress = { _, _ in true }
    ) throws(QwenSFTError) -> StepMetrics {
        try evaluate(batches.count, onProgress) { batches[$0] }
    }

    /// The loss over a dataset with the weights as they are.
    /// - Parameter how: `batchSize` and `maxBatchTokens` of it say how many conversations are computed together.
    public func evaluate(
        _ data: EncodedDataset, _ how: TrainingRunOptions = .init(), onProgress: Progress = { _, _ in true }
    ) throws(QwenSFTError) -> StepMetrics {
        try evaluate(data, how, onProgress: onProgress) { _, _, _ in }
    }

    /// - Parameter onLosses: called with the rows of `data` that were computed together, their batch, and what each target costs.
    func evaluate(
        _ data: EncodedDataset, _ how: TrainingRunOptions, onProgress: Progress,
        onLosses: (_ rows: [Int], Batch, [TrainingPass.TargetLoss]) -> Void
    ) throws(QwenSFTError) -> StepMetrics {
        try how.validate()
        let order = DataOrder(
            lengths: try data.lengths(), rowsPerStep: how.batchSize, seed: nil)
        let passes = order.steps(ofEpoch: 0).flatMap { order.passes($0, count: 1, maxTokens: how.maxBatchTokens) }
        func tell(_ index: Int, _ batch: Batch, _ losses: [TrainingPass.TargetLoss]) {
            onLosses(passes[index], batch, losses)
        }
        return try evaluate(passes.count, onProgress, onLosses: tell) { (index) throws(QwenSFTError) in
            try data.batch(passes[index])
        }
    }

    /// The loss over `count` batches, each made when its turn comes.
    private func evaluate(
        _ count: Int, _ onProgress: Progress,
        onLosses: (_ index: Int, Batch, [TrainingPass.TargetLoss]) -> Void = { _, _, _ in },
        _ batch: (Int) throws(QwenSFTError) -> Batch
    ) throws(QwenSFTError) -> StepMetrics {
        try timed { () throws(QwenSFTError) in
            try requireAdapter()
            let work =
                count * TrainingPass.Work.total(layers: model.configuration.layers, backward: false, recomputes: false)
            var done = 0
            func advance(_ part: Int) throws(QwenSFTError) {
                done += part
                try ask(done, of: work, onProgress)
            }
            try advance(0)
            var metrics = StepMetrics()
            var weight = 0.0
            for index in 0..<count {
                let batch = try batch(index)
                weight += batch.sequences.targetWeight
                let losses = try model.compute.session { () throws(QwenSFTError) in
                    var pass = try TrainingPass(
                        model, batch, sharing: options.sharesPrefixes, recomputes: false, training: trained)
                    return try pass.finiteLosses(keeps: false, advance: advance)
                }
                metrics.loss += losses.sum
                metrics.supervisedTokens += losses.all.count
                onLosses(index, batch, losses.all)
            }
            try requireTargets(weight, isOne: count == 1)
            metrics.loss /= weight
            return metrics
        }
    }

    /// Cross-entropy of every supervised token of `batch` with the weights as they are.
    /// - Returns: (rows, columns), at the places of the labels; NaN where nothing is supervised.
    public func tokenLosses(_ batch: Batch) throws(QwenSFTError) -> [Float] {
        let count = batch.rows * batch.columns
        try Memory.require(count, of: Float.self, for: "the losses of \(count) tokens")
        var result = [Float](repeating: .nan, count: count)
        try forEachLoss(of: batch) { source, loss in result[source] = loss }
        return result
    }

    /// The cross-entropy of every supervised token and its place in the (rows, columns) arrays.
    func forEachLoss(of batch: Batch, _ body: (_ source: Int, _ loss: Float) -> Void) throws(QwenSFTError) {
        try model.exclusively { () throws(QwenSFTError) in
            try requireAdapter()
            _ = try totalWeight(of: [batch])
            try model.compute.session { () throws(QwenSFTError) in
                var pass = try TrainingPass(
                    model, batch, sharing: options.sharesPrefixes, recomputes: false, training: trained)
                for target in try pass.forward(keeps: false) { body(target.source, target.loss) }
            }
        }
    }

    /// L2 norm of every parameter's gradient on `batch`, in the order of `parameters` of the model or the adapter. Changes nothing.
    public func gradientNorms(_ batch: Batch) throws(QwenSFTError) -> [Double] {
        try model.exclusively { () throws(QwenSFTError) in
            try requireAdapter()
            let trained = trained
            return try gradientsOf(batch) { gradients in
                trained.parameters.map { parameter in
                    gradients.included[parameter.index]
                        ? Elements.sumOfSquares(gradients.floats(parameter), compute: model.compute).squareRoot() : 0
                }
            }
        }
    }

    /// Every parameter's gradient on `batch`, in the order of `parameters` of the model or the adapter. Changes nothing; for tests.
    package func gradients(_ batch: Batch) throws(QwenSFTError) -> [[Float]] {
        try model.exclusively { () throws(QwenSFTError) in
            try requireAdapter()
            let trained = trained
            return try gradientsOf(batch) { gradients in
                trained.parameters.map { parameter in
                    gradients.included[parameter.index]
                        ? gradients.weight(parameter).values : Array(repeating: 0, count: parameter.count)
                }
            }
        }
    }

    private func gradientsOf<T>(_ batch: Batch, _ body: (ParameterStorage) -> T) throws(QwenSFTError) -> T {
        let gradients = try clearedGradients()
        _ = try run([batch], try totalWeight(of: [batch]), .buffer(gradients), { _, _ in true })
        return body(gradients)
    }

    private func timed(_ body: () throws(QwenSFTError) -> StepMetrics) throws(QwenSFTError) -> StepMetrics {
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
    private func ask(_ done: Int, of work: Int, _ onProgress: Progress) throws(QwenSFTError) {
        let goesOn = onProgress(done, work) && !stopFlag.isSet
        guard goesOn || model.isHalfChanged else {
            throw QwenSFTError(.cancelled, "cancelled before the model was changed")
        }
    }

    /// Forward and backward over every batch; the loss is that of all of them together.
    private func run(
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
    private func totalWeight(of batches: [Batch]) throws(QwenSFTError) -> Double {
        let total = batches.reduce(0.0) { $0 + $1.sequences.targetWeight }
        try requireTargets(total, isOne: batches.count == 1)
        return total
    }

    private func requireTargets(_ weight: Double, isOne: Bool) throws(QwenSFTError) {
        guard weight > 0 else {
            throw QwenSFTError(.noSupervisedTokens, "no token of the \(isOne ? "batch" : "batches") is supervised")
        }
    }

    private func clearedGradients() throws(QwenSFTError) -> ParameterStorage {
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
    fileprivate func learn(stopID id: Int32) {
        if !learnedStopIDs.contains(id) { learnedStopIDs.append(id) }
    }
}

extension TrainingPass {
    /// Σ weight · cross-entropy over the targets, and that of each.
    /// - Throws: `nonFinite` where that is not finite.
    fileprivate mutating func finiteLosses(
        keeps: Bool, advance: (Int) throws(QwenSFTError) -> Void
    ) throws(QwenSFTError) -> (sum: Double, all: [TargetLoss]) {
        let losses = try forward(keeps: keeps, advance: advance)
        let sum = losses.reduce(0.0) { $0 + Double($1.weight) * Double($1.loss) }
        guard sum.isFinite else { throw QwenSFTError(.nonFinite, "the loss is \(sum); nothing was changed") }
        return (sum, losses)
    }
}

extension StepMetrics {
    fileprivate init() { self.init(loss: 0, supervisedTokens: 0, gradientNorm: nil, seconds: 0) }
}
