import CKernels

/// A weight matrix of a linear layer as it stands in memory: `rows` outputs by `columns` inputs, row-major, no gaps; or
/// `compressed`, and then `elements` and `dtype` have no meaning.
package struct Weight {
    package let elements: UnsafeMutableRawPointer
    package let dtype: DType
    package let rows: Int
    package let columns: Int
    /// Index of the first element in the parameter storage; what stochastic rounding counts with.
    package let offset: Int
    /// For inference only.
    package let compressed: CompressedWeight?

    package init(
        elements: UnsafeMutableRawPointer, dtype: DType, rows: Int, columns: Int, offset: Int,
        compressed: CompressedWeight? = nil
    ) {
        self.elements = elements
        self.dtype = dtype
        self.rows = rows
        self.columns = columns
        self.offset = offset
        self.compressed = compressed
    }

    var count: Int { rows * columns }

    var floats: UnsafeMutablePointer<Float> { elements.assumingMemoryBound(to: Float.self) }
    var bfloat16s: UnsafeMutablePointer<UInt16> { elements.assumingMemoryBound(to: UInt16.self) }

    /// y = part of a row as float32; y is where column 0 would be.
    func copy(row: Int, columns range: Range<Int>, to y: UnsafeMutablePointer<Float>) {
        let at = row * columns + range.lowerBound
        switch compressed {
        case .quantized(let matrix):
            withUnsafeTemporaryAllocation(of: Float.self, capacity: columns) { values in
                guard let base = values.baseAddress else { return }
                matrix.widen(row: row, to: base)
                (y + range.lowerBound).update(from: base + range.lowerBound, count: range.count)
            }
        case .packed(let packed):
            withUnsafeTemporaryAllocation(of: UInt16.self, capacity: columns) { values in
                guard let base = values.baseAddress else { return }
                packed.unpack(row: row, to: base, filled: columns)
                qk_f32_from_bf16_run(y + range.lowerBound, base + range.lowerBound, range.count)
            }
        case nil:
            convertElements(
                from: elements + at * dtype.byteCount, dtype, to: y + range.lowerBound, .float32, count: range.count)
        }
    }

    /// Rows `range` as a matrix of their own.
    func slice(_ range: Range<Int>) -> Weight {
        if let compressed {
            return Weight(
                elements: elements, dtype: dtype, rows: range.count, columns: columns, offset: 0,
                compressed: compressed.slice(range))
        }
        return Weight(
            elements: elements + range.lowerBound * columns * dtype.byteCount, dtype: dtype, rows: range.count,
            columns: columns, offset: offset + range.lowerBound * columns)
    }
}

/// Where the gradient of a weight goes.
package enum GradientDestination {
    /// Added to a float32 buffer of the weight's shape.
    case buffer(UnsafeMutablePointer<Float>)
    /// Straight into the weight, W ← shrink·W − rate·G: plain SGD without gradient memory. `shrink` is 1 − rate·decay.
    case update(rate: Float, shrink: Float, rounding: UpdateRounding)
}

/// How the weights of one optimizer step become bfloat16; each write of a part of them has random bits of its own.
package struct UpdateRounding {
    package let isStochastic: Bool
    package let seed: UInt64
    package let step: UInt64

    package init(isStochastic: Bool, seed: UInt64, step: UInt64) {
        self.isStochastic = isStochastic
        self.seed = seed
        self.step = step
    }

    /// For a write of the weight whose first element has index `offset`; `pass` tells two writes of one step apart.
    func at(_ offset: Int, pass: UInt64 = 0) -> Rounding {
        isStochastic ? .stochastic(RoundingKey(seed: seed, step: step << 1 | pass, stream: UInt64(offset))) : .nearest
    }
}
