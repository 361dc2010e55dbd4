import CKernels

/// Root-mean-square normalisation, y = x / sqrt(mean(x²) + ε) · w (Zhang & Sennrich, 2019), over rows.
package enum RMSNorm {
    /// - Parameters:
    ///   - y: (rows, width) without gaps, as x; may not be `x`.
    ///   - reciprocal: (1, rows), 1 / sqrt(mean(x²) + ε), for backward.
    ///   - weight: (1, width).
    package static func forward(
        _ y: MutableMatrix<Float>, reciprocal: MutableMatrix<Float>, _ x: Matrix<Float>, weight: Matrix<Float>,
        epsilon: Float, compute: Compute
    ) {
        compute.rows(x.rows) { mine in
            qk_rmsnorm_forward(
                y.at(mine.lowerBound), reciprocal.at(0, mine.lowerBound), x.at(mine.lowerBound), weight.base,
                mine.count, x.columns, epsilon)
        }
    }

    /// One row on the calling thread.
    static func row(_ y: MutableMatrix<Float>, _ x: Matrix<Float>, weight: Matrix<Float>, epsilon: Float) {
        var reciprocal: Float = 0
        qk_rmsnorm_forward(y.base, &reciprocal, x.base, weight.base, 1, x.columns, epsilon)
    }

    /// dx += r·(w∘dy) − x·r³·mean(w∘dy∘x),  dw += Σ dy∘x·r with r the saved reciprocal.
    /// - Parameter dw: (1, width); nil: not asked for.
    package static func backward(
        _ dx: MutableMatrix<Float>, _ dw: MutableMatrix<Float>?, reciprocal: Matrix<Float>, dy: Matrix<Float>,
        x: Matrix<Float>, weight: Matrix<Float>, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let partial = try compute.arena.matrix(rows: compute.threads, columns: x.columns)
        compute.run { worker in
            partial.at(worker.index).update(repeating: 0, count: x.columns)
            let mine = worker.range(of: x.rows)
            qk_rmsnorm_backward(
                dx.at(mine.lowerBound), partial.at(worker.index), dy.at(mine.lowerBound), x.at(mine.lowerBound),
                weight.base, reciprocal.at(0, mine.lowerBound), mine.count, x.columns)
            worker.barrier()
            guard worker.index == 0, let dw else { return }
            for part in 0..<worker.count { qk_add(dw.base, partial.at(part), x.columns) }
        }
    }
}

extension Compute {
    /// Zeros in the arena.
    func zeros(rows: Int, columns: Int) throws(QwenSFTError) -> MutableMatrix<Float> {
        let memory = try arena.matrix(rows: rows, columns: columns)
        clear(memory)
        return memory
    }
}
