import CKernels

/// A bfloat16 weight in 12 bits, without loss (packed_bf16.h says how). Its values are not trained.
///
/// The memory belongs to the caller: `rows · stride` bytes, the table of upper bytes, and the exceptions of all rows with
/// where each row's begin.
package struct LosslessWeight: WeightFormat {
    package let bytes: UnsafeMutablePointer<UInt8>
    package let uppers: UnsafePointer<UInt8>
    package let starts: UnsafePointer<UInt32>
    package let exceptions: UnsafePointer<qk_exception>
    package let rows: Int
    package let columns: Int

    package init(
        bytes: UnsafeMutablePointer<UInt8>, uppers: UnsafePointer<UInt8>, starts: UnsafePointer<UInt32>,
        exceptions: UnsafePointer<qk_exception>, rows: Int, columns: Int
    ) {
        (self.bytes, self.uppers, self.starts, self.exceptions) = (bytes, uppers, starts, exceptions)
        (self.rows, self.columns) = (rows, columns)
    }

    package var weight: Weight { .lossless(self) }
    package static var columnBlock: Int { QK_PACKED_BLOCK }
    /// More are faster in blocks: a row of W would be unpacked for each of them.
    package static var mostRows: Int { 1 }

    /// Bytes of a row.
    package var stride: Int { Self.stride(columns: columns) }
    /// Columns with those that fill the last block.
    private var paddedColumns: Int { roundUp(columns, QK_PACKED_BLOCK) }

    package static func stride(columns: Int) -> Int {
        roundUp(columns, QK_PACKED_BLOCK) / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES
    }

    package func slice(_ range: Range<Int>) -> LosslessWeight {
        LosslessWeight(
            bytes: bytes + range.lowerBound * stride, uppers: uppers, starts: starts + range.lowerBound,
            exceptions: exceptions, rows: range.count, columns: columns)
    }

    package func place(_ rows: Range<Int>, _ columns: Range<Int>) -> MemoryPlace {
        MemoryPlace(
            bytes + rows.lowerBound * stride + columns.lowerBound / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES,
            rows: rows.count, stride: stride, bytes: Self.stride(columns: columns.count))
    }

    package func round(_ rows: Range<Int>, _ columns: Range<Int>, to out: UnsafeMutablePointer<UInt16>, padded: Int) {
        for (index, row) in rows.enumerated() {
            let out = out + index * padded
            let from = bytes + row * stride + columns.lowerBound / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES
            qk_unpack_bf16(out, from, uppers, columns.count, padded)
            for place in starts[row]..<starts[row + 1] {
                let exception = exceptions[Int(place)]
                if columns.contains(Int(exception.column)) {
                    out[Int(exception.column) - columns.lowerBound] = exception.value
                }
            }
        }
    }

    package func widen(_ rows: Range<Int>, _ columns: Range<Int>, to out: UnsafeMutablePointer<Float>) {
        withUnsafeTemporaryAllocation(of: UInt16.self, capacity: columns.count) { narrow in
            guard let narrow = narrow.baseAddress else { return }
            for (index, row) in rows.enumerated() {
                round(row..<row + 1, columns, to: narrow, padded: columns.count)
                qk_f32_from_bf16_run(out + index * columns.count, narrow, columns.count)
            }
        }
    }

    package func preparedBytes(rows: Int) -> Int { rows * paddedColumns * 2 }

    package func prepare(_ x: PreparedRows) {
        qk_round_rows(
            x.memory.assumingMemoryBound(to: UInt16.self), paddedColumns, x.x.base, x.x.stride, x.x.rows, columns,
            paddedColumns)
    }

    package func multiply(
        _ y: MutableMatrix<Float>, _ x: PreparedRows, _ outputs: Range<Int>, accumulate: Bool
    ) {
        let rounded = x.memory.assumingMemoryBound(to: UInt16.self)
        for row in 0..<x.x.rows {
            qk_gemv_packed_bf16(
                y.at(row), bytes + outputs.lowerBound * stride, uppers, starts + outputs.lowerBound, exceptions,
                rounded + row * paddedColumns, outputs.count, paddedColumns, accumulate ? 1 : 0)
        }
    }
}

/// The codes of a matrix: the upper bytes that its weights have most often.
package struct UpperByteCodes {
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
