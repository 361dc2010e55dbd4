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

extension StepMetrics {
    init() { self.init(loss: 0, supervisedTokens: 0, gradientNorm: nil, seconds: 0) }
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
    /// The processes that train together; nil: this one is alone.
    public var collective: Collective?

    public init() {}

    /// The ranks that take steps together; nil: this process is alone.
    var ranks: Collective? { collective.flatMap { $0.worldSize > 1 ? $0 : nil } }

    /// Whether gradients go straight into the weights, and need no memory.
    func updatesDirectly(_ optimizer: Optimizer, accumulation: Int) -> Bool {
        optimizer.needsNoGradientMemory && accumulation == 1 && maxGradientNorm == nil
            && ranks == nil
    }
}
