import CKernels

/// The gated unit of the MLP, y = silu(g) ∘ u (Shazeer, 2020); g and u stand side by side in rows of 2·width.
package enum SwiGLU {
    /// y (rows, width) from gateUp (rows, 2·width).
    package static func forward(
        _ y: UnsafeMutablePointer<Float>, gateUp: UnsafePointer<Float>, rows: Int, width: Int, compute: Compute
    ) {
        compute.rows(rows) {
            qk_swiglu_forward(y + $0.lowerBound * width, gateUp + $0.lowerBound * 2 * width, $0.count, width)
        }
    }

    /// gateUp becomes its own gradient; y (rows, width) is computed once more, for the gradient of the layer that reads it.
    package static func backward(
        _ gateUp: UnsafeMutablePointer<Float>, y: UnsafeMutablePointer<Float>, dy: UnsafePointer<Float>, rows: Int,
        width: Int, compute: Compute
    ) {
        compute.rows(rows) {
            let at = $0.lowerBound * width
            qk_swiglu_backward(gateUp + 2 * at, y + at, dy + at, $0.count, width)
        }
    }
}
