import CKernels

/// Y = X · Wᵀ for a few rows of X, as in decoding: W is read once, in its order, at the speed of memory.
///
/// Shapes: X (rows, inputs), Y (rows, outputs), W (outputs, inputs); X and Y are float32, their rows `…Stride` elements apart.
/// Every worker rounds X for itself; that is less work than a barrier.
package enum MatrixVector {
    /// Up to as many rows this is faster than the products that work in blocks.
    package static let mostRows = 8

    /// With a bfloat16 weight. X is rounded to bfloat16 where the processor multiplies that, as in `BFloat16GEMM`.
    package static func forward(
        _ y: UnsafeMutablePointer<Float>, yStride: Int, _ x: UnsafePointer<Float>, xStride: Int,
        _ w: UnsafePointer<UInt16>,
        rows: Int, outputs: Int, inputs: Int, accumulate: Bool = false,
        arena: Arena, threads: Int = ThreadPool.shared.threads
    ) throws(QwenSFTError) {
        let mark = arena.mark
        defer { arena.release(to: mark) }
        let isNative = qk_isa() >= QK_ISA_AVX512_BF16
        let stride = roundUp(inputs, 32)
        let rounded = try arena.allocate(UInt16.self, isNative ? threads * rows * stride : 1)
        ThreadPool.shared.run(threads: threads) { worker in
            let own = worker.range(of: outputs, unit: 16)
            guard !own.isEmpty else { return }
            let y = y + own.lowerBound
            let w = w + own.lowerBound * inputs
            guard isNative else {
                return qk_gemv_bf16(y, yStride, w, x, xStride, rows, own.count, inputs, accumulate ? 1 : 0)
            }
            let rounded = rounded + worker.index * rows * stride
            qk_round_rows(rounded, stride, x, xStride, rows, inputs, stride)
            qk_gemv_bf16_bf16(y, yStride, w, rounded, stride, rows, own.count, inputs, accumulate ? 1 : 0)
        }
    }

    /// With a float32 weight.
    package static func forward(
        _ y: UnsafeMutablePointer<Float>, yStride: Int, _ x: UnsafePointer<Float>, xStride: Int,
        _ w: UnsafePointer<Float>,
        rows: Int, outputs: Int, inputs: Int, accumulate: Bool = false, threads: Int = ThreadPool.shared.threads
    ) {
        ThreadPool.shared.run(threads: threads) { worker in
            let own = worker.range(of: outputs, unit: 16)
            qk_gemv_f32(
                y + own.lowerBound, yStride, w + own.lowerBound * inputs, x, xStride, rows, own.count, inputs,
                accumulate ? 1 : 0)
        }
    }

    /// With an int8 weight. X becomes int16 with a scale for every 64 columns, an error of 2⁻¹⁶ of the largest of them.
    package static func forward(
        _ y: UnsafeMutablePointer<Float>, yStride: Int, _ x: UnsafePointer<Float>, xStride: Int, _ w: Int8Matrix,
        rows: Int, accumulate: Bool = false, arena: Arena, threads: Int = ThreadPool.shared.threads
    ) throws(QwenSFTError) {
        let mark = arena.mark
        defer { arena.release(to: mark) }
        let stride = w.stride
        let quantized = try arena.allocate(Int16.self, threads * rows * stride)
        let scales = try arena.floats(threads * rows * w.blocks)
        ThreadPool.shared.run(threads: threads) { worker in
            let own = worker.range(of: w.rows, unit: 16)
            guard !own.isEmpty else { return }
            let quantized = quantized + worker.index * rows * stride
            let scales = scales + worker.index * rows * w.blocks
            for row in 0..<rows {
                qk_quantize_int16(quantized + row * stride, scales + row * w.blocks, x + row * xStride, w.columns)
            }
            qk_gemv_int8(
                y + own.lowerBound, yStride, w.values + own.lowerBound * stride, w.scales + own.lowerBound * w.blocks,
                quantized, scales, stride, rows, own.count, stride, accumulate ? 1 : 0)
        }
    }

    /// One row with a packed weight; x is rounded to bfloat16.
    package static func forward(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ w: PackedMatrix,
        accumulate: Bool = false, arena: Arena, threads: Int = ThreadPool.shared.threads
    ) throws(QwenSFTError) {
        let mark = arena.mark
        defer { arena.release(to: mark) }
        let filled = w.filledColumns
        let rounded = try arena.allocate(UInt16.self, threads * filled)
        ThreadPool.shared.run(threads: threads) { worker in
            let own = worker.range(of: w.rows, unit: 16)
            guard !own.isEmpty else { return }
            let rounded = rounded + worker.index * filled
            qk_round_rows(rounded, filled, x, w.columns, 1, w.columns, filled)
            w.multiply(y, rounded, own, accumulate: accumulate)
        }
    }
}

/// A weight in 8 bits: every 64 neighbours of a row share a float32 scale, value = scale · integer. For inference.
///
/// The memory belongs to the caller: `rows · stride` bytes of integers and `rows · blocks` scales.
package struct Int8Matrix {
    package let values: UnsafeMutablePointer<Int8>
    package let scales: UnsafeMutablePointer<Float>
    package let rows: Int, columns: Int

    package init(values: UnsafeMutablePointer<Int8>, scales: UnsafeMutablePointer<Float>, rows: Int, columns: Int) {
        (self.values, self.scales, self.rows, self.columns) = (values, scales, rows, columns)
    }

    /// Scales in a row.
    package var blocks: Int { Self.blocks(columns: columns) }
    /// Integers in a row; those behind the last column are 0.
    package var stride: Int { blocks * QK_INT8_BLOCK }

    /// Columns that share a scale.
    package static let blockColumns = QK_INT8_BLOCK

    package static func blocks(columns: Int) -> Int { (columns + QK_INT8_BLOCK - 1) / QK_INT8_BLOCK }

    /// Fills the rows in `range` from float32 rows, the first of them at `source`.
    package func quantize(_ source: UnsafePointer<Float>, rows range: Range<Int>) {
        for row in range {
            qk_quantize_int8(
                values + row * stride, scales + row * blocks, source + (row - range.lowerBound) * columns, columns)
        }
    }
}

/// The weight of a forward product, in one of the forms it may be stored in.
enum StoredWeight {
    case bfloat16(ConstMatrix<UInt16>)
    case int8(Int8Matrix)
    case packed(PackedMatrix)

    var rows: Int {
        switch self {
        case .bfloat16(let w): w.rows
        case .int8(let w): w.rows
        case .packed(let w): w.rows
        }
    }

    var columns: Int {
        switch self {
        case .bfloat16(let w): w.columns
        case .int8(let w): w.columns
        case .packed(let w): w.columns
        }
    }

    /// Copies rows as bfloat16, each filled up to `filled` columns with zeros.
    func copy(_ range: Range<Int>, to out: UnsafeMutablePointer<UInt16>, filled: Int) {
        switch self {
        case .bfloat16(let w):
            qk_pad_rows(out, filled, w.at(range.lowerBound, 0), w.stride, range.count, w.columns)
        case .int8(let w):
            for row in range {
                qk_bf16_from_int8(
                    out + (row - range.lowerBound) * filled, w.values + row * w.stride, w.scales + row * w.blocks,
                    w.columns,
                    filled)
            }
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
            case .int8(let w):
                let values = w.values + row * w.stride
                let scales = w.scales + row * w.blocks
                for column in 0..<w.columns { out[column] = Float(values[column]) * scales[column / QK_INT8_BLOCK] }
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
