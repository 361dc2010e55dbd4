import CKernels

/// A bfloat16 weight in 12 bits, without loss (packed_bf16.h says how). For inference.
///
/// The memory belongs to the caller: `rows · stride` bytes, the table of upper bytes, and the exceptions of all rows with
/// where each row's begin.
package struct PackedMatrix {
    package let bytes: UnsafeMutablePointer<UInt8>
    package let uppers: UnsafePointer<UInt8>
    package let starts: UnsafePointer<UInt32>
    package let exceptions: UnsafePointer<qk_exception>
    package let rows: Int, columns: Int

    package init(
        bytes: UnsafeMutablePointer<UInt8>, uppers: UnsafePointer<UInt8>, starts: UnsafePointer<UInt32>,
        exceptions: UnsafePointer<qk_exception>, rows: Int, columns: Int
    ) {
        (self.bytes, self.uppers, self.starts, self.exceptions) = (bytes, uppers, starts, exceptions)
        (self.rows, self.columns) = (rows, columns)
    }

    /// Bytes of a row.
    package var stride: Int { Self.stride(columns: columns) }
    /// Columns with those that fill the last block.
    package var filledColumns: Int { roundUp(columns, QK_PACKED_BLOCK) }

    package static func stride(columns: Int) -> Int {
        roundUp(columns, QK_PACKED_BLOCK) / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES
    }

    func slice(_ range: Range<Int>) -> PackedMatrix {
        PackedMatrix(
            bytes: bytes + range.lowerBound * stride, uppers: uppers, starts: starts + range.lowerBound,
            exceptions: exceptions, rows: range.count, columns: columns)
    }

    /// One row as bfloat16, filled up to `filled` columns with zeros.
    package func unpack(row: Int, to out: UnsafeMutablePointer<UInt16>, filled: Int) {
        qk_unpack_bf16(out, bytes + row * stride, uppers, columns, filled)
        for index in starts[row]..<starts[row + 1] {
            let exception = exceptions[Int(index)]
            out[Int(exception.column)] = exception.value
        }
    }

    /// y[range] = or += W[range] · x; `y` is where output 0 would be, `x` is rounded and filled up to `filledColumns`.
    func multiply(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<UInt16>, _ range: Range<Int>, accumulate: Bool
    ) {
        qk_gemv_packed_bf16(
            y + range.lowerBound, bytes + range.lowerBound * stride, uppers, starts + range.lowerBound, exceptions, x,
            range.count, filledColumns, accumulate ? 1 : 0)
    }
}

/// The codes of a packed matrix: the upper bytes that its weights have most often.
package struct PackingTable {
    /// By code; code 0 is the byte 0.
    package private(set) var uppers = [UInt8](repeating: 0, count: 16)
    /// By upper byte; 0 where it has none.
    package private(set) var codes = [UInt8](repeating: 0, count: 256)

    /// - Parameter counts: how often each upper byte was seen.
    package init(counts: [Int]) {
        let frequent = (1..<256).filter { counts[$0] > 0 }.sorted { (counts[$0], $1) > (counts[$1], $0) }
        for (index, upper) in frequent.prefix(15).enumerated() {
            uppers[index + 1] = UInt8(upper)
            codes[upper] = UInt8(index + 1)
        }
    }
}

/// The forms of a weight that only answers.
package enum CompressedWeight {
    case quantized(QuantizedMatrix)
    case packed(PackedMatrix)

    func slice(_ range: Range<Int>) -> CompressedWeight {
        switch self {
        case .quantized(let matrix): .quantized(matrix.slice(range))
        case .packed(let matrix): .packed(matrix.slice(range))
        }
    }

    /// Y = X · Wᵀ for any number of rows. A single row of X, quantized a few of them, is multiplied at the speed of memory;
    /// for more W becomes bfloat16 block by block on its way into the product.
    package func forward(
        _ y: UnsafeMutablePointer<Float>, yStride: Int, _ x: UnsafePointer<Float>, xStride: Int, rows m: Int,
        accumulate: Bool = false, arena: Arena, threads: Int = ThreadPool.shared.threads
    ) throws(QwenSFTError) {
        let stored: StoredWeight
        switch self {
        case .quantized(let matrix):
            guard m > MatrixVector.mostRows else {
                return try MatrixVector.forward(
                    y, yStride: yStride, x, xStride: xStride, matrix, rows: m, accumulate: accumulate, arena: arena,
                    threads: threads)
            }
            stored = .quantized(matrix)
        case .packed(let matrix):
            guard m > 1 else {
                return try MatrixVector.forward(y, x, matrix, accumulate: accumulate, arena: arena, threads: threads)
            }
            stored = .packed(matrix)
        }
        let product = BFloat16GEMM.Algorithm.fastest == .blocks ? BFloat16Blocks.forward : BFloat16Panels.forward
        try product(
            Matrix(y, m, stored.rows, yStride), ConstMatrix(x, m, stored.columns, xStride), stored, accumulate, arena,
            threads)
    }
}
