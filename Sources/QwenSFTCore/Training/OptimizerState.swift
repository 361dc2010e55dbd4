import CKernels
import Glibc

/// An optimizer's memory (momentum, or first and second moments) and the pass that applies buffered gradients.
final class OptimizerState {
    /// Momentum, or first moments; zeros before the first step.
    private(set) var first: ParameterStorage?
    /// Second moments.
    private(set) var second: ParameterStorage?

    private let layout: ParameterLayout
    /// Which parameters have memory here: those that are trained or have been.
    private(set) var included: [Bool]

    init(_ optimizer: Optimizer, _ layout: ParameterLayout, isTrainable: [Bool]) throws(QwenSFTError) {
        self.layout = layout
        included = isTrainable
        func storage(_ purpose: String) throws(QwenSFTError) -> ParameterStorage {
            try ParameterStorage(layout, dtype: .float32, included: isTrainable, purpose: purpose)
        }
        switch optimizer {
        case .sgd(let sgd):
            if sgd.momentum != 0 { first = try storage("momentum") }
        case .adamW:
            first = try storage("AdamW's first moments")
            second = try storage("AdamW's second moments")
        }
    }

    /// Makes room for what is trained now. Before the first step frozen parameters have no memory; later on what has been
    /// trained keeps its own, as it may be trained again.
    func cover(_ isTrainable: [Bool], isFirstStep: Bool) throws(QwenSFTError) {
        let wanted = isFirstStep ? isTrainable : zip(included, isTrainable).map { $0 || $1 }
        guard wanted != included else { return }
        func grown(_ old: ParameterStorage?) throws(QwenSFTError) -> ParameterStorage? {
            guard let old else { return nil }
            let new = try ParameterStorage(layout, dtype: .float32, included: wanted, purpose: "the optimizer's memory")
            new.copy(from: old)
            return new
        }
        let (first, second) = (try grown(first), try grown(second))
        (self.first, self.second, included) = (first, second, wanted)
    }

    /// Applies `gradients`, scaled by `gradientScale`, to every trainable weight.
    /// - Parameter step: 1 at the first step.
    func apply(
        _ optimizer: Optimizer, to weights: ParameterStorage, gradients: ParameterStorage, gradientScale: Float,
        step: Int,
        isTrainable: [Bool], decaysVectors: Bool, rounding: Rounding, compute: Compute
    ) {
        for (index, parameter) in weights.layout.parameters.enumerated() where isTrainable[index] {
            let weight = weights.weight(parameter)
            let gradient = gradients.floats(parameter).base
            let m = first?.floats(parameter).base
            let v = second?.floats(parameter).base
            let decays = parameter.isMatrix || decaysVectors
            Elements.forEachPiece(of: weight, rounding: rounding.at(weight.offset), compute: compute) {
                values, start, count in
                let g = gradient + start
                switch optimizer {
                case .sgd(let sgd):
                    let rate = Float(sgd.learningRate)
                    let decay = decays ? Float(sgd.weightDecay) : 0
                    if let m {
                        qk_sgd_momentum(
                            values, m + start, g, count, gradientScale, rate, Float(sgd.momentum),
                            Float(1 - sgd.dampening),
                            decay, sgd.nesterov ? 1 : 0, step == 1 ? 1 : 0)
                    } else {
                        if decay != 0 { qk_scale(values, 1 - rate * decay, count) }
                        qk_axpy(values, -rate * gradientScale, g, count)
                    }
                case .adamW(let adamW):
                    guard let m, let v else { return }
                    let correction1 = 1 - pow(adamW.beta1, Double(step))
                    let correction2 = 1 - pow(adamW.beta2, Double(step))
                    qk_adamw(
                        values, m + start, v + start, g, count, gradientScale,
                        Float(1 - adamW.learningRate * (decays ? adamW.weightDecay : 0)),
                        Float(adamW.learningRate / correction1), Float(adamW.beta1), Float(adamW.beta2),
                        Float(1 / correction2.squareRoot()), Float(adamW.epsilon))
                }
            }
        }
    }
}
