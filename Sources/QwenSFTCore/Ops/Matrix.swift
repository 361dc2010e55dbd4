/// A row-major matrix somewhere in memory, to read from. Two rows are `stride` elements apart.
///
/// Views own nothing; whoever makes one keeps the memory. Debug builds check every place that is asked for.
package struct Matrix<Element: BitwiseCopyable> {
    package let base: UnsafePointer<Element>
    package let rows: Int
    package let columns: Int
    package let stride: Int

    /// - Parameter stride: nil: rows without gaps.
    package init(_ base: UnsafePointer<Element>, rows: Int, columns: Int, stride: Int? = nil) {
        (self.base, self.rows, self.columns, self.stride) = (base, rows, columns, stride ?? columns)
    }

    /// The element at a place, or the end of the matrix.
    package func at(_ row: Int, _ column: Int = 0) -> UnsafePointer<Element> {
        assert((0...rows).contains(row) && (0...columns).contains(column), "outside of the matrix")
        return base + row * stride + column
    }

    package subscript(rows range: Range<Int>) -> Matrix {
        Matrix(at(range.lowerBound), rows: range.count, columns: columns, stride: stride)
    }

    package subscript(columns range: Range<Int>) -> Matrix {
        Matrix(at(0, range.lowerBound), rows: rows, columns: range.count, stride: stride)
    }
}

/// The same to write to.
package struct MutableMatrix<Element: BitwiseCopyable> {
    package let base: UnsafeMutablePointer<Element>
    package let rows: Int
    package let columns: Int
    package let stride: Int

    /// - Parameter stride: nil: rows without gaps.
    package init(_ base: UnsafeMutablePointer<Element>, rows: Int, columns: Int, stride: Int? = nil) {
        (self.base, self.rows, self.columns, self.stride) = (base, rows, columns, stride ?? columns)
    }

    package func at(_ row: Int, _ column: Int = 0) -> UnsafeMutablePointer<Element> {
        assert((0...rows).contains(row) && (0...columns).contains(column), "outside of the matrix")
        return base + row * stride + column
    }

    package subscript(rows range: Range<Int>) -> MutableMatrix {
        MutableMatrix(at(range.lowerBound), rows: range.count, columns: columns, stride: stride)
    }

    package subscript(columns range: Range<Int>) -> MutableMatrix {
        MutableMatrix(at(0, range.lowerBound), rows: rows, columns: range.count, stride: stride)
    }

    /// The elements of a matrix without gaps.
    package var buffer: UnsafeMutableBufferPointer<Element> {
        UnsafeMutableBufferPointer(start: base, count: rows * columns)
    }

    package var readOnly: Matrix<Element> { Matrix(base, rows: rows, columns: columns, stride: stride) }
}

extension Arena {
    /// An uninitialized matrix without gaps.
    package func matrix(rows: Int, columns: Int) throws(QwenSFTError) -> MutableMatrix<Float> {
        MutableMatrix(try floats(rows * columns), rows: rows, columns: columns)
    }
}

extension Compute {
    /// target = source, of the same size.
    func copy(_ source: Matrix<Float>, to target: MutableMatrix<Float>) {
        guard target.base != source.base else { return }
        rows(source.rows) {
            for row in $0 { target.at(row).update(from: source.at(row), count: source.columns) }
        }
    }

    /// The whole matrix becomes 0.
    func clear(_ target: MutableMatrix<Float>) {
        rows(target.rows) {
            for row in $0 { target.at(row).update(repeating: 0, count: target.columns) }
        }
    }
}
