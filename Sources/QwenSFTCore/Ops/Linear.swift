import CKernels

/// A linear layer y = x · Wᵀ without its bias (which goes into the pass that follows).
///
/// Shapes: x (rows, inputs), y (rows, outputs), W (outputs, inputs); x and y are float32 whatever the weights are.
/// Work is split along the weight, so that each worker reads its own part of it.
package enum Linear {
    /// y = x · Wᵀ, or y += x · Wᵀ.
    package static func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ weight: Weight, accumulate: Bool = false, compute: Compute
    ) throws(QwenSFTError) {
        func product<W: WeightFormat>(_ w: W) throws(QwenSFTError) {
            if x.rows <= W.mostRows {
                try RowProduct.forward(y, x, w, accumulate: accumulate, compute: compute)
            } else {
                try w.forward(y, x, accumulate: accumulate, compute: compute)
            }
        }
        try product(weight.format)
    }

    /// dx = dy · W, or dx += dy · W.
    package static func inputGradient(
        _ dx: MutableMatrix<Float>, _ dy: Matrix<Float>, _ weight: Weight, accumulate: Bool = false, compute: Compute
    ) throws(QwenSFTError) {
        try weight.format.inputGradient(dx, dy, accumulate: accumulate, compute: compute)
    }

    /// dW = dyᵀ · x, to where `destination` says. The old weight must not be needed any more.
    /// - Parameter weight: whose gradient it is; how the product is computed depends on its format.
    package static func weightGradient(
        _ destination: GradientDestination, _ dy: Matrix<Float>, _ x: Matrix<Float>, of weight: Weight,
        compute: Compute
    ) throws(QwenSFTError) {
        guard case .float32 = weight, case .float32(let target) = destination.target else {
            return try BFloat16GEMM.weightGradient(destination, dy, x, compute: compute)
        }
        if Float32Panels.servesFloat32WeightGradient(dy, x), let target = destination.kernelForm {
            return try Float32Panels.weightGradient(target, dy, x, compute: compute)
        }
        compute.run { worker in
            let mine = worker.range(of: dy.columns, unit: 16)
            OpenBLAS.gemm(
                target.matrix[rows: mine], dy[columns: mine], transposeA: true, x, alpha: destination.alpha,
                beta: destination.beta)
        }
    }
}
