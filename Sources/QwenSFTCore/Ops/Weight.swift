import CKernels

/// A weight matrix, `rows` outputs by `columns` inputs, in one of the formats that weights are kept in. What a format has to
/// offer is said by `WeightFormat`; products take any of them.
package enum Weight {
    case float32(Float32Weight)
    case bfloat16(BFloat16Weight)
    /// bfloat16 in 12 bits.
    case lossless(LosslessWeight)
    case int8(QuantizedWeight<Int8Form>)
    case int6(QuantizedWeight<Int6Form>)
    case int4(QuantizedWeight<Int4Form>)

    /// To be opened once for a product: what is generic over it costs nothing in the loops.
    package var format: any WeightFormat {
        switch self {
        case .float32(let weight): weight
        case .bfloat16(let weight): weight
        case .lossless(let weight): weight
        case .int8(let weight): weight
        case .int6(let weight): weight
        case .int4(let weight): weight
        }
    }

    package var rows: Int { format.rows }
    package var columns: Int { format.columns }
    package var count: Int { rows * columns }

    /// Rows `range` as a matrix of their own.
    package func slice(_ range: Range<Int>) -> Weight { format.slice(range).weight }
}

/// How a weight matrix is stored, and the primitives that its products are made of.
package protocol WeightFormat {
    var rows: Int { get }
    var columns: Int { get }
    var weight: Weight { get }

    /// Part of a row may be read from a multiple of this on.
    static var columnBlock: Int { get }
    /// Up to so many rows of x `multiply` is faster than the products that work in blocks.
    static var mostRows: Int { get }

    func slice(_ range: Range<Int>) -> Self

    /// out (rows, columns) = that part of the matrix, exactly. `columns` begins at a multiple of `columnBlock`.
    func widen(_ rows: Range<Int>, _ columns: Range<Int>, to out: UnsafeMutablePointer<Float>)

    /// The same in bfloat16, rounded to the nearest, every row padded to `padded` columns with zeros.
    func round(_ rows: Range<Int>, _ columns: Range<Int>, to out: UnsafeMutablePointer<UInt16>, padded: Int)

    /// Where that part of the matrix stands in memory, so that it can be fetched before it is needed.
    func place(_ rows: Range<Int>, _ columns: Range<Int>) -> MemoryPlace

    /// The matrix itself where its elements are bfloat16 in memory.
    var bfloat16s: Matrix<UInt16>? { get }
    /// The same of float32.
    var float32s: Matrix<Float>? { get }

    // MARK: Products with a few rows, at the speed of memory

    /// Memory for `rows` rows of x in the form that `multiply` takes.
    func preparedBytes(rows: Int) -> Int

    /// Brings x into that form.
    func prepare(_ x: PreparedRows)

    /// y (x.rows, outputs.count) = or += x · W[outputs]ᵀ, on the calling thread.
    func multiply(_ y: MutableMatrix<Float>, _ x: PreparedRows, _ outputs: Range<Int>, accumulate: Bool)

    // MARK: Products with many rows

    /// y (rows, outputs) = or += x · Wᵀ.
    func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError)

    /// dx (rows, inputs) = or += dy · W.
    func inputGradient(
        _ dx: MutableMatrix<Float>, _ dy: Matrix<Float>, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError)
}

extension WeightFormat {
    package static var mostRows: Int { 8 }
    package var bfloat16s: Matrix<UInt16>? { nil }
    package var float32s: Matrix<Float>? { nil }

    package func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        try BFloat16GEMM.forward(y, x, self, accumulate: accumulate, compute: compute)
    }

    package func inputGradient(
        _ dx: MutableMatrix<Float>, _ dy: Matrix<Float>, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        try BFloat16GEMM.inputGradient(dx, dy, self, accumulate: accumulate, compute: compute)
    }
}

/// Rows of `bytes` bytes in memory, `stride` bytes from the beginning of one to that of the next.
package struct MemoryPlace {
    package let start: UnsafeRawPointer
    package let rows: Int
    package let stride: Int
    package let bytes: Int

    package init(_ start: UnsafeRawPointer, rows: Int, stride: Int, bytes: Int) {
        (self.start, self.rows, self.stride, self.bytes) = (start, rows, stride, bytes)
    }
}

extension Matrix {
    /// Where columns of rows stand.
    package func place(_ rows: Range<Int>, _ columns: Range<Int>) -> MemoryPlace {
        let size = MemoryLayout<Element>.stride
        return MemoryPlace(
            at(rows.lowerBound, columns.lowerBound), rows: rows.count, stride: stride * size,
            bytes: columns.count * size)
    }
}

/// Rows of x, and memory for the form that a weight's kernel multiplies with.
package struct PreparedRows {
    package let x: Matrix<Float>
    let memory: UnsafeMutableRawPointer

    package init(_ x: Matrix<Float>, in memory: UnsafeMutableRawPointer) {
        self.x = x
        self.memory = memory
    }
}

// MARK: Weights that can be written

extension Weight {
    /// Elements one after the other, as float32 or bfloat16: weights that are trained or written to a file. nil for others.
    package var elements: (start: UnsafeMutableRawPointer, dtype: DType)? {
        switch self {
        case .float32(let weight): (UnsafeMutableRawPointer(weight.matrix.base), .float32)
        case .bfloat16(let weight): (UnsafeMutableRawPointer(weight.matrix.base), .bfloat16)
        default: nil
        }
    }

    /// Index of the first element in its storage: what stochastic rounding counts with.
    package var offset: Int { if case .bfloat16(let weight) = self { weight.offset } else { 0 } }
}

extension Weight {
    /// All values as float32, row by row.
    package var values: [Float] {
        let format = format
        return [Float](unsafeUninitializedCapacity: count) { buffer, count in
            guard let base = buffer.baseAddress else { return }
            format.widen(0..<format.rows, 0..<format.columns, to: base)
            count = format.rows * format.columns
        }
    }

    /// Replaces the values of a weight that can be written; in bfloat16 they are rounded to the nearest.
    func set(_ values: UnsafeBufferPointer<Float>) {
        guard let (start, dtype) = elements, let base = values.baseAddress else { return }
        convertElements(
            from: UnsafeRawPointer(base), .float32, to: start, dtype, count: min(values.count, count))
    }
}
