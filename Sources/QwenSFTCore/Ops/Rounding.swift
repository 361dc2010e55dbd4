import CKernels

/// How float32 becomes bfloat16.
package struct Rounding: Sendable, Equatable {
    /// Of stochastic rounding: which random bits. An element's depend on these and its place in the tensor only.
    private var seed: UInt64?
    private var step: UInt64 = 0
    private var stream: UInt64 = 0

    /// To the nearest, ties to even.
    package static let nearest = Rounding()

    /// Up or down at random such that the expected value is exact: updates far below half a step still count.
    /// - Parameters:
    ///   - step: the optimizer step.
    ///   - stream: the tensor's number.
    package static func stochastic(seed: UInt64, step: UInt64, stream: UInt64 = 0) -> Rounding {
        Rounding(seed: seed, step: step, stream: stream)
    }

    /// The same for a write of the weight whose first element has index `offset`; `pass` tells two writes of one step apart.
    package func at(_ offset: Int, pass: UInt64 = 0) -> Rounding {
        Rounding(seed: seed, step: step << 1 | pass, stream: UInt64(offset))
    }

    /// In the form the kernels take; nil: to the nearest.
    package var kernelKey: qk_round_key? {
        guard let seed else { return nil }
        // SplitMix64's finalizer (Steele, Lea, Flood 2014) over each number in turn.
        var state: UInt64 = 0
        for number in [seed, step, stream] {
            state = (state ^ number) &+ 0x9e37_79b9_7f4a_7c15
            state = (state ^ state >> 30) &* 0xbf58_476d_1ce4_e5b9
            state = (state ^ state >> 27) &* 0x94d0_49bb_1331_11eb
            state ^= state >> 31
        }
        return qk_round_key(a: UInt32(truncatingIfNeeded: state), b: UInt32(truncatingIfNeeded: state >> 32))
    }

    /// target = values as bfloat16; `first` is the index of the first element in its tensor.
    func store(_ target: UnsafeMutablePointer<UInt16>, _ values: UnsafePointer<Float>, count: Int, first: Int) {
        if let kernelKey {
            qk_bf16_from_f32_stochastic_run(target, values, count, UInt64(first), kernelKey)
        } else {
            qk_bf16_from_f32_run(target, values, count)
        }
    }
}
