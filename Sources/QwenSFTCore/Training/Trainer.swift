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

    public init() {}
}

/// Fine-tunes a model, one optimizer step at a time.
public final class Trainer: @unchecked Sendable {
    public let model: Model
    public private(set) var options: TrainerOptions
    /// The optimizer; its learning rate may be changed between steps.
    public private(set) var optimizer: Optimizer
    /// Steps taken.
    public private(set) var stepCount = 0
    let state: OptimizerState
    private var gradients: ParameterStorage?
    private let stopFlag = StopFlag()

    /// Called with how much of a step or an evaluation is done, and all of it, in units that mean nothing else; `false` cancels.
    public typealias Progress = (_ done: Int, _ total: Int) -> Bool

    /// - Throws: `invalidArgument` for optimizer values out of range, `outOfMemory`.
    public init(
        _ model: Model, optimizer: Optimizer = .sgd(SGD()), options: TrainerOptions = .init()
    ) throws(QwenSFTError) {
        try optimizer.validate()
        if let norm = options.maxGradientNorm, !(norm > 0) {
            throw QwenSFTError(.invalidArgument, "max_grad_norm must be above 0, not \(norm)")
        }
        self.model = model
        self.optimizer = optimizer
        self.options = options
        state = try OptimizerState(optimizer, model.weights.layout, isTrainable: model.isTrainable)
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
    }

    /// Ends the step or the evaluation that is under way on another thread, after its present layer and unless it has begun to
    /// change weights; without one, does nothing.
    public func stop() { stopFlag.set() }

    /// One optimizer step on `batch`.
    /// - Parameter onProgress: called after every layer. `false` cancels, and nothing has changed; once weights change, as they do
    ///   in backward where gradients need no memory, the step is finished all the same.
    /// - Throws: `noSupervisedTokens`, `nonFinite` or `cancelled`, with weights and state as before; `invalidArgument`, `busy`.
    @discardableResult
    public func step(_ batch: Batch, onProgress: Progress = { _, _ in true }) throws(QwenSFTError) -> StepMetrics {
        try step(accumulating: [batch], onProgress: onProgress)
    }

    /// One optimizer step on several batches: the same step as on one batch of all their rows, in the memory of the largest.
    @discardableResult
    public func step(
        accumulating batches: [Batch], onProgress: Progress = { _, _ in true }
    ) throws(QwenSFTError) -> StepMetrics {
        try timed { () throws(QwenSFTError) in
            let total = try totalWeight(of: batches)
            let isDirect = optimizer.needsNoGradientMemory && batches.count == 1 && options.maxGradientNorm == nil
            let rounding: Rounding =
                options.roundsStochastically ? .stochastic(seed: options.seed, step: UInt64(stepCount)) : .nearest
            guard !isDirect else {
                guard case .sgd(let sgd) = optimizer else { return StepMetrics() }
                let mode = GradientSink.Mode.update(
                    rate: Float(sgd.learningRate), decay: Float(sgd.weightDecay),
                    decaysVectors: options.decaysVectors, rounding: rounding)
                let metrics = try run(batches, total, mode, onProgress)
                stepCount += 1
                batches.forEach(model.learnStopID)
                return metrics
            }
            try state.cover(model.isTrainable, isFirstStep: stepCount == 0)
            let gradients = try clearedGradients()
            var metrics = try run(batches, total, .buffer(gradients), onProgress)
            let norm = try gradientNorm(gradients)
            metrics.gradientNorm = norm
            let scale = options.maxGradientNorm.map { min(1, $0 / (norm + 1e-6)) } ?? 1
            stepCount += 1
            batches.forEach(model.learnStopID)
            model.weightsVersion += 1
            state.apply(
                optimizer, to: model.weights, gradients: gradients, gradientScale: Float(scale), step: stepCount,
                isTrainable: model.isTrainable, decaysVectors: options.decaysVectors, rounding: rounding,
                compute: model.compute)
            return metrics
        }
    }

    /// The loss of `batch` with the weights as they are.
    public func evaluate(_ batch: Batch, onProgress: Progress = { _, _ in true }) throws(QwenSFTError) -> StepMetrics {
        try evaluate(accumulating: [batch], onProgress: onProgress)
    }

    /// The loss over all of `batches` together, in the memory of the largest.
    public func evaluate(
        accumulating batches: [Batch], onProgress: Progress = { _, _ in true }
    ) throws(QwenSFTError) -> StepMetrics {
        try timed { () throws(QwenSFTError) in
            try run(batches, try totalWeight(of: batches), nil, onProgress)
        }
    }

    /// Cross-entropy of every supervised token of `batch` with the weights as they are.
    /// - Returns: (rows, columns), at the places of the labels; NaN where nothing is supervised.
    public func tokenLosses(_ batch: Batch) throws(QwenSFTError) -> [Float] {
        try model.exclusively { () throws(QwenSFTError) in
            _ = try totalWeight(of: [batch])
            var result = [Float](repeating: .nan, count: batch.labels.count)
            try model.compute.session { () throws(QwenSFTError) in
                var pass = try TrainingPass(model, batch, sharing: options.sharesPrefixes, recomputes: false)
                for target in try pass.forward(keeps: false) { result[target.source] = target.loss }
            }
            return result
        }
    }

    /// L2 norm of every parameter's gradient on `batch`, in the order of `model.parameters`. Changes nothing.
    public func gradientNorms(_ batch: Batch) throws(QwenSFTError) -> [Double] {
        try model.exclusively { () throws(QwenSFTError) in
            try gradientsOf(batch) { gradients in
                model.parameters.map { parameter in
                    gradients.included[parameter.index]
                        ? Elements.sumOfSquares(gradients.floats(parameter), compute: model.compute).squareRoot() : 0
                }
            }
        }
    }

    /// Every parameter's gradient on `batch`, in the order of `model.parameters`. Changes nothing; for tests.
    package func gradients(_ batch: Batch) throws(QwenSFTError) -> [[Float]] {
        try model.exclusively { () throws(QwenSFTError) in
            try gradientsOf(batch) { gradients in
                model.parameters.map { parameter in
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

    /// Forward over every batch, and backward where there is a mode; the loss is that of all of them together.
    private func run(
        _ batches: [Batch], _ total: Double, _ mode: GradientSink.Mode?, _ onProgress: Progress
    ) throws(QwenSFTError) -> StepMetrics {
        if mode != nil { try model.requireFullWeights("it cannot be trained") }
        var metrics = StepMetrics()
        let work =
            batches.count
            * TrainingPass.Work.total(
                layers: model.configuration.layers, backward: mode != nil, recomputes: options.recomputation)
        var done = 0
        func advance(_ part: Int) throws(QwenSFTError) {
            done += part
            let goesOn = onProgress(done, work) && !stopFlag.isSet
            guard goesOn || model.isHalfChanged else {
                throw QwenSFTError(.cancelled, "cancelled before the model was changed")
            }
        }
        try advance(0)
        for batch in batches {
            try model.compute.session { () throws(QwenSFTError) in
                var pass = try TrainingPass(
                    model, batch, sharing: options.sharesPrefixes, recomputes: options.recomputation)
                let losses = try pass.forward(keeps: mode != nil, advance: advance)
                let sum = losses.reduce(0.0) { $0 + Double($1.weight) * Double($1.loss) }
                guard sum.isFinite else {
                    throw QwenSFTError(.nonFinite, "the loss is \(sum); nothing was changed")
                }
                metrics.loss += sum / total
                metrics.supervisedTokens += losses.count
                guard let mode else { return }
                let sink = try GradientSink(
                    mode, weights: model.weights, isTrainable: model.isTrainable, compute: model.compute)
                if case .update = mode {
                    try pass.reserveBackward(sink: sink)
                    model.weightsVersion += 1
                    model.isHalfChanged = true
                }
                defer { model.isHalfChanged = false }
                try pass.backward(totalWeight: total, sink: sink, compute: model.compute, advance: advance)
            }
        }
        return metrics
    }

    /// Σ weights of all targets of a step: known before anything is computed, so that each batch's gradient has its final scale.
    private func totalWeight(of batches: [Batch]) throws(QwenSFTError) -> Double {
        let total = batches.reduce(0.0) { $0 + $1.targetWeight }
        guard total > 0 else {
            throw QwenSFTError(
                .noSupervisedTokens, "no token of the \(batches.count == 1 ? "batch" : "batches") is supervised")
        }
        return total
    }

    private func clearedGradients() throws(QwenSFTError) -> ParameterStorage {
        if let gradients, gradients.included == model.isTrainable {
            gradients.clear()
            return gradients
        }
        gradients = nil
        let made = try ParameterStorage(
            model.weights.layout, dtype: .float32, included: model.isTrainable, purpose: "gradients")
        gradients = made
        return made
    }

    private func gradientNorm(_ gradients: ParameterStorage) throws(QwenSFTError) -> Double {
        var sum = 0.0
        for (index, parameter) in model.parameters.enumerated() where model.isTrainable[index] {
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
    /// A model that was taught to end its turns somewhere is to stop there, wherever it is loaded.
    fileprivate func learnStopID(of batch: Batch) {
        guard let id = batch.endOfTurnID, !learnedStopIDs.contains(id), batch.labels.contains(Int64(id)) else { return }
        learnedStopIDs.append(id)
    }
}

extension StepMetrics {
    fileprivate init() { self.init(loss: 0, supervisedTokens: 0, gradientNorm: nil, seconds: 0) }
}
