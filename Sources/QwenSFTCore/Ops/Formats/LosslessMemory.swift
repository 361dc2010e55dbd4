import CKernels

/// Memory for matrices in 12 bits (`LosslessWeight`).
final class LosslessMemory: WeightMemory {
    private let shapes: [MatrixShape]
    /// Where a matrix begins: its bytes, and its first row among the rows of all.
    private let places: [(byte: Int, row: Int)]
    private let rowCount: Int
    private let purpose: String
    private let bytes: HugeBuffer
    /// 16 bytes for every matrix.
    private let uppers: HugeBuffer
    /// For every row, and for the end.
    private let starts: HugeBuffer
    private var exceptions: HugeBuffer
    /// While it is filled: the codes of every matrix, and what each worker found.
    private var codes: [[UInt8]] = []
    private var found: [Exceptions] = []

    /// Matrices of zeros.
    init(_ shapes: [MatrixShape], purpose: String) throws(QwenSFTError) {
        self.shapes = shapes
        self.purpose = purpose
        var places: [(byte: Int, row: Int)] = []
        var (byte, row) = (0, 0)
        for shape in shapes {
            places.append((byte, row))
            byte += shape.rows * LosslessWeight.stride(columns: shape.columns)
            row += shape.rows
        }
        self.places = places
        rowCount = row
        bytes = try HugeBuffer(byteCount: byte, purpose: purpose)
        uppers = try HugeBuffer(byteCount: 16 * places.count, purpose: purpose)
        starts = try HugeBuffer(byteCount: 4 * (row + 1), purpose: purpose)
        exceptions = try HugeBuffer(byteCount: 0, purpose: purpose)
    }

    var byteCount: Int { bytes.byteCount + uppers.byteCount + starts.byteCount + exceptions.byteCount }

    private var rowStarts: UnsafeMutablePointer<UInt32> { starts.base.assumingMemoryBound(to: UInt32.self) }

    private func matrix(_ index: Int, rows: Int) -> LosslessWeight {
        LosslessWeight(
            bytes: bytes.base.assumingMemoryBound(to: UInt8.self) + places[index].byte,
            uppers: uppers.base.assumingMemoryBound(to: UInt8.self) + 16 * index,
            starts: rowStarts + places[index].row,
            exceptions: exceptions.base.assumingMemoryBound(to: qk_exception.self), rows: rows,
            columns: shapes[index].columns)
    }

    func weight(_ index: Int, rows: Int) -> Weight { .lossless(matrix(index, rows: rows)) }

    // MARK: Filling

    /// Weights of a row that have no code, gathered row by row while a matrix is read.
    private final class Exceptions {
        var rows: [Int] = []
        var all: [qk_exception] = []
    }

    /// Chooses the codes from a sample of the rows; what is seen later and has none becomes an exception. Matrices that are
    /// multiplied together share them.
    func beginFilling(threads: Int, from read: ElementReader) throws(QwenSFTError) {
        found = (0..<threads).map { _ in Exceptions() }
        codes = []
        var index = 0
        while index < shapes.count {
            let group = index..<(shapes[index...].firstIndex { $0.group != shapes[index].group } ?? shapes.count)
            var counts = [Int](repeating: 0, count: 256)
            for matrix in group { try count(matrix, read, &counts) }
            let table = UpperByteCodes(counts: counts)
            for matrix in group {
                let target = uppers.base.assumingMemoryBound(to: UInt8.self) + 16 * matrix
                for (code, upper) in table.uppers.enumerated() { target[code] = upper }
                codes.append(table.codes)
            }
            index = group.upperBound
        }
    }

    /// Counts the upper bytes of up to 64 rows.
    private func count(_ index: Int, _ read: ElementReader, _ counts: inout [Int]) throws(QwenSFTError) {
        let (rows, columns) = (shapes[index].rows, shapes[index].columns)
        try withTemporary(UInt16.self, columns) { (values) throws(QwenSFTError) in
            for row in stride(from: 0, to: rows, by: max(1, rows / 64)) {
                try read(index, row * columns..<(row + 1) * columns, .bfloat16, values)
                for column in 0..<columns { counts[Int(values[column] >> 8)] += 1 }
            }
        }
    }

    /// - Throws: `unsupported` where more than one weight in 16 is an exception, which takes three times a weight's memory.
    func fill(_ index: Int, rows: Range<Int>, worker: Int, from read: ElementReader) throws(QwenSFTError) {
        let target = matrix(index, rows: shapes[index].rows)
        let columns = target.columns
        let most = max(1, (1 << 16) / columns)
        let mostExceptions = rows.count * columns / 16 + 1024
        let mine = found[worker]
        var exceptionCount = 0
        try withTemporary(UInt16.self, most * columns) { (values) throws(QwenSFTError) in
            try withTemporary(qk_exception.self, columns) { (some) throws(QwenSFTError) in
                for part in Blocks(rows, most: most, unit: 1) {
                    try read(index, part.lowerBound * columns..<part.upperBound * columns, .bfloat16, values)
                    for row in part {
                        let count = qk_pack_bf16(
                            target.bytes + row * target.stride, some, values + (row - part.lowerBound) * columns,
                            columns, codes[index])
                        exceptionCount += count
                        guard exceptionCount <= mostExceptions else {
                            throw QwenSFTError(
                                .unsupported,
                                "\(shapes[index].name): more than one weight in 16 has no code of 4 bits; it does not fit into 12 bits"
                            )
                        }
                        mine.all.append(contentsOf: UnsafeBufferPointer(start: some, count: count))
                        mine.rows.append(contentsOf: repeatElement(places[index].row + row, count: count))
                    }
                }
            }
        }
    }

    /// Puts the exceptions of all rows in order; each worker has its rows in order, and no two have the same row.
    func endFilling() throws(QwenSFTError) {
        let count = found.reduce(0) { $0 + $1.all.count }
        guard count <= UInt32.max else {
            throw QwenSFTError(.unsupported, "\(purpose): \(count) weights have no code of 4 bits, too many to keep")
        }
        exceptions = try HugeBuffer(byteCount: count * MemoryLayout<qk_exception>.stride, purpose: purpose)
        for part in found { for row in part.rows { rowStarts[row + 1] += 1 } }
        for row in 0..<rowCount { rowStarts[row + 1] += rowStarts[row] }
        let target = exceptions.base.bindMemory(to: qk_exception.self, capacity: count)
        for part in found {
            var index = 0
            while index < part.rows.count {
                let row = part.rows[index]
                for place in rowStarts[row]..<rowStarts[row + 1] {
                    target[Int(place)] = part.all[index]
                    index += 1
                }
            }
        }
        (codes, found) = ([], [])
    }

    // MARK: Copying

    func clone(purpose: String) throws(QwenSFTError) -> any WeightMemory {
        try LosslessMemory(copying: self, purpose: purpose)
    }

    private init(copying other: LosslessMemory, purpose: String) throws(QwenSFTError) {
        (shapes, places, rowCount, self.purpose) = (other.shapes, other.places, other.rowCount, purpose)
        bytes = try other.bytes.clone(purpose: purpose)
        uppers = try other.uppers.clone(purpose: purpose)
        starts = try other.starts.clone(purpose: purpose)
        exceptions = try other.exceptions.clone(purpose: purpose)
    }
}
