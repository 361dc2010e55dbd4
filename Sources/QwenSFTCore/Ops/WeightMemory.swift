/// A matrix that memory is to be found for.
package struct MatrixShape: Sendable {
    package let name: String
    package let rows: Int
    package let columns: Int
    /// Index of its first element among those of all matrices, where they are kept element by element.
    package let offset: Int
    /// Neighbors with equal numbers are multiplied together.
    package let group: Int

    package init(name: String, rows: Int, columns: Int, offset: Int, group: Int) {
        (self.name, self.rows, self.columns) = (name, rows, columns)
        (self.offset, self.group) = (offset, group)
    }
}

/// Reads elements of a matrix, in order of the rows, as a type to a place.
package typealias ElementReader = (
    _ matrix: Int, _ elements: Range<Int>, _ dtype: DType, _ target: UnsafeMutableRawPointer
) throws(QwenSFTError) -> Void

/// Memory for matrices that are all kept in one format. Those of a group follow each other without a gap.
package protocol WeightMemory: AnyObject {
    var byteCount: Int { get }

    /// `rows` rows from the beginning of a matrix on, those of the next ones of its group included.
    func weight(_ index: Int, rows: Int) -> Weight

    /// Looks at the matrices before `fill` is called, by up to `threads` workers.
    func beginFilling(threads: Int, from read: ElementReader) throws(QwenSFTError)
    /// Brings some rows of a matrix into the format.
    func fill(_ index: Int, rows: Range<Int>, worker: Int, from read: ElementReader) throws(QwenSFTError)
    /// Once all rows are there.
    func endFilling() throws(QwenSFTError)

    /// The same matrices in memory of their own.
    func clone(purpose: String) throws(QwenSFTError) -> any WeightMemory
}

extension WeightMemory {
    package func beginFilling(threads: Int, from read: ElementReader) throws(QwenSFTError) {}
    package func endFilling() throws(QwenSFTError) {}
}

/// Elements one after the other, float32 or bfloat16.
package final class DenseMemory: WeightMemory {
    private let shapes: [MatrixShape]
    private let dtype: DType
    private let buffer: HugeBuffer

    /// Zeros.
    /// - Parameter count: elements, the gaps between groups included.
    package init(_ shapes: [MatrixShape], count: Int, dtype: DType, purpose: String) throws(QwenSFTError) {
        self.shapes = shapes
        self.dtype = dtype
        buffer = try HugeBuffer(byteCount: count * dtype.byteCount, purpose: purpose)
    }

    package var byteCount: Int { buffer.byteCount }

    /// All of it; nil where it is not float32.
    package var floats: UnsafeMutableBufferPointer<Float>? {
        dtype == .float32 ? UnsafeMutableBufferPointer(start: buffer.floats, count: buffer.byteCount / 4) : nil
    }

    package func weight(_ index: Int, rows: Int) -> Weight {
        let shape = shapes[index]
        let start = buffer.base + shape.offset * dtype.byteCount
        guard dtype == .bfloat16 else {
            return .float32(
                Float32Weight(
                    .init(start.assumingMemoryBound(to: Float.self), rows: rows, columns: shape.columns)))
        }
        return .bfloat16(
            BFloat16Weight(
                .init(start.assumingMemoryBound(to: UInt16.self), rows: rows, columns: shape.columns),
                offset: shape.offset))
    }

    package func fill(_ index: Int, rows: Range<Int>, worker: Int, from read: ElementReader) throws(QwenSFTError) {
        let (offset, columns) = (shapes[index].offset, shapes[index].columns)
        try read(
            index, rows.lowerBound * columns..<rows.upperBound * columns, dtype,
            buffer.base + (offset + rows.lowerBound * columns) * dtype.byteCount)
    }

    /// Sets everything to zero by giving the memory back.
    func clear() { buffer.clear() }

    package func clone(purpose: String) throws(QwenSFTError) -> any WeightMemory {
        try DenseMemory(copying: self, purpose: purpose)
    }

    private init(copying other: DenseMemory, purpose: String) throws(QwenSFTError) {
        (shapes, dtype) = (other.shapes, other.dtype)
        buffer = try other.buffer.clone(purpose: purpose)
    }
}
