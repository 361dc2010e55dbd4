import CKernels

/// Products of one row with weights inside of a piece of work: decoding a token is one piece, not hundreds.
///
/// The row is brought into the form that the weight's kernel multiplies with once, and then serves any range of outputs.
/// Each worker does so for itself: that is less work than a barrier.
struct RowProduct {
    private let rounded: UnsafeMutablePointer<UInt16>
    private let quantized: UnsafeMutablePointer<Int16>
    private let scales: UnsafeMutablePointer<Float>

    /// - Parameter columns: of the widest weight.
    init(columns: Int, _ arena: Arena) throws(QwenSFTError) {
        let filled = roundUp(columns, max(QK_QUANT_BLOCK, QK_PACKED_BLOCK))
        rounded = try arena.allocate(UInt16.self, filled)
        quantized = try arena.allocate(Int16.self, filled)
        scales = try arena.floats(filled / QK_QUANT_BLOCK)
    }

    /// Takes the row x (columns of `weight`); the following products are with it.
    func prepare(_ x: UnsafePointer<Float>, for weight: Weight) {
        if case .quantized = weight.compressed {
            qk_quantize_int16(quantized, scales, x, weight.columns)
        } else if case .packed(let packed) = weight.compressed {
            qk_round_rows(rounded, packed.filledColumns, x, weight.columns, 1, weight.columns, packed.filledColumns)
        } else if weight.dtype == .bfloat16, qk_isa() >= QK_ISA_AVX512_BF16 {
            let filled = roundUp(weight.columns, 32)
            qk_round_rows(rounded, filled, x, filled, 1, weight.columns, filled)
        }
    }

    /// y[range] = or += W[range] · x; `y` is where output 0 would be.
    func multiply(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ weight: Weight, _ range: Range<Int>,
        accumulate: Bool = false
    ) {
        guard !range.isEmpty else { return }
        let y = y + range.lowerBound
        let (n, k, add) = (range.count, weight.columns, Int32(accumulate ? 1 : 0))
        if case .quantized(let matrix) = weight.compressed {
            matrix.multiply(y - range.lowerBound, 0, quantized, scales, rows: 1, range, accumulate: accumulate)
        } else if case .packed(let packed) = weight.compressed {
            packed.multiply(y - range.lowerBound, rounded, range, accumulate: accumulate)
        } else if weight.dtype == .float32 {
            qk_gemv_f32(y, 0, weight.floats + range.lowerBound * k, x, k, 1, n, k, add)
        } else if qk_isa() >= QK_ISA_AVX512_BF16 {
            qk_gemv_bf16_bf16(y, 0, weight.bfloat16s + range.lowerBound * k, rounded, roundUp(k, 32), 1, n, k, add)
        } else {
            qk_gemv_bf16(y, 0, weight.bfloat16s + range.lowerBound * k, x, k, 1, n, k, add)
        }
    }
}
