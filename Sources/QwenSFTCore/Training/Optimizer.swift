import Libc

/// Stochastic gradient descent, as torch.optim.SGD. Without momentum it needs no memory for gradients.
public struct SGD: Sendable, Equatable {
    public var learningRate: Double
    public var momentum: Double
    public var dampening: Double
    public var weightDecay: Double
    public var nesterov: Bool

    public init(
        learningRate: Double = 1e-3, momentum: Double = 0, dampening: Double = 0, weightDecay: Double = 0,
        nesterov: Bool = false
    ) {
        self.learningRate = learningRate
        self.momentum = momentum
        self.dampening = dampening
        self.weightDecay = weightDecay
        self.nesterov = nesterov
    }
}

/// Adam with decoupled weight decay, as torch.optim.AdamW. Keeps two numbers for every weight.
public struct AdamW: Sendable, Equatable {
    public var learningRate: Double
    public var beta1: Double
    public var beta2: Double
    public var epsilon: Double
    public var weightDecay: Double
    /// Of each of these numbers: 32, or 8 with a scale for every 256 of them, as AdamW8bit of bitsandbytes; parameters of few
    /// numbers keep 32.
    public var stateBits: Int

    public init(
        learningRate: Double = 1e-3, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8,
        weightDecay: Double = 1e-2, stateBits: Int = 32
    ) {
        self.learningRate = learningRate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        self.stateBits = stateBits
    }

    /// The learning rate divided by the bias correction of the first moments.
    func rate(ofStep step: Int) -> Float { Float(learningRate / (1 - pow(beta1, Double(step)))) }
}

/// What turns gradients into new weights.
public enum Optimizer: Sendable, Equatable {
    case sgd(SGD)
    case adamW(AdamW)

    public var learningRate: Double {
        get {
            switch self {
            case .sgd(let sgd): sgd.learningRate
            case .adamW(let adamW): adamW.learningRate
            }
        }
        set {
            switch self {
            case .sgd(var sgd):
                sgd.learningRate = newValue
                self = .sgd(sgd)
            case .adamW(var adamW):
                adamW.learningRate = newValue
                self = .adamW(adamW)
            }
        }
    }

    /// The same with a rate that is so many times as high.
    func faster(by ratio: Double) -> Optimizer {
        var result = self
        result.learningRate *= ratio
        return result
    }

    /// Bytes that it keeps for the parameters of a list.
    func stateByteCount(_ list: ParameterList) -> Int {
        switch self {
        case .sgd(let sgd): sgd.momentum == 0 ? 0 : Moments.byteCount(list, bits: 32)
        case .adamW(let adamW): 2 * Moments.byteCount(list, bits: adamW.stateBits)
        }
    }

    /// Whether a weight's update is a multiple of its gradient and of the weight, so that it may happen inside backward.
    var needsNoGradientMemory: Bool {
        if case .sgd(let sgd) = self { sgd.momentum == 0 } else { false }
    }

    /// - Throws: as `validate`.
    func with(learningRate: Double) throws(QwenSFTError) -> Optimizer {
        var changed = self
        changed.learningRate = learningRate
        try changed.validate()
        return changed
    }

    /// - Throws: `invalidArgument` for values that torch refuses too, by name.
    public func validate() throws(QwenSFTError) {
        func check(_ name: String, _ value: Double, _ condition: Bool, _ expected: String) throws(QwenSFTError) {
            guard condition, Float(value).isFinite else {  // the arithmetic is float32
                throw QwenSFTError(.invalidArgument, "\(name) must be \(expected), not \(value)")
            }
        }
        try check("lr", learningRate, learningRate >= 0, "at least 0")
        switch self {
        case .sgd(let sgd):
            try check("momentum", sgd.momentum, sgd.momentum >= 0, "at least 0")
            try check("dampening", sgd.dampening, true, "a number")
            try check("weight_decay", sgd.weightDecay, sgd.weightDecay >= 0, "at least 0")
            if sgd.nesterov, sgd.momentum <= 0 || sgd.dampening != 0 {
                throw QwenSFTError(.invalidArgument, "nesterov requires a momentum above 0 and no dampening")
            }
        case .adamW(let adamW):
            try check("beta1", adamW.beta1, (0..<1).contains(adamW.beta1), "at least 0 and below 1")
            try check("beta2", adamW.beta2, (0..<1).contains(adamW.beta2), "at least 0 and below 1")
            try check("eps", adamW.epsilon, adamW.epsilon >= 0, "at least 0")
            try check("weight_decay", adamW.weightDecay, adamW.weightDecay >= 0, "at least 0")
            guard adamW.stateBits == 32 || adamW.stateBits == 8 else {
                throw QwenSFTError(.invalidArgument, "state_bits must be 32 or 8, not \(adamW.stateBits)")
            }
        }
    }
}
