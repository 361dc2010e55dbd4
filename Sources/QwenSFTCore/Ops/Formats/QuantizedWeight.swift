import CKernels

/// What distinguishes the formats that keep integers of few bits and a scale for some neighbors of a row.
package protocol QuantizedForm {
    associatedtype Scale: BitwiseCopyable
    /// Columns that share a scale; a divisor of 64.
    static var scaleBlock: Int { get }
    /// Bytes of 64 integers.
    static var bytesPer64: Int { get }
    static func weight(_ weight: QuantizedWeight<Self>) -> Weight

    /// One row in this form from `count` numbers; the least squared error decides where there is a choice.
    static func quantize(_ row: QuantizedRow<Scale>, _ x: UnsafePointer<Float>, count: Int)
    /// `count` numbers of a row, exactly.
    static func widen(_ row: QuantizedRow<Scale>, to out: UnsafeMutablePointer<Float>, count: Int)
    /// The same rounded to bfloat16, padded with zeros.
    static func round(_ row: QuantizedRow<Scale>, to out: UnsafeMutablePointer<UInt16>, count: Int, padded: Int)
    /// The integers in pairs, each group with its scale behind it: see gemm_i16.h. `count` is a multiple of 64.
    static func pairs(_ row: QuantizedRow<Scale>, to out: UnsafeMutablePointer<UInt32>, count: Int)
    /// y (x.rows, w.rows) = or += x · wᵀ.
    static func multiply(
        _ y: MutableMatrix<Float>, _ w: QuantizedWeight<Self>, _ x: Int16Rows, accumulate: Bool)
}

/// Where a row's integers and scales stand, from some column on.
package struct QuantizedRow<Scale: BitwiseCopyable> {
    package let values: UnsafeMutablePointer<UInt8>
    package let scales: UnsafeMutablePointer<Scale>
}

/// A weight in few bits, value = scale · integer, rows padded to 64 columns with zeros. Its values are not trained.
package struct QuantizedWeight<Form: QuantizedForm>: WeightFormat {
    package let values: UnsafeMutablePointer<UInt8>
    package let scales: UnsafeMutablePointer<Form.Scale>
    package let rows: Int
    package let columns: Int

    package init(
        values: UnsafeMutableRawPointer, scales: UnsafeMutableRawPointer, rows: Int, columns: Int
    ) {
        self.values = values.assumingMemoryBound(to: UInt8.self)
        self.scales = scales.assumingMemoryBound(to: Form.Scale.self)
        (self.rows, self.columns) = (rows, columns)
    }

    package var weight: Weight { Form.weight(self) }
    package static var columnBlock: Int { QK_QUANT_BLOCK }

    /// Columns with those that fill the last block.
    package var paddedColumns: Int { roundUp(columns, QK_QUANT_BLOCK) }
    /// Bytes of a row's integers.
    package static func valueBytes(columns: Int) -> Int {
        roundUp(columns, QK_QUANT_BLOCK) / QK_QUANT_BLOCK * Form.bytesPer64
    }
    /// Scales of a row.
    package static func scaleCount(columns: Int) -> Int { roundUp(columns, QK_QUANT_BLOCK) / Form.scaleBlock }

    /// A row from a column on, which is a multiple of `columnBlock`.
    package func at(_ row: Int, _ column: Int = 0) -> QuantizedRow<Form.Scale> {
        QuantizedRow(
            values: values + row * Self.valueBytes(columns: columns) + column / QK_QUANT_BLOCK * Form.bytesPer64,
            scales: scales + row * Self.scaleCount(columns: columns) + column / Form.scaleBlock)
    }

    /// Of the integers; scales are few.
    package func place(_ rows: Range<Int>, _ columns: Range<Int>) -> MemoryPlace {
        MemoryPlace(
            at(rows.lowerBound, columns.lowerBound).values, rows: rows.count,
            stride: Self.valueBytes(columns: self.columns), bytes: Self.valueBytes(columns: columns.count))
    }

    package func slice(_ range: Range<Int>) -> QuantizedWeight {
        let first = at(range.lowerBound)
        return QuantizedWeight(values: first.values, scales: first.scales, rows: range.count, columns: columns)
    }

    /// Fills `rows` from float32 rows, the first of them at `source`.
    package func quantize(_ source: UnsafePointer<Float>, rows: Range<Int>) {
        for (index, row) in rows.enumerated() { Form.quantize(at(row), source + index * columns, count: columns) }
    }

    package func widen(_ rows: Range<Int>, _ columns: Range<Int>, to out: UnsafeMutablePointer<Float>) {
        for (index, row) in rows.enumerated() {
            Form.widen(at(row, columns.lowerBound), to: out + index * columns.count, count: columns.count)
        }
    }

    package func round(_ rows: Range<Int>, _ columns: Range<Int>, to out: UnsafeMutablePointer<UInt16>, padded: Int) {
        for (index, row) in rows.enumerated() {
            Form.round(at(row, columns.lowerBound), to: out + index * padded, count: columns.count, padded: padded)
        }
    }

    package func preparedBytes(rows: Int) -> Int { Int16Rows.byteCount(rows: rows, columns: columns) }
    package func prepare(_ x: PreparedRows) { Int16Rows(x).fill(from: x.x) }

    package func multiply(
        _ y: MutableMatrix<Float>, _ x: PreparedRows, _ outputs: Range<Int>, accumulate: Bool
    ) {
        Form.multiply(y, slice(outputs), Int16Rows(x), accumulate: accumulate)
    }

    package func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        if Processor.prefersIntegers {
            try PanelProduct.forward(y, x, IntegerPanels(w: self), accumulate: accumulate, compute: compute)
        } else {
            try BFloat16GEMM.forward(y, x, self, accumulate: accumulate, compute: compute)
        }
    }
}

/// Rows of x as 16-bit integers with a scale for every 64 columns, an error of 2⁻¹⁶ of the largest of them: the product with
/// a block of integers is exact.
package struct Int16Rows {
    package let rows: Int
    /// Columns, padded with zeros to a multiple of 64.
    package let stride: Int
    package let values: UnsafeMutablePointer<Int16>
    package let scales: UnsafeMutablePointer<Float>

    init(_ x: PreparedRows) {
        rows = x.x.rows
        stride = roundUp(x.x.columns, QK_QUANT_BLOCK)
        values = x.memory.assumingMemoryBound(to: Int16.self)
        scales = (x.memory + rows * stride * 2).assumingMemoryBound(to: Float.self)
    }

    static func byteCount(rows: Int, columns: Int) -> Int {
        let stride = roundUp(columns, QK_QUANT_BLOCK)
        return rows * (stride * 2 + stride / QK_QUANT_BLOCK * 4)
    }

    func fill(from x: Matrix<Float>) {
        for row in 0..<rows {
            qk_quantize_int16(values + row * stride, scales + row * stride / QK_QUANT_BLOCK, x.at(row), x.columns)
        }
    }
}

/// Memory for matrices in few bits: the integers of all, and their scales.
final class QuantizedMemory<Form: QuantizedForm>: WeightMemory {
    private let shapes: [MatrixShape]
    private let starts: [(values: Int, scales: Int)]
    private let values: HugeBuffer
    private let scales: HugeBuffer

    init(_ shapes: [MatrixShape], purpose: String) throws(QwenSFTError) {
        self.shapes = shapes
        var starts: [(values: Int, scales: Int)] = []
        var (values, scales) = (0, 0)
        for shape in shapes {
            starts.append((values, scales))
            values += shape.rows * QuantizedWeight<Form>.valueBytes(columns: shape.columns)
            scales += shape.rows * QuantizedWeight<Form>.scaleCount(columns: shape.columns)
        }
        self.starts = starts
        self.values = try HugeBuffer(byteCount: values, purpose: purpose)
        self.scales = try HugeBuffer(byteCount: scales * MemoryLayout<Form.Scale>.stride, purpose: purpose)
    }

    var byteCount: Int { values.byteCount + scales.byteCount }

    private func matrix(_ index: Int, rows: Int) -> QuantizedWeight<Form> {
        QuantizedWeight(
            values: values.base + starts[index].values,
            scales: scales.base + starts[index].scales * MemoryLayout<Form.Scale>.stride, rows: rows,
            columns: shapes[index].columns)
    }

    func weight(_ index: Int, rows: Int) -> Weight { matrix(index, rows: rows).weight }

    func fill(_ index: Int, rows: Range<Int>, worker: Int, from read: ElementReader) throws(QwenSFTError) {
        let target = matrix(index, rows: shapes[index].rows)
        let most = max(1, (1 << 16) / target.columns)
        try withTemporary(Float.self, most * target.columns) { (source) throws(QwenSFTError) in
            for part in Blocks(rows, most: most, unit: 1) {
                try read(index, part.lowerBound * target.columns..<part.upperBound * target.columns, .float32, source)
                target.quantize(source, rows: part)
            }
        }
    }

    func clone(purpose: String) throws(QwenSFTError) -> any WeightMemory {
        try QuantizedMemory(copying: self, purpose: purpose)
    }

    private init(copying other: QuantizedMemory, purpose: String) throws(QwenSFTError) {
        (shapes, starts) = (other.shapes, other.starts)
        values = try other.values.clone(purpose: purpose)
        scales = try other.scales.clone(purpose: purpose)
    }
}
