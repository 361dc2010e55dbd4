import CKernels

/// The gated unit of the MLP, y = silu(g) ∘ u (Shazeer, 2020); g and u stand side by side in rows of 2·width.
package enum SwiGLU {
    /// y (rows, width) from gateUp (rows, 2·width), both without gaps.
    package static func forward(_ y: MutableMatrix<Float>, gateUp: Matrix<Float>, compute: Compute) {
        compute.rows(y.rows) {
            qk_swiglu_forward(y.at($0.lowerBound), gateUp.at($0.lowerBound), $0.count, y.columns)
        }
    }

    /// One row on the calling thread.
    static func row(_ y: MutableMatrix<Float>, gateUp: Matrix<Float>) {
        qk_swiglu_forward(y.base, gateUp.base, 1, y.columns)
    }

    /// gateUp becomes its own gradient; y (rows, width) is computed once more, for the gradient of the layer that reads it.
    package static func backward(
        _ gateUp: MutableMatrix<Float>, y: MutableMatrix<Float>, dy: Matrix<Float>, compute: Compute
    ) {
        compute.rows(y.rows) {
            let first = $0.lowerBound
            qk_swiglu_backward(gateUp.at(first), y.at(first), dy.at(first), $0.count, y.columns)
        }
    }
}
