import CKernels

/// Bfloat16 elements without gaps.
package struct BFloat16Weight: WeightFormat {
    package let matrix: MutableMatrix<UInt16>
    /// Index of the first element in the storage it is part of.
    package let offset: Int

    package init(_ matrix: MutableMatrix<UInt16>, offset: Int = 0) {
        self.matrix = matrix
        self.offset = offset
    }

    package var rows: Int { matrix.rows }
    package var columns: Int { matrix.columns }
    package var weight: Weight { .bfloat16(self) }
    package var bfloat16s: Matrix<UInt16>? { matrix.readOnly }

    package static var columnBlock: Int { 1 }

    package func place(_ rows: Range<Int>, _ columns: Range<Int>) -> MemoryPlace {
        matrix.readOnly.place(rows, columns)
    }

    package func slice(_ range: Range<Int>) -> BFloat16Weight {
        BFloat16Weight(matrix[rows: range], offset: offset + range.lowerBound * columns)
    }

    package func widen(_ rows: Range<Int>, _ columns: Range<Int>, to out: UnsafeMutablePointer<Float>) {
        for (index, row) in rows.enumerated() {
            qk_f32_from_bf16_run(out + index * columns.count, matrix.at(row, columns.lowerBound), columns.count)
        }
    }

    package func round(_ rows: Range<Int>, _ columns: Range<Int>, to out: UnsafeMutablePointer<UInt16>, padded: Int) {
        qk_pad_rows(
            out, padded, matrix.at(rows.lowerBound, columns.lowerBound), matrix.stride, rows.count, columns.count)
    }

    /// Whether the processor multiplies bfloat16; x is rounded to it then.
    private var isNative: Bool { Processor.multipliesBFloat16 }
    private var padded: Int { roundUp(columns, 32) }

    package func preparedBytes(rows: Int) -> Int { isNative ? rows * padded * 2 : 0 }

    package func prepare(_ x: PreparedRows) {
        guard isNative else { return }
        qk_round_rows(
            x.memory.assumingMemoryBound(to: UInt16.self), padded, x.x.base, x.x.stride, x.x.rows, columns, padded)
    }

    package func multiply(
        _ y: MutableMatrix<Float>, _ x: PreparedRows, _ outputs: Range<Int>, accumulate: Bool
    ) {
        let w = matrix.at(outputs.lowerBound)
        if isNative {
            qk_gemv_bf16_bf16(
                y.base, y.stride, w, x.memory.assumingMemoryBound(to: UInt16.self), padded, x.x.rows, outputs.count,
                columns, accumulate ? 1 : 0)
        } else {
            qk_gemv_bf16(
                y.base, y.stride, w, x.x.base, x.x.stride, x.x.rows, outputs.count, columns, accumulate ? 1 : 0)
        }
    }
}
