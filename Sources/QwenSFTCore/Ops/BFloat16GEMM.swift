import CKernels

/// The three products of a linear layer whose weight W is not float32: forward, input gradient, weight gradient.
///
/// Shapes: X (rows, inputs), Y (rows, outputs), W (outputs, inputs). Activations are float32 in memory, sums are float32.
/// With bfloat16 instructions activations and weights are rounded to bfloat16 on their way into the product; without them W is
/// widened while it is packed, and multiplied in float32 (but see `IntegerPanels`). Sizes are at least 1; `rows` may be 0.
///
/// Every element of a result is summed in one fixed order, so results do not depend on the number of threads.
/// Scratch memory comes from the arena and is given back before returning; only that can fail (`outOfMemory`).
package enum BFloat16GEMM {
    /// y = or += x · Wᵀ.
    package static func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ w: some WeightFormat, accumulate: Bool = false,
        compute: Compute, algorithm: Algorithm = .fastest
    ) throws(QwenSFTError) {
        switch algorithm {
        case .blocks: try BFloat16Blocks.forward(y, x, w, accumulate: accumulate, compute: compute)
        case .panels: try Float32Panels.forward(y, x, w, accumulate: accumulate, compute: compute)
        }
    }

    /// dx = or += dy · W.
    package static func inputGradient(
        _ dx: MutableMatrix<Float>, _ dy: Matrix<Float>, _ w: some WeightFormat, accumulate: Bool = false,
        compute: Compute, algorithm: Algorithm = .fastest
    ) throws(QwenSFTError) {
        switch algorithm {
        case .blocks: try BFloat16Blocks.inputGradient(dx, dy, w, accumulate: accumulate, compute: compute)
        case .panels: try Float32Panels.inputGradient(dx, dy, w, accumulate: accumulate, compute: compute)
        }
    }

    /// dyᵀ · x (outputs, inputs) to where `destination` says, in the target's type. The sum over all rows is rounded once.
    package static func weightGradient(
        _ destination: GradientDestination, _ dy: Matrix<Float>, _ x: Matrix<Float>, compute: Compute,
        algorithm: Algorithm = .fastest
    ) throws(QwenSFTError) {
        guard let target = destination.kernelForm else {
            throw QwenSFTError(.unsupported, "weights in this form take no gradient")
        }
        switch algorithm {
        case .blocks: try BFloat16Blocks.weightGradient(target, dy, x, compute: compute)
        case .panels: try Float32Panels.weightGradient(target, dy, x, compute: compute)
        }
    }

    /// Two ways to the same product; tests ask for one, all others for the fastest.
    package enum Algorithm: Sendable {
        /// The blocks of `BFloat16Blocks`; activations are rounded to bfloat16.
        case blocks
        /// Those of `Float32Panels`, in float32; activations are not rounded.
        case panels

        /// Blocks where the processor multiplies bfloat16 itself.
        package static var fastest: Self { Processor.multipliesBFloat16 ? .blocks : .panels }
    }
}
