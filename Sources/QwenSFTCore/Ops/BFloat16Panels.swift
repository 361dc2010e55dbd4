import CKernels

/// The products of `BFloat16GEMM` for processors without bfloat16 instructions: W is widened to float32 tile by tile, and
/// OpenBLAS multiplies each tile on the worker's own thread. Activations stay float32.
enum BFloat16Panels {
    /// Rows of W widened at once: enough for OpenBLAS to run at speed, few enough to stay in cache.
    private static let tileRows = 192

    static func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ w: some WeightFormat, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        let (mark, columns) = (compute.arena.mark, w.columns)
        defer { compute.arena.release(to: mark) }
        let tiles = try compute.arena.floats(compute.threads * tileRows * columns)
        compute.run { worker in
            let tile = tiles + worker.index * tileRows * columns
            for rows in Blocks(worker.range(of: w.rows), most: tileRows, unit: 1) {
                w.widen(rows, 0..<columns, to: tile)
                OpenBLAS.gemm(
                    y[columns: rows], x, Matrix(tile, rows: rows.count, columns: columns), transposeB: true,
                    beta: accumulate ? 1 : 0)
            }
        }
    }

    static func inputGradient<W: WeightFormat>(
        _ dx: MutableMatrix<Float>, _ dy: Matrix<Float>, _ w: W, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        let (mark, columns) = (compute.arena.mark, w.columns)
        defer { compute.arena.release(to: mark) }
        let tiles = try compute.arena.floats(compute.threads * tileRows * columns)
        compute.run { worker in
            let tile = tiles + worker.index * tileRows * columns
            let own = worker.range(of: columns, unit: W.columnBlock)
            guard !own.isEmpty else { return }
            for rows in Blocks(0..<w.rows, most: tileRows, unit: 1) {
                w.widen(rows, own, to: tile)
                OpenBLAS.gemm(
                    dx[columns: own], dy[columns: rows], Matrix(tile, rows: rows.count, columns: own.count),
                    beta: accumulate || rows.lowerBound > 0 ? 1 : 0)
            }
        }
    }

    static func weightGradient(
        _ target: qk_gradient, _ dy: Matrix<Float>, _ x: Matrix<Float>, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let stride = roundUp(x.columns, 32)  // the storing loop reads whole vectors
        let tiles = try compute.arena.floats(compute.threads * tileRows * stride)
        compute.run { worker in
            let tile = tiles + worker.index * tileRows * stride
            for rows in Blocks(worker.range(of: dy.columns), most: tileRows, unit: 1) {
                OpenBLAS.gemm(
                    MutableMatrix(tile, rows: rows.count, columns: x.columns, stride: stride), dy[columns: rows],
                    transposeA: true, x)
                withUnsafePointer(to: target) {
                    qk_store_gradient($0, rows.lowerBound, 0, tile, stride, rows.count, x.columns)
                }
            }
        }
    }
}
