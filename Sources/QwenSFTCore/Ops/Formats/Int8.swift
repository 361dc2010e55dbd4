import CKernels

/// Bytes, and a float32 scale for every 64 neighbors of a row.
package enum Int8Form: QuantizedForm {
    package static var scaleBlock: Int { QK_QUANT_BLOCK }
    package static var bytesPer64: Int { QK_QUANT_BLOCK }
    package static func weight(_ weight: QuantizedWeight<Self>) -> Weight { .int8(weight) }

    private static func integers(_ values: UnsafeMutablePointer<UInt8>) -> UnsafeMutablePointer<Int8> {
        UnsafeMutableRawPointer(values).assumingMemoryBound(to: Int8.self)
    }

    package static func quantize(_ row: QuantizedRow<Float>, _ x: UnsafePointer<Float>, count: Int) {
        qk_quantize_int8(integers(row.values), row.scales, x, count)
    }

    package static func widen(_ row: QuantizedRow<Float>, to out: UnsafeMutablePointer<Float>, count: Int) {
        qk_f32_from_int8(out, integers(row.values), row.scales, count)
    }

    package static func round(
        _ row: QuantizedRow<Float>, to out: UnsafeMutablePointer<UInt16>, count: Int, padded: Int
    ) {
        qk_bf16_from_int8(out, integers(row.values), row.scales, count, padded)
    }

    package static func pairs(_ row: QuantizedRow<Float>, to out: UnsafeMutablePointer<UInt32>, count: Int) {
        qk_i16_from_int8(out, integers(row.values), row.scales, count)
    }

    package static func multiply(
        _ y: MutableMatrix<Float>, _ w: QuantizedWeight<Self>, _ x: Int16Rows, accumulate: Bool
    ) {
        qk_gemv_int8(
            y.base, y.stride, integers(w.values), w.scales, x.values, x.scales, x.stride, x.rows, w.rows,
            w.paddedColumns, accumulate ? 1 : 0)
    }
}
