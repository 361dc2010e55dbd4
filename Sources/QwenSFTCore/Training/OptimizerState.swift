import Libc

/// An optimizer's memory (momentum, or first and second moments) and the pass that applies buffered gradients.
final class OptimizerState {
    /// Momentum, or first moments; zeros before the first step.
    private(set) var first: Moments?
    /// Second moments.
    private(set) var second: Moments?
    /// Momentum of the steps from average to average, where ranks step by themselves.
    private(set) var outer: Moments?
    /// What first and second do not exceed.
    private var bounds = MagnitudeBounds()

    /// What the memory is like; its numbers do not matter.
    private let optimizer: Optimizer
    private let list: ParameterList
    /// Which parameters have memory here: those that are trained or have been.
    private(set) var included: [Bool]

    init(
        _ optimizer: Optimizer, _ list: ParameterList, isTrainable: [Bool], hasOuter: Bool
    ) throws(QwenSFTError) {
        self.list = list
        included = isTrainable
        self.optimizer = optimizer
        (first, second) = try Self.moments(optimizer, list, included)
        outer = hasOuter ? try Self.outerMomentum(list, included) : nil
    }

    /// Zeros.
    private static func moments(
        _ optimizer: Optimizer, _ list: ParameterList, _ included: [Bool]
    ) throws(QwenSFTError) -> (first: Moments?, second: Moments?) {
        func moments(_ bits: Int, isSigned: Bool, _ purpose: String) throws(QwenSFTError) -> Moments {
            try Moments(list, included: included, bits: bits, isSigned: isSigned, purpose: purpose)
        }
        switch optimizer {
        case .sgd(let sgd):
            return (sgd.momentum == 0 ? nil : try moments(32, isSigned: true, "momentum"), nil)
        case .adamW(let adamW):
            return (
                try moments(adamW.stateBits, isSigned: true, "AdamW's first moments"),
                try moments(adamW.stateBits, isSigned: false, "AdamW's second moments")
            )
        }
    }

    private static func outerMomentum(_ list: ParameterList, _ included: [Bool]) throws(QwenSFTError) -> Moments {
        try Moments(list, included: included, bits: 32, isSigned: true, purpose: "outer momentum")
    }

    /// Makes room for what is trained now. Before the first step frozen parameters have no memory; later on what has been
    /// trained keeps its own, as it may be trained again.
    func cover(_ isTrainable: [Bool], isFirstStep: Bool) throws(QwenSFTError) {
        let wanted = isFirstStep ? isTrainable : zip(included, isTrainable).map { $0 || $1 }
        guard wanted != included else { return }
        let (first, second) = try Self.moments(optimizer, list, wanted)
        if let old = self.first { first?.copy(from: old) }
        if let old = self.second { second?.copy(from: old) }
        if let old = outer {
            let new = try Self.outerMomentum(list, wanted)
            new.copy(from: old)
            outer = new
        }
        (self.first, self.second, included) = (first, second, wanted)
    }

    /// All of the memory.
    func add(to fingerprint: inout Fingerprint, compute: Compute) {
        for moments in [first, second].compactMap(\.self) { moments.add(to: &fingerprint, compute: compute) }
    }

    /// What a step is made of, beside gradients and weights.
    struct Step {
        let optimizer: Optimizer
        /// 1 at the first step.
        let number: Int
        let gradientScale: Float
        /// No gradient is larger than this before it is scaled.
        let largestGradient: Double
        let decaysVectors: Bool
        let isTrainable: [Bool]
        let rounding: Rounding
        /// How many times as fast an adapter's B learns (LoRA+; Hayou, Ghosh & Yu, 2024).
        var ratioOfB = 1.0

        func optimizer(of parameter: Parameter) -> Optimizer {
            ratioOfB != 1 && parameter.name.hasSuffix(Adapter.suffixB) ? optimizer.faster(by: ratioOfB) : optimizer
        }
    }

    /// Applies `gradients` to every trainable weight.
    /// - Parameter weightBound: no weight is larger; replaced by what holds afterwards.
    /// - Throws: `nonFinite` where a weight or the optimizer's memory would become infinite or NaN; nothing was changed.
    func apply(
        _ step: Step, to weights: ParameterStorage, gradients: ParameterStorage, weightBound: inout Double,
        compute: Compute
    ) throws(QwenSFTError) {
        bounds.weights = weightBound
        let largest = step.largestGradient * Double(step.gradientScale)
        let fastest = step.optimizer.faster(by: max(1, step.ratioOfB))
        var next = bounds.after(fastest, gradient: largest, step: step.number)
        if !next.areSafe {
            // Measured anew the bounds may do; where they do not, what a step would make is looked at without storing it.
            measureBounds(compute)
            next = bounds.after(fastest, gradient: largest, step: step.number)
            if !next.areSafe {
                try rehearse(step, weights, gradients, compute)
                next = MagnitudeBounds(weights: .infinity, first: .infinity, second: .infinity)
            }
        }
        for (index, parameter) in weights.list.parameters.enumerated() where step.isTrainable[index] {
            let weight = weights.weight(parameter)
            let gradient = gradients.floats(parameter).base
            let decays = parameter.isMatrix || step.decaysVectors
            let optimizer = step.optimizer(of: parameter)
            Elements.forEachPiece(of: weight, rounding: step.rounding.at(weight.offset), compute: compute) {
                values, start, count in
                let run = WeightRun(
                    values: values, gradient: gradient + start, count: count, gradientScale: step.gradientScale)
                update(run, of: parameter, from: start, step, optimizer, decays: decays)
            }
        }
        bounds = next
        weightBound = next.weights
    }

    /// The new values, and moments, of a piece of a parameter; a few at a time, since the host's stack may be small.
    private func update(
        _ run: WeightRun, of parameter: Parameter, from start: Int, _ step: Step, _ optimizer: Optimizer, decays: Bool
    ) {
        let most = 1024
        withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * most) { scratch in
            guard let scratch = scratch.baseAddress else { return }
            for offset in stride(from: 0, to: run.count, by: most) {
                let count = min(most, run.count - offset)
                let m = first?.load(parameter, start + offset, count, scratch)
                let v = second?.load(parameter, start + offset, count, scratch + most)
                let part = WeightRun(
                    values: run.values + offset, gradient: run.gradient + offset, count: count,
                    gradientScale: run.gradientScale)
                Self.update(part, m, v, step, optimizer, decays: decays)
                if let m { first?.store(parameter, start + offset, count, m) }
                if let v { second?.store(parameter, start + offset, count, v) }
            }
        }
    }

    /// The new values, and moments, of a piece of a parameter, in place.
    private static func update(
        _ run: WeightRun, _ m: UnsafeMutablePointer<Float>?, _ v: UnsafeMutablePointer<Float>?, _ step: Step,
        _ optimizer: Optimizer, decays: Bool
    ) {
        switch optimizer {
        case .sgd(let sgd):
            let rate = Float(sgd.learningRate)
            let decay = decays ? Float(sgd.weightDecay) : 0
            if let m {
                MomentumUpdate(
                    rate: rate, momentum: Float(sgd.momentum), keep: Float(1 - sgd.dampening), decay: decay,
                    isNesterov: sgd.nesterov, isFirst: step.number == 1
                ).apply(to: run, momentum: m)
            } else {
                run.descend(rate: rate, decay: decay)
            }
        case .adamW(let adamW):
            guard let m, let v else { return }
            let correction2 = 1 - pow(adamW.beta2, Double(step.number))
            AdamWUpdate(
                shrink: Float(1 - adamW.learningRate * (decays ? adamW.weightDecay : 0)),
                rate: adamW.rate(ofStep: step.number), beta1: Float(adamW.beta1), beta2: Float(adamW.beta2),
                secondScale: Float(1 / correction2.squareRoot()), epsilon: Float(adamW.epsilon)
            ).apply(to: run, first: m, second: v)
        }
    }

    /// The optimizer's memory has got a content from elsewhere.
    func forgetBounds() { (bounds.first, bounds.second) = (.infinity, .infinity) }

    private func measureBounds(_ compute: Compute) {
        bounds.first = first?.bound(compute) ?? 0
        bounds.second = second?.bound(compute) ?? 0
    }

    /// Makes a step on copies of a few numbers at a time.
    /// - Throws: `nonFinite` with the parameter's name.
    private func rehearse(
        _ step: Step, _ weights: ParameterStorage, _ gradients: ParameterStorage, _ compute: Compute
    ) throws(QwenSFTError) {
        let piece = Elements.piece
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let copies = try compute.arena.floats(3 * piece)
        let (values, m, v) = (copies, copies + piece, copies + 2 * piece)
        for (index, parameter) in weights.list.parameters.enumerated() where step.isTrainable[index] {
            let weight = weights.weight(parameter)
            guard let (elements, dtype) = weight.elements else { continue }
            let gradient = gradients.floats(parameter).base
            let decays = parameter.isMatrix || step.decaysVectors
            for start in stride(from: 0, to: weight.count, by: piece) {
                let count = min(piece, weight.count - start)
                if dtype == .bfloat16 {
                    convertElements(from: elements + 2 * start, .bfloat16, to: values, .float32, count: count)
                } else {
                    values.update(from: elements.assumingMemoryBound(to: Float.self) + start, count: count)
                }
                // What `load` puts into the copies' place, or elsewhere: there it is not to be changed.
                if let kept = first?.load(parameter, start, count, m), kept != m { m.update(from: kept, count: count) }
                if let kept = second?.load(parameter, start, count, v), kept != v { v.update(from: kept, count: count) }
                let run = WeightRun(
                    values: values, gradient: gradient + start, count: count, gradientScale: step.gradientScale)
                Self.update(
                    run, first == nil ? nil : m, second == nil ? nil : v, step, step.optimizer(of: parameter),
                    decays: decays)
                // bfloat16 rounds what is above this to infinity.
                let isGood = (0..<count).allSatisfy {
                    values[$0].magnitude < 3.38e38 && (first == nil || m[$0].isFinite)
                        && (second == nil || v[$0].isFinite)
                }
                guard isGood else {
                    throw QwenSFTError(
                        .nonFinite,
                        "the step would make numbers of \(parameter.name) infinite or NaN; nothing was changed")
                }
            }
        }
    }
}
