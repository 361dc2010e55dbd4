import CKernels

/// The token embedding: row `id` of a (vocabulary, width) matrix.
package enum Embedding {
    /// y (rows, width) = table[ids].
    package static func forward(_ y: MutableMatrix<Float>, ids: [Int32], table: Weight, compute: Compute) {
        let table = table.format
        compute.rows(ids.count) { mine in
            for row in mine {
                let id = Int(ids[row])
                table.widen(id..<id + 1, 0..<y.columns, to: y.at(row))
            }
        }
    }

    /// A worker's part of one row.
    static func forward(_ y: MutableMatrix<Float>, id: Int32, table: Weight, _ worker: ThreadPool.Worker) {
        let table = table.format
        let mine = worker.range(of: y.columns, unit: type(of: table).columnBlock)
        guard !mine.isEmpty else { return }
        table.widen(Int(id)..<Int(id) + 1, mine, to: y.at(0, mine.lowerBound))
    }

    /// Adds the gradient of `forward` to the rows that were read, and touches no other: dy (rows, width) by token id.
    ///
    /// `destination.beta` has no meaning here: decay concerns all rows, and is the caller's business.
    package static func backward(
        _ destination: GradientDestination, ids: [Int32], dy: Matrix<Float>, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let width = dy.columns
        // Rows of one token are neighbors in this order, so that each table row is rounded once.
        let order = ids.indices.sorted { (ids[$0], $0) < (ids[$1], $1) }
        let sums = try compute.arena.matrix(rows: compute.threads, columns: width)
        let images = try compute.arena.matrix(rows: compute.threads, columns: width)
        compute.run { worker in
            let sum = sums.at(worker.index)
            var next = 0
            while next < order.count {
                let id = ids[order[next]]
                var end = next + 1
                while end < order.count, ids[order[end]] == id { end += 1 }
                defer { next = end }
                guard Int(id) % worker.count == worker.index else { continue }
                sum.update(from: dy.at(order[next]), count: width)
                for index in order[(next + 1)..<end] { qk_add(sum, dy.at(index), width) }
                switch destination.target {
                case .bfloat16(let table):
                    let image = images.at(worker.index)
                    qk_f32_from_bf16_run(image, table.matrix.at(Int(id)), width)
                    qk_axpy(image, destination.alpha, sum, width)
                    destination.rounding.store(
                        table.matrix.at(Int(id)), image, count: width, first: Int(id) * width)
                case .float32(let table): qk_axpy(table.matrix.at(Int(id)), destination.alpha, sum, width)
                default: break
                }
            }
        }
    }
}
