/// Rows that stand in for a few rows of a (vocabulary, width) matrix, where it is looked up and where it is multiplied with.
package struct ReplacedRows {
    /// The rows of the matrix that they stand in for, each once.
    package let ids: [Int]
    /// (ids, width), in the same order.
    let values: Matrix<Float>
    private let indices: [Int32: Int]

    package init(_ ids: [Int], _ values: Matrix<Float>) {
        self.ids = ids
        self.values = values
        indices = Dictionary(
            ids.enumerated().map { (Int32(truncatingIfNeeded: $1), $0) }, uniquingKeysWith: { first, _ in first })
    }

    // MARK: Looked up

    /// The rows of y (ids, width) that one of these stands in for become it; after `Embedding.forward`.
    func lookUp(_ y: MutableMatrix<Float>, ids: [Int32], compute: Compute) {
        compute.rows(ids.count) { mine in
            for row in mine {
                guard let index = indices[ids[row]] else { continue }
                y.at(row).update(from: values.at(index), count: y.columns)
            }
        }
    }

    /// A worker's part of one row.
    /// - Returns: whether one of these stands in for it; y is as before otherwise.
    func lookUp(_ y: MutableMatrix<Float>, id: Int32, _ worker: ThreadPool.Worker) -> Bool {
        guard let index = indices[id] else { return false }
        let mine = worker.range(of: y.columns, unit: 16)
        y.at(0, mine.lowerBound).update(from: values.at(index, mine.lowerBound), count: mine.count)
        return true
    }

    /// target (ids of these, width) += the gradient of `lookUp`: dy (ids, width).
    func lookUpGradient(_ target: MutableMatrix<Float>, ids: [Int32], dy: Matrix<Float>, compute: Compute) {
        compute.run { worker in
            let mine = worker.range(of: dy.columns, unit: 16)
            guard !mine.isEmpty else { return }
            for (row, id) in ids.enumerated() {
                guard let index = indices[id] else { continue }
                Elements.add(dy[columns: mine][rows: row..<row + 1], to: target[columns: mine][rows: index..<index + 1])
            }
        }
    }

    // MARK: Multiplied with

    /// x · these rowsᵀ, (rows, ids), in the arena.
    func products(_ x: Matrix<Float>, compute: Compute) throws(QwenSFTError) -> MutableMatrix<Float> {
        let products = try compute.arena.matrix(rows: x.rows, columns: ids.count)
        LowRankProduct.forward(products, x, values, compute: compute)
        return products
    }

    /// The columns of y, which are those of the matrix's rows `range`, that one of these stands in for become its product.
    func put(_ products: Matrix<Float>, to y: MutableMatrix<Float>, of range: Range<Int>, compute: Compute) {
        compute.rows(y.rows) { mine in
            for (index, id) in ids.enumerated() where range.contains(id) {
                for row in mine { y.at(row, id - range.lowerBound).pointee = products.at(row, index).pointee }
            }
        }
    }

    /// Takes the gradients of what `put` has put out of dy: they are of no concern to the matrix, which sees zeros.
    func take(_ gradients: MutableMatrix<Float>, of dy: MutableMatrix<Float>, _ range: Range<Int>, compute: Compute) {
        compute.rows(dy.rows) { mine in
            for (index, id) in ids.enumerated() where range.contains(id) {
                for row in mine {
                    gradients.at(row, index).pointee = dy.at(row, id - range.lowerBound).pointee
                    dy.at(row, id - range.lowerBound).pointee = 0
                }
            }
        }
    }

    /// dx += the gradient to x, from all that was taken.
    func inputGradient(_ dx: MutableMatrix<Float>, _ gradients: Matrix<Float>, compute: Compute) {
        LowRankProduct.inputGradient(dx, gradients, values, accumulate: true, compute: compute)
    }

    /// The products with one row x, put into y as `put` does; on the calling thread.
    func row(_ y: MutableMatrix<Float>, _ x: Matrix<Float>, of range: Range<Int>) {
        for (index, id) in ids.enumerated() where range.contains(id) {
            let column = id - range.lowerBound
            LowRankProduct.row(y[columns: column..<column + 1], x, values[rows: index..<index + 1])
        }
    }

    // MARK: Written

    /// Writes them into the matrix; in bfloat16 they are rounded to the nearest.
    func write(to weight: Weight) {
        for (index, id) in ids.enumerated() {
            weight.slice(id..<id + 1).set(UnsafeBufferPointer(start: values.at(index), count: values.columns))
        }
    }

    /// The rows of the matrix.
    func read(from weight: Weight, to values: MutableMatrix<Float>) {
        for (index, id) in ids.enumerated() {
            weight.format.widen(id..<id + 1, 0..<values.columns, to: values.at(index))
        }
    }

    /// Whether `write` leaves finite numbers, also in bfloat16, which rounds what is above this to infinity.
    var canBeWritten: Bool {
        (0..<values.rows).allSatisfy { row in
            UnsafeBufferPointer(start: values.at(row), count: values.columns).allSatisfy { $0.magnitude < 3.38e38 }
        }
    }
}
