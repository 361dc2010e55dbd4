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

    /// With a quantized weight. X becomes int16 with a scale for every 64 columns, an error of 2⁻¹⁶ of the largest of them.
    package static func forward(
        _ y: UnsafeMutablePointer<Float>, yStride: Int, _ x: UnsafePointer<Float>, xStride: Int, _ w: QuantizedMatrix,
        rows: Int, accumulate: Bool = false, arena: Arena, threads: Int = ThreadPool.shared.threads
    ) throws(QwenSFTError) {
        let mark = arena.mark
        defer { arena.release(to: mark) }
        let quantized = try arena.allocate(Int16.self, threads * rows * w.filledColumns)
        let scales = try arena.floats(threads * rows * w.blocks)
        ThreadPool.shared.run(threads: threads) { worker in
            let own = worker.range(of: w.rows, unit: 16)
            guard !own.isEmpty else { return }
            let quantized = quantized + worker.index * rows * w.filledColumns
            let scales = scales + worker.index * rows * w.blocks
            for row in 0..<rows {
                qk_quantize_int16(
                    quantized + row * w.filledColumns, scales + row * w.blocks, x + row * xStride, w.columns)
            }
            w.multiply(y, yStride, quantized, scales, rows: rows, own, accumulate: accumulate)
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
