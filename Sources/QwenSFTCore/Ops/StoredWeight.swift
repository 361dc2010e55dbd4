import CKernels

/// The weight of a forward product, in one of the forms it may be stored in.
enum StoredWeight {
    case bfloat16(ConstMatrix<UInt16>)
    case quantized(QuantizedMatrix)
    case packed(PackedMatrix)

    var rows: Int {
        switch self {
        case .bfloat16(let w): w.rows
        case .quantized(let w): w.rows
        case .packed(let w): w.rows
        }
    }

    var columns: Int {
        switch self {
        case .bfloat16(let w): w.columns
        case .quantized(let w): w.columns
        case .packed(let w): w.columns
        }
    }

    /// Copies rows as bfloat16, each filled up to `filled` columns with zeros.
    func copy(_ range: Range<Int>, to out: UnsafeMutablePointer<UInt16>, filled: Int) {
        switch self {
        case .bfloat16(let w):
            qk_pad_rows(out, filled, w.at(range.lowerBound, 0), w.stride, range.count, w.columns)
        case .quantized(let w):
            for row in range { w.round(row: row, to: out + (row - range.lowerBound) * filled, filled: filled) }
        case .packed(let w):
            for row in range { w.unpack(row: row, to: out + (row - range.lowerBound) * filled, filled: filled) }
        }
    }

    /// Copies rows as float32.
    func widen(_ range: Range<Int>, to out: UnsafeMutablePointer<Float>) {
        for row in range {
            let out = out + (row - range.lowerBound) * columns
            switch self {
            case .bfloat16(let w):
                qk_f32_from_bf16_run(out, w.at(row, 0), w.columns)
            case .quantized(let w):
                w.widen(row: row, to: out)
            case .packed(let w):
                withUnsafeTemporaryAllocation(of: UInt16.self, capacity: w.columns) { narrow in
                    guard let narrow = narrow.baseAddress else { return }
                    w.unpack(row: row, to: narrow, filled: w.columns)
                    qk_f32_from_bf16_run(out, narrow, w.columns)
                }
            }
        }
    }
}
