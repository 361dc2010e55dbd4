/// Upper bounds of the numbers in the weights and in an optimizer's memory.
///
/// A step makes sums of products of numbers whose size is known, so whether something could overflow is known before anything
/// is written, for the price of a few norms instead of a pass over all weights. Bounds are generous, and only grow;
/// when they have become useless, or were never known, they are measured anew.
struct MagnitudeBounds: Equatable {
    var weights = Double.infinity
    /// Momentum, or first moments.
    var first = 0.0
    /// Second moments.
    var second = 0.0

    /// Half of what float32 and bfloat16 hold: rounding adds less than the other half.
    private static let most = Double(Float.greatestFiniteMagnitude) / 2
    /// Grown so far by adding up, a bound says little; sums of squares in float32 blocks hold numbers up to 1e19.
    private static let worthRenewing = 1e15

    /// Nothing within these bounds is infinite or NaN. (A comparison with NaN is false.)
    var areSafe: Bool { weights < Self.most && first < Self.most && second < Self.most }

    var areTight: Bool {
        weights < Self.worthRenewing && first < Self.worthRenewing && second < Self.worthRenewing * Self.worthRenewing
    }

    /// After a step of `optimizer` with gradients that are nowhere larger than `gradient`.
    func after(_ optimizer: Optimizer, gradient: Double, step: Int) -> MagnitudeBounds {
        // As the kernels have them: in float32, where a product may be infinite.
        let rate = Double(Float(optimizer.learningRate))
        var next = self
        switch optimizer {
        case .sgd(let sgd):
            next.weights *= max(1, abs(1 - rate * sgd.weightDecay))
            if sgd.momentum == 0 {
                next.weights += rate * gradient
            } else {
                let decayed = gradient + sgd.weightDecay * weights
                next.first = sgd.momentum * first + max(1, abs(1 - sgd.dampening)) * decayed
                next.weights += rate * (sgd.nesterov ? decayed + sgd.momentum * next.first : next.first)
            }
        case .adamW(let adamW):
            next.weights *= max(1, abs(1 - rate * adamW.weightDecay))
            next.first = adamW.beta1 * first + gradient
            next.second = adamW.beta2 * second + gradient * gradient
            next.weights += Double(adamW.rate(ofStep: step)) * next.first / Double(Float(adamW.epsilon))
        }
        return next
    }
}
