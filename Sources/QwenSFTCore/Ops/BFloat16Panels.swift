import CKernels
import COpenBLAS

/// The products of `BFloat16GEMM` for processors without bfloat16 instructions: W is widened to float32 tile by tile, and
/// OpenBLAS multiplies each tile on the worker's own thread. Activations stay float32.
enum BFloat16Panels {
    /// Rows of W widened at once: enough for OpenBLAS to run at speed, few enough to stay in cache.
    private static let tileRows = 192

    static func forward(
        _ y: Matrix, _ x: ConstMatrix<Float>, _ w: ConstMatrix<UInt16>, _ accumulate: Bool,
        _ arena: Arena, _ threads: Int
    ) throws(QwenSFTError) {
        let mark = arena.mark
        defer { arena.release(to: mark) }
        let tiles = try arena.floats(threads * tileRows * w.columns)
        ThreadPool.shared.run(threads: threads) { worker in
            let tile = tiles + worker.index * tileRows * w.columns
            for rows in Blocks(worker.range(of: w.rows), most: tileRows, unit: 1) {
                widen(w, rows, 0..<w.columns, into: tile)
                multiply(
                    y.at(0, rows.lowerBound), y.stride, x.base, x.stride, CblasNoTrans, tile, w.columns, CblasTrans,
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
                widen(w, rows, own, into: tile)
                multiply(
                    dx.at(0, own.lowerBound), dx.stride, dy.at(0, rows.lowerBound), dy.stride, CblasNoTrans,
                    tile, own.count, CblasNoTrans, m: dx.rows, n: own.count, k: rows.count,
                    beta: accumulate || rows.lowerBound > 0 ? 1 : 0)
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
                multiply(
                    tile, columns, dy.at(0, rows.lowerBound), dy.stride, CblasTrans, x.base, x.stride, CblasNoTrans,
                    m: rows.count, n: x.columns, k: x.rows, beta: 0)
                withUnsafePointer(to: target) {
                    qk_store_gradient($0, rows.lowerBound, 0, tile, columns, rows.count, x.columns)
                }
            }
        }
    }

    private static func widen(
        _ w: ConstMatrix<UInt16>, _ rows: Range<Int>, _ columns: Range<Int>, into tile: UnsafeMutablePointer<Float>
    ) {
        for row in rows {
            qk_f32_from_bf16_run(
                tile + (row - rows.lowerBound) * columns.count, w.at(row, columns.lowerBound), columns.count)
        }
    }

    /// C[m, n] = a · b + beta · C; `a` and `b` as stored, transposed or not.
    private static func multiply(
        _ c: UnsafeMutablePointer<Float>, _ ldc: Int,
        _ a: UnsafePointer<Float>, _ lda: Int, _ transposeA: CBLAS_TRANSPOSE,
        _ b: UnsafePointer<Float>, _ ldb: Int, _ transposeB: CBLAS_TRANSPOSE,
        m: Int, n: Int, k: Int, beta: Float
    ) {
        guard m > 0, n > 0 else { return }
        cblas_sgemm(
            CblasRowMajor, transposeA, transposeB, blasint(m), blasint(n), blasint(k),
            1, a, blasint(max(lda, 1)), b, blasint(max(ldb, 1)), beta, c, blasint(ldc))
    }
}
