import CKernels

/// The token embedding: row `id` of a (vocabulary, width) matrix.
package enum Embedding {
    /// y (rows, width) = table[ids].
    package static func forward(
        _ y: UnsafeMutablePointer<Float>, ids: UnsafePointer<Int32>, table: Weight, rows: Int, compute: Compute
    ) {
        let width = table.columns
        compute.rows(rows) { mine in
            for row in mine {
                table.copy(row: Int(ids[row]), columns: 0..<width, to: y + row * width)
            }
        }
    }

    /// Adds the gradient of `forward` to the rows that were read, and touches no other: dy (rows, width) by token id.
    ///
    /// An update does not shrink the weights here: decay concerns all rows, and is the caller's business.
    package static func backward(
        _ destination: GradientDestination, ids: UnsafePointer<Int32>, dy: UnsafePointer<Float>, table: Weight,
        rows: Int,
        compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let width = table.columns
        // Rows of one token are neighbours in this order, so that each table row is rounded once.
        let order = (0..<rows).sorted { (ids[$0], $0) < (ids[$1], $1) }
        let sums = try compute.arena.floats(compute.threads * width)
        let rows32 = try compute.arena.floats(compute.threads * width)
        compute.run { worker in
            let sum = sums + worker.index * width
            var next = 0
            while next < rows {
                let id = ids[order[next]]
                var end = next + 1
                while end < rows, ids[order[end]] == id { end += 1 }
                defer { next = end }
                guard Int(id) % worker.count == worker.index else { continue }
                sum.update(from: dy + order[next] * width, count: width)
                for index in order[(next + 1)..<end] { qk_add(sum, dy + index * width, width) }
                let at = Int(id) * width
                switch destination {
                case .buffer(let gradient): qk_add(gradient + at, sum, width)
                case .update(let rate, _, let rounding):
                    if table.dtype == .bfloat16 {
                        let row = rows32 + worker.index * width
                        qk_f32_from_bf16_run(row, table.bfloat16s + at, width)
                        qk_axpy(row, -rate, sum, width)
                        rounding.at(table.offset, pass: 1).store(table.bfloat16s + at, row, count: width, first: at)
                    } else {
                        qk_axpy(table.floats + at, -rate, sum, width)
                    }
                }
            }
        }
    }
}

extension Rounding {
    /// target = values as bfloat16; `first` is the index of the first element in its tensor.
    func store(_ target: UnsafeMutablePointer<UInt16>, _ values: UnsafePointer<Float>, count: Int, first: Int) {
        switch self {
        case .nearest: qk_bf16_from_f32_run(target, values, count)
        case .stochastic(let key): qk_bf16_from_f32_stochastic_run(target, values, count, UInt64(first), key.kernelKey)
        }
    }
}
