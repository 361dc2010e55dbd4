import CKernels

/// The products of `BFloat16GEMM` for processors without bfloat16 instructions: W is widened to float32 tile by tile, and
/// OpenBLAS multiplies each tile on the worker's own thread. Activations stay float32.
enum BFloat16Panels {
    /// Rows of W widened at once: enough for OpenBLAS to run at speed, few enough to stay in cache.
    private static let tileRows = 192

    static func forward(
        _ y: Matrix, _ x: ConstMatrix<Float>, _ w: StoredWeight, _ accumulate: Bool,
        _ arena: Arena, _ threads: Int
    ) throws(QwenSFTError) {
        let mark = arena.mark
        defer { arena.release(to: mark) }
        let tiles = try arena.floats(threads * tileRows * w.columns)
        ThreadPool.shared.run(threads: threads) { worker in
            let tile = tiles + worker.index * tileRows * w.columns
            for rows in Blocks(worker.range(of: w.rows), most: tileRows, unit: 1) {
                w.widen(rows, to: tile)
                OpenBLAS.gemm(
                    y.at(0, rows.lowerBound), ldc: y.stride, x.base, lda: x.stride, tile, ldb: w.columns,
                    transposeB: true,
                    m: y.rows, n: rows.count, k: w.columns, beta: accumulate ? 1 : 0)
            }
        }
    }

    static func inputGradient(
        _ dx: Matrix, _ dy: ConstMatrix<Float>, _ w: ConstMatrix<UInt16>, _ accumulate: Bool,
        _ arena: Arena, _ threads: Int
    ) throws(QwenSFTError) {
        let mark = arena.mark
        defer { arena.release(to: mark) }
        let tiles = try arena.floats(threads * tileRows * w.columns)
        ThreadPool.shared.run(threads: threads) { worker in
            let tile = tiles + worker.index * tileRows * w.columns
            let own = worker.range(of: w.columns)
            for rows in Blocks(0..<w.rows, most: tileRows, unit: 1) {
                for row in rows {
                    let part = tile + (row - rows.lowerBound) * own.count
                    qk_f32_from_bf16_run(part, w.at(row, own.lowerBound), own.count)
                }
                OpenBLAS.gemm(
                    dx.at(0, own.lowerBound), ldc: dx.stride, dy.at(0, rows.lowerBound), lda: dy.stride, tile,
                    ldb: own.count,
                    m: dx.rows, n: own.count, k: rows.count, beta: accumulate || rows.lowerBound > 0 ? 1 : 0)
            }
        }
    }

    static func weightGradient(
        _ target: qk_gradient, _ dy: ConstMatrix<Float>, _ x: ConstMatrix<Float>, _ arena: Arena, _ threads: Int
    ) throws(QwenSFTError) {
        let mark = arena.mark
        defer { arena.release(to: mark) }
        let tiles = try arena.floats(threads * tileRows * roundUp(x.columns, 32))
        ThreadPool.shared.run(threads: threads) { worker in
            let columns = roundUp(x.columns, 32)  // the storing loop reads whole vectors
            let tile = tiles + worker.index * tileRows * columns
            for rows in Blocks(worker.range(of: dy.columns), most: tileRows, unit: 1) {
                OpenBLAS.gemm(
                    tile, ldc: columns, dy.at(0, rows.lowerBound), lda: dy.stride, transposeA: true, x.base,
                    ldb: x.stride,
                    m: rows.count, n: x.columns, k: x.rows)
                withUnsafePointer(to: target) {
                    qk_store_gradient($0, rows.lowerBound, 0, tile, columns, rows.count, x.columns)
                }
            }
        }
    }
}
