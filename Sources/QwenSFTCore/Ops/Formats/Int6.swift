import CKernels

/// Fields of 6 bits, and a bfloat16 scale for every 64 neighbors of a row.
package enum Int6Form: QuantizedForm {
    package static var scaleBlock: Int { QK_QUANT_BLOCK }
    package static var bytesPer64: Int { QK_INT6_BYTES }
    package static func weight(_ weight: QuantizedWeight<Self>) -> Weight { .int6(weight) }

    package static func quantize(_ row: QuantizedRow<UInt16>, _ x: UnsafePointer<Float>, count: Int) {
        qk_quantize_int6(row.values, row.scales, x, count)
    }

    package static func widen(_ row: QuantizedRow<UInt16>, to out: UnsafeMutablePointer<Float>, count: Int) {
        qk_f32_from_int6(out, row.values, row.scales, count)
    }

    package static func round(
        _ row: QuantizedRow<UInt16>, to out: UnsafeMutablePointer<UInt16>, count: Int, padded: Int
    ) {
        qk_bf16_from_int6(out, row.values, row.scales, count, padded)
    }

    package static func pairs(_ row: QuantizedRow<UInt16>, to out: UnsafeMutablePointer<UInt32>, count: Int) {
        qk_i16_from_int6(out, row.values, row.scales, count)
    }

    package static func multiply(
        _ y: MutableMatrix<Float>, _ w: QuantizedWeight<Self>, _ x: Int16Rows, accumulate: Bool
    ) {
        qk_gemv_int6(
            y.base, y.stride, w.values, w.scales, x.values, x.scales, x.stride, x.rows, w.rows, w.paddedColumns,
            accumulate ? 1 : 0)
    }
}
