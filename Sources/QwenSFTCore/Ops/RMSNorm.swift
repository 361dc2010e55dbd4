import CKernels

/// Root-mean-square normalization, y = x / sqrt(mean(x²) + ε) · w (Zhang & Sennrich, 2019), over rows, or over each of the
/// heads that stand side by side in a row: pieces as wide as the weight.
package enum RMSNorm {
    /// - Parameters:
    ///   - y: (rows, heads · width), as x; may not be `x`, which backward reads.
    ///   - reciprocal: (1, rows · heads), 1 / sqrt(mean(x²) + ε), for backward.
    ///   - weight: (1, width).
    package static func forward(
        _ y: MutableMatrix<Float>, reciprocal: MutableMatrix<Float>, _ x: Matrix<Float>, weight: Matrix<Float>,
        epsilon: Float, compute: Compute
    ) {
        let heads = x.columns / weight.columns
        compute.rows(x.rows) { mine in
            for row in mine {
                qk_rmsnorm_forward(
                    y.at(row), reciprocal.at(0, row * heads), x.at(row), weight.base, heads, weight.columns, epsilon)
            }
        }
    }

    /// One row on the calling thread; y may be `x`.
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
        let (width, heads) = (weight.columns, x.columns / weight.columns)
        let partial = try compute.arena.matrix(rows: compute.threads, columns: width)
        compute.run { worker in
            partial.at(worker.index).update(repeating: 0, count: width)
            for row in worker.range(of: x.rows) {
                qk_rmsnorm_backward(
                    dx.at(row), partial.at(worker.index), dy.at(row), x.at(row), weight.base,
                    reciprocal.at(0, row * heads), heads, width)
            }
            worker.barrier()
            guard worker.index == 0, let dw else { return }
            for part in 0..<worker.count { qk_add(dw.base, partial.at(part), width) }
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
