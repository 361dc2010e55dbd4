import CKernels

/// Products with the thin matrices of an adapter, in float32. Shapes as in `Linear`; unlike there, work is split over the rows
/// of x: the matrices are small enough for every worker to read all of them.
package enum LowRankProduct {
    /// y = or += scale · x · wᵀ.
    static func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ w: Matrix<Float>, scale: Float = 1, accumulate: Bool = false,
        compute: Compute
    ) {
        compute.rows(x.rows) { mine in
            OpenBLAS.gemm(
                y[rows: mine], x[rows: mine], w, transposeB: true, alpha: scale, beta: accumulate ? 1 : 0)
        }
    }

    /// dx = or += scale · dy · w.
    static func inputGradient(
        _ dx: MutableMatrix<Float>, _ dy: Matrix<Float>, _ w: Matrix<Float>, scale: Float = 1,
        accumulate: Bool = false, compute: Compute
    ) {
        compute.rows(dy.rows) { mine in
            OpenBLAS.gemm(dx[rows: mine], dy[rows: mine], w, alpha: scale, beta: accumulate ? 1 : 0)
        }
    }

    /// dw += dyᵀ · x, split along the longer side of dw.
    static func weightGradient(
        _ dw: MutableMatrix<Float>, _ dy: Matrix<Float>, _ x: Matrix<Float>, compute: Compute
    ) {
        let splitsOutputs = dw.rows > dw.columns
        compute.run { worker in
            let mine = worker.range(of: splitsOutputs ? dw.rows : dw.columns, unit: 16)
            guard !mine.isEmpty else { return }
            if splitsOutputs {
                OpenBLAS.gemm(dw[rows: mine], dy[columns: mine], transposeA: true, x, beta: 1)
            } else {
                OpenBLAS.gemm(dw[columns: mine], dy, transposeA: true, x[columns: mine], beta: 1)
            }
        }
    }

    /// y (1, w.rows) = or += scale · x · wᵀ for one row, on the calling thread.
    static func row(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ w: Matrix<Float>, scale: Float = 1, accumulate: Bool = false
    ) {
        guard w.rows > 0 else { return }
        qk_gemv_f32(y.base, y.stride, w.base, x.base, x.stride, 1, w.rows, w.columns, accumulate ? 1 : 0)
        if scale != 1 { qk_scale(y.base, scale, w.rows) }
    }
}

/// Dropout: elements become 0 with a probability, and the others are scaled up so that the mean stays.
///
/// Which ones is a function of a key and the element's place, so that backward needs no memory of it.
package enum Dropout {
    /// y = or += x with elements dropped.
    /// - Parameter rate: the probability, below 1.
    package static func apply(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, rate: Double, key: UInt64, accumulate: Bool = false,
        compute: Compute
    ) {
        let threshold = UInt64(rate * 0x1p32)
        let factor = Float(1 / (1 - rate))
        compute.rows(x.rows) { mine in
            for row in mine {
                var start = RandomSource(seed: key ^ UInt64(row) &* 0xD134_2543_DE82_EF95)
                var random = RandomSource(seed: start.next())
                let (from, to) = (x.at(row), y.at(row))
                var bits: UInt64 = 0
                for column in 0..<x.columns {
                    // A number serves two elements.
                    bits = column % 2 == 0 ? random.next() : bits >> 32
                    let value = bits & 0xFFFF_FFFF < threshold ? 0 : from[column] * factor
                    to[column] = accumulate ? to[column] + value : value
                }
            }
        }
    }
}
