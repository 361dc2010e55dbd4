import CKernels

/// Where the gradient G of a weight goes: target = beta · target + alpha · G, rounded once.
///
/// A gradient buffer has alpha 1 and beta 1. Plain SGD needs none: with the weight itself as the target, alpha −rate and beta
/// 1 − rate · decay, the product that makes the gradient is the step.
package struct GradientDestination {
    /// Float32 or bfloat16.
    package let target: Weight
    package let alpha: Float
    /// 0: the target is not read.
    package let beta: Float
    /// Of a bfloat16 target.
    package let rounding: Rounding

    package init(_ target: Weight, alpha: Float = 1, beta: Float = 1, rounding: Rounding = .nearest) {
        self.target = target
        self.alpha = alpha
        self.beta = beta
        self.rounding = rounding
    }

    /// In the form the kernels take; nil for a target that cannot be written to.
    var kernelForm: qk_gradient? {
        guard let (start, dtype) = target.elements else { return nil }
        let key = dtype == .bfloat16 ? rounding.kernelKey : nil
        return qk_gradient(
            target: start, columns: target.columns, alpha: alpha, beta: beta, bf16: dtype == .bfloat16 ? 1 : 0,
            rounding: key == nil ? 0 : Int32(QK_ROUND_STOCHASTIC), key: key ?? .init())
    }
}
