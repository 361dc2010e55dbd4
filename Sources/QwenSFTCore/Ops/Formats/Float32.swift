import CKernels

/// Float32 elements without gaps.
package struct Float32Weight: WeightFormat {
    package let matrix: MutableMatrix<Float>

    package init(_ matrix: MutableMatrix<Float>) { self.matrix = matrix }

    package var rows: Int { matrix.rows }
    package var columns: Int { matrix.columns }
    package var weight: Weight { .float32(self) }
    package var float32s: Matrix<Float>? { matrix.readOnly }

    package static var columnBlock: Int { 1 }

    package func place(_ rows: Range<Int>, _ columns: Range<Int>) -> MemoryPlace {
        matrix.readOnly.place(rows, columns)
    }

    package func slice(_ range: Range<Int>) -> Float32Weight { Float32Weight(matrix[rows: range]) }

    package func widen(_ rows: Range<Int>, _ columns: Range<Int>, to out: UnsafeMutablePointer<Float>) {
        for (index, row) in rows.enumerated() {
            (out + index * columns.count).update(from: matrix.at(row, columns.lowerBound), count: columns.count)
        }
    }

    package func round(_ rows: Range<Int>, _ columns: Range<Int>, to out: UnsafeMutablePointer<UInt16>, padded: Int) {
        qk_round_rows(
            out, padded, matrix.at(rows.lowerBound, columns.lowerBound), matrix.stride, rows.count, columns.count,
            padded)
    }

    package func preparedBytes(rows: Int) -> Int { 0 }
    package func prepare(_ x: PreparedRows) {}

    package func multiply(
        _ y: MutableMatrix<Float>, _ x: PreparedRows, _ outputs: Range<Int>, accumulate: Bool
    ) {
        qk_gemv_f32(
            y.base, y.stride, matrix.at(outputs.lowerBound), x.x.base, x.x.stride, x.x.rows, outputs.count, columns,
            accumulate ? 1 : 0)
    }

    // Nothing is to be widened, so OpenBLAS is as fast for many rows.

    package func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        if FewRowsGEMM.serves(rows: x.rows) {
            return try FewRowsGEMM.forward(y, x, matrix.readOnly, accumulate: accumulate, compute: compute)
        }
        if Float32Panels.servesFloat32(rows: x.rows) {
            return try Float32Panels.forward(y, x, self, accumulate: accumulate, compute: compute)
        }
        compute.run { worker in
            let mine = worker.range(of: rows, unit: 16)
            OpenBLAS.gemm(
                y[columns: mine], x, matrix.readOnly[rows: mine], transposeB: true, beta: accumulate ? 1 : 0)
        }
    }

    package func inputGradient(
        _ dx: MutableMatrix<Float>, _ dy: Matrix<Float>, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        if FewRowsGEMM.serves(rows: dy.rows) {
            return FewRowsGEMM.inputGradient(dx, dy, matrix.readOnly, accumulate: accumulate, compute: compute)
        }
        if Float32Panels.servesFloat32(rows: dy.rows) {
            return try Float32Panels.inputGradient(dx, dy, self, accumulate: accumulate, compute: compute)
        }
        compute.run { worker in
            let mine = worker.range(of: columns, unit: 16)
            OpenBLAS.gemm(dx[columns: mine], dy, matrix.readOnly[columns: mine], beta: accumulate ? 1 : 0)
        }
    }
}
