import CKernels

/// A run of weights in float32 and its gradient, which is to be read times `gradientScale`.
struct WeightRun {
    let values: UnsafeMutablePointer<Float>
    let gradient: UnsafePointer<Float>
    let count: Int
    let gradientScale: Float

    /// w ← (1 − rate · decay) w − rate · g.
    func descend(rate: Float, decay: Float) {
        if decay != 0 { qk_scale(values, 1 - rate * decay, count) }
        qk_axpy(values, -rate * gradientScale, gradient, count)
    }
}

/// torch.optim.SGD with momentum.
struct MomentumUpdate {
    let rate: Float
    let momentum: Float
    /// 1 − dampening.
    let keep: Float
    let decay: Float
    let isNesterov: Bool
    let isFirst: Bool

    func apply(to run: WeightRun, momentum buffer: UnsafeMutablePointer<Float>) {
        qk_sgd_momentum(
            run.values, buffer, run.gradient, run.count, run.gradientScale, rate, momentum, keep, decay,
            isNesterov ? 1 : 0, isFirst ? 1 : 0)
    }
}

/// torch.optim.AdamW: w ← shrink · w − rate · m / (√v · secondScale + ε).
struct AdamWUpdate {
    let shrink: Float
    let rate: Float
    let beta1: Float
    let beta2: Float
    let secondScale: Float
    let epsilon: Float

    func apply(to run: WeightRun, first: UnsafeMutablePointer<Float>, second: UnsafeMutablePointer<Float>) {
        qk_adamw(
            run.values, first, second, run.gradient, run.count, run.gradientScale, shrink, rate, beta1, beta2,
            secondScale, epsilon)
    }
}
