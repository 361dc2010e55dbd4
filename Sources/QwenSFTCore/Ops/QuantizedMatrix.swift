import CKernels

/// A weight in 8 or 6 bits: every 64 neighbours of a row share a scale, value = scale · integer. For inference.
///
/// The memory belongs to the caller: `rows · stride` bytes of integers and `rows · blocks` scales.
package struct QuantizedMatrix {
    /// How integers and scales are kept.
    package enum Form: Sendable {
        /// Bytes, and float32 scales.
        case int8
        /// Fields of 6 bits, and bfloat16 scales.
        case int6

        var scaleBytes: Int { self == .int8 ? 4 : 2 }

        /// Bytes of the integers of a row; those behind the last column are 0.
        package func stride(columns: Int) -> Int {
            QuantizedMatrix.blocks(columns: columns) * (self == .int8 ? QK_QUANT_BLOCK : QK_INT6_BYTES)
        }
    }

    package let form: Form
    package let values: UnsafeMutableRawPointer
    package let scales: UnsafeMutableRawPointer
    package let rows: Int, columns: Int

    package init(
        _ form: Form, values: UnsafeMutableRawPointer, scales: UnsafeMutableRawPointer, rows: Int, columns: Int
    ) {
        (self.form, self.values, self.scales, self.rows, self.columns) = (form, values, scales, rows, columns)
    }

    /// Scales in a row.
    package var blocks: Int { Self.blocks(columns: columns) }
    /// Columns with those that fill the last block.
    package var filledColumns: Int { blocks * QK_QUANT_BLOCK }
    /// Bytes of the integers of a row.
    package var stride: Int { form.stride(columns: columns) }

    package static func blocks(columns: Int) -> Int { (columns + QK_QUANT_BLOCK - 1) / QK_QUANT_BLOCK }

    func slice(_ range: Range<Int>) -> QuantizedMatrix {
        QuantizedMatrix(
            form, values: values + range.lowerBound * stride,
            scales: scales + range.lowerBound * blocks * form.scaleBytes, rows: range.count, columns: columns)
    }

    private func int8s(_ row: Int) -> UnsafeMutablePointer<Int8> {
        (values + row * stride).assumingMemoryBound(to: Int8.self)
    }
    private func int6s(_ row: Int) -> UnsafeMutablePointer<UInt8> {
        (values + row * stride).assumingMemoryBound(to: UInt8.self)
    }
    private func scales<T>(_ row: Int, _: T.Type) -> UnsafeMutablePointer<T> {
        scales.assumingMemoryBound(to: T.self) + row * blocks
    }

    /// Fills the rows in `range` from float32 rows, the first of them at `source`.
    package func quantize(_ source: UnsafePointer<Float>, rows range: Range<Int>) {
        for row in range {
            let source = source + (row - range.lowerBound) * columns
            switch form {
            case .int8: qk_quantize_int8(int8s(row), scales(row, Float.self), source, columns)
            case .int6: qk_quantize_int6(int6s(row), scales(row, UInt16.self), source, columns)
            }
        }
    }

    /// One row as bfloat16, filled up to `filled` columns with zeros.
    func round(row: Int, to out: UnsafeMutablePointer<UInt16>, filled: Int) {
        switch form {
        case .int8: qk_bf16_from_int8(out, int8s(row), scales(row, Float.self), columns, filled)
        case .int6: qk_bf16_from_int6(out, int6s(row), scales(row, UInt16.self), columns, filled)
        }
    }

    /// One row as float32, exactly.
    package func widen(row: Int, to out: UnsafeMutablePointer<Float>) {
        switch form {
        case .int8:
            let (values, scales) = (int8s(row), scales(row, Float.self))
            for column in 0..<columns { out[column] = Float(values[column]) * scales[column / QK_QUANT_BLOCK] }
        case .int6: qk_f32_from_int6(out, int6s(row), scales(row, UInt16.self), columns)
        }
    }

    /// Y[…, range] = or += X · W[range]ᵀ; `y` is where output 0 would be, X is in int16 with `filledColumns` a row.
    func multiply(
        _ y: UnsafeMutablePointer<Float>, _ yStride: Int, _ x: UnsafePointer<Int16>, _ xScales: UnsafePointer<Float>,
        rows m: Int, _ range: Range<Int>, accumulate: Bool
    ) {
        let (y, first, add) = (y + range.lowerBound, range.lowerBound, Int32(accumulate ? 1 : 0))
        switch form {
        case .int8:
            qk_gemv_int8(
                y, yStride, int8s(first), scales(first, Float.self), x, xScales, filledColumns, m, range.count,
                filledColumns, add)
        case .int6:
            qk_gemv_int6(
                y, yStride, int6s(first), scales(first, UInt16.self), x, xScales, filledColumns, m, range.count,
                filledColumns, add)
        }
    }
}
