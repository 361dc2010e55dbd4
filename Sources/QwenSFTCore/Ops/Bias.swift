import CKernels

/// The bias of a linear layer; forward adds it in the pass that follows the product.
package enum Bias {
    /// db (width) += Σ over rows of dy (rows, ld). Columns are split over the workers.
    package static func backward(
        _ db: UnsafeMutablePointer<Float>, dy: UnsafePointer<Float>, ld: Int, rows: Int, width: Int, compute: Compute
    ) {
        compute.run { worker in
            let mine = worker.range(of: width, unit: 16)
            qk_column_sum(db + mine.lowerBound, dy + mine.lowerBound, ld, rows, mine.count)
        }
    }
}
