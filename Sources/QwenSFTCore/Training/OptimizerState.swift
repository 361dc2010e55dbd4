import Glibc

/// An optimizer's memory (momentum, or first and second moments) and the pass that applies buffered gradients.
final class OptimizerState {
    /// Momentum, or first moments; zeros before the first step.
    private(set) var first: ParameterStorage?
    /// Second moments.
    private(set) var second: ParameterStorage?
    /// What first and second do not exceed.
    private var bounds = MagnitudeBounds()

    private let list: ParameterList
    /// Which parameters have memory here: those that are trained or have been.
    private(set) var included: [Bool]

    init(_ optimizer: Optimizer, _ list: ParameterList, isTrainable: [Bool]) throws(QwenSFTError) {
        self.list = list
        included = isTrainable
        func storage(_ purpose: String) throws(QwenSFTError) -> ParameterStorage {
            try ParameterStorage(list, dtype: .float32, included: isTrainable, purpose: purpose)
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
            let new = try ParameterStorage(list, dtype: .float32, included: wanted, purpose: "the optimizer's memory")
            new.copy(from: old)
            return new
        }
        let (first, second) = (try grown(first), try grown(second))
        (self.first, self.second, included) = (first, second, wanted)
    }

    /// All of the memory.
    func add(to print: inout Fingerprint, compute: Compute) {
        for storage in [first, second].compactMap(\.self) {
            for parameter in list.parameters where included[parameter.index] {
                print.add(storage.weight(parameter), compute: compute)
            }
        }
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
        var next = bounds.after(step.optimizer, gradient: largest, step: step.number)
        if !next.areSafe {
            // Measured anew the bounds may do; where they do not, what a step would make is looked at without storing it.
            measureBounds(compute)
            next = bounds.after(step.optimizer, gradient: largest, step: step.number)
            if !next.areSafe {
                try rehearse(step, weights, gradients, compute)
                next = MagnitudeBounds(weights: .infinity, first: .infinity, second: .infinity)
            }
        }
        for (index, parameter) in weights.list.parameters.enumerated() where step.isTrainable[index] {
            let weight = weights.weight(parameter)
            let gradient = gradients.floats(parameter).base
            let m = first?.floats(parameter).base
            let v = second?.floats(parameter).base
            let decays = parameter.isMatrix || step.decaysVectors
            Elements.forEachPiece(of: weight, rounding: step.rounding.at(weight.offset), compute: compute) {
                values, start, count in
                Self.update(
                    values, m.map { $0 + start }, v.map { $0 + start }, gradient + start, count, step, decays: decays)
            }
        }
        bounds = next
        weightBound = next.weights
    }

    /// The new values, and moments, of a piece of a parameter, in place.
    private static func update(
        _ values: UnsafeMutablePointer<Float>, _ m: UnsafeMutablePointer<Float>?, _ v: UnsafeMutablePointer<Float>?,
        _ g: UnsafePointer<Float>, _ count: Int, _ step: Step, decays: Bool
    ) {
        let run = WeightRun(values: values, gradient: g, count: count, gradientScale: step.gradientScale)
        switch step.optimizer {
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
        func norm(_ storage: ParameterStorage?) -> Double {
            guard let storage else { return 0 }
            return storage.list.parameters.filter { !$0.isMatrix || storage.included[$0.index] }
                .map { Elements.norm(storage.floats($0).readOnly, compute: compute) }.reduce(0) { max($0, $1) }
        }
        bounds.first = norm(first)
        bounds.second = norm(second)
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
                if let first { m.update(from: first.floats(parameter).base + start, count: count) }
                if let second { v.update(from: second.floats(parameter).base + start, count: count) }
                Self.update(
                    values, first == nil ? nil : m, second == nil ? nil : v, gradient + start, count, step,
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
