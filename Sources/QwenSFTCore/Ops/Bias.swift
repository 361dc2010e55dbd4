import CKernels

/// The bias of a linear layer; forward adds it in the pass that follows the product.
package enum Bias {
    /// db (1, width) += Σ over rows of dy (rows, width). Columns are split over the workers.
    package static func backward(_ db: MutableMatrix<Float>, dy: Matrix<Float>, compute: Compute) {
        compute.run { worker in
            let mine = worker.range(of: dy.columns, unit: 16)
            qk_column_sum(db.at(0, mine.lowerBound), dy.at(0, mine.lowerBound), dy.stride, dy.rows, mine.count)
        }
    }
}
