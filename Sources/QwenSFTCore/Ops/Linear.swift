/// A linear layer y = x · Wᵀ without its bias (which goes into the pass that follows).
///
/// Shapes: x (rows, inputs), y (rows, outputs), W (outputs, inputs); x and y are float32 whatever the weights are.
/// Work is split along the weight, so that each worker reads its own part of it.
package enum Linear {
    /// y = x · Wᵀ, or y += x · Wᵀ.
    package static func forward(
        _ y: UnsafeMutablePointer<Float>, ldy: Int, x: UnsafePointer<Float>, ldx: Int, weight: Weight, rows: Int,
        accumulate: Bool = false, compute: Compute
    ) throws(QwenSFTError) {
        if let compressed = weight.compressed {
            return try compressed.forward(
                y, yStride: ldy, x, xStride: ldx, rows: rows, accumulate: accumulate, arena: compute.arena,
                threads: compute.threads)
        }
        if weight.dtype == .bfloat16 {
            return try BFloat16GEMM.forward(
                y, yStride: ldy, x, xStride: ldx, weight.bfloat16s, rows: rows, outputs: weight.rows,
                inputs: weight.columns,
                accumulate: accumulate, arena: compute.arena)
        }
        if rows <= MatrixVector.mostRows {
            return MatrixVector.forward(
                y, yStride: ldy, x, xStride: ldx, weight.floats, rows: rows, outputs: weight.rows,
                inputs: weight.columns,
                accumulate: accumulate, threads: compute.threads)
        }
        if FewRowsGEMM.serves(rows: rows) {
            return try FewRowsGEMM.forward(
                y, ldy: ldy, x: x, ldx: ldx, weight: weight, rows: rows, accumulate: accumulate, compute: compute)
        }
        compute.run { worker in
            let mine = worker.range(of: weight.rows, unit: 16)
            OpenBLAS.gemm(
                y + mine.lowerBound, ldc: ldy, x, lda: ldx, weight.floats + mine.lowerBound * weight.columns,
                ldb: weight.columns, transposeB: true, m: rows, n: mine.count, k: weight.columns,
                beta: accumulate ? 1 : 0)
        }
    }

    /// dx = dy · W, or dx += dy · W.
    package static func inputGradient(
        _ dx: UnsafeMutablePointer<Float>, ldx: Int, dy: UnsafePointer<Float>, ldy: Int, weight: Weight, rows: Int,
        accumulate: Bool = false, compute: Compute
    ) throws(QwenSFTError) {
        if weight.dtype == .bfloat16 {
            return try BFloat16GEMM.inputGradient(
                dx, dxStride: ldx, dy, dyStride: ldy, weight.bfloat16s, rows: rows, outputs: weight.rows,
                inputs: weight.columns, accumulate: accumulate, arena: compute.arena)
        }
        if FewRowsGEMM.serves(rows: rows) {
            return FewRowsGEMM.inputGradient(
                dx, ldx: ldx, dy: dy, ldy: ldy, weight: weight, rows: rows, accumulate: accumulate, compute: compute)
        }
        compute.run { worker in
            let mine = worker.range(of: weight.columns, unit: 16)
            OpenBLAS.gemm(
                dx + mine.lowerBound, ldc: ldx, dy, lda: ldy, weight.floats + mine.lowerBound, ldb: weight.columns,
                m: rows, n: mine.count, k: weight.rows, beta: accumulate ? 1 : 0)
        }
    }

    /// dW = dyᵀ · x, to where `destination` says. The old weight must not be needed any more.
    package static func weightGradient(
        _ destination: GradientDestination, dy: UnsafePointer<Float>, ldy: Int, x: UnsafePointer<Float>, ldx: Int,
        weight: Weight, rows: Int, compute: Compute
    ) throws(QwenSFTError) {
        let (n, k) = (weight.rows, weight.columns)
        func gemm(_ target: UnsafeMutablePointer<Float>, alpha: Float, beta: Float) {
            compute.run { worker in
                let mine = worker.range(of: n, unit: 16)
                OpenBLAS.gemm(
                    target + mine.lowerBound * k, ldc: k, dy + mine.lowerBound, lda: ldy, transposeA: true, x, ldb: ldx,
                    m: mine.count, n: k, k: rows, alpha: alpha, beta: beta)
            }
        }
        switch destination {
        case .buffer(let gradient):
            if weight.dtype == .bfloat16 {
                try BFloat16GEMM.weightGradient(
                    .buffer(gradient), dy, dyStride: ldy, x, xStride: ldx, rows: rows, outputs: n, inputs: k,
                    arena: compute.arena)
            } else {
                gemm(gradient, alpha: 1, beta: 1)
            }
        case .update(let rate, let shrink, let rounding):
            if weight.dtype == .bfloat16 {
                try BFloat16GEMM.weightGradient(
                    .weight(weight.bfloat16s, alpha: -rate, beta: shrink, rounding: rounding.at(weight.offset)), dy,
                    dyStride: ldy, x, xStride: ldx, rows: rows, outputs: n, inputs: k, arena: compute.arena)
            } else {
                gemm(weight.floats, alpha: -rate, beta: shrink)
            }
        }
    }
}
