import CKernels

/// Memory for all matrices of a layout in packed form; the order is that of the parameters, so that matrices which are
/// multiplied together are one here too.
final class PackedStorage {
    /// Where a parameter begins: its bytes, and its first row among the rows of all matrices.
    private struct Place {
        let byte: Int
        let row: Int
    }
    private let places: [Place]
    private let rowCount: Int
    private let bytes: HugeBuffer
    /// 16 bytes for every parameter.
    private let uppers: HugeBuffer
    /// For every row, and for the end.
    private let starts: HugeBuffer
    private var exceptions: HugeBuffer

    /// Matrices of zeros.
    init(_ layout: ParameterLayout, purpose: String) throws(QwenSFTError) {
        var places: [Place] = []
        var (byte, row) = (0, 0)
        for parameter in layout.parameters {
            places.append(Place(byte: byte, row: row))
            guard parameter.isMatrix else { continue }
            byte += parameter.shape[0] * PackedMatrix.stride(columns: parameter.shape[1])
            row += parameter.shape[0]
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

    /// `rows` rows from the beginning of a parameter on.
    func matrix(_ parameter: Int, rows: Int, columns: Int) -> PackedMatrix {
        PackedMatrix(
            bytes: bytes.base.assumingMemoryBound(to: UInt8.self) + places[parameter].byte,
            uppers: uppers.base.assumingMemoryBound(to: UInt8.self) + 16 * parameter,
            starts: rowStarts + places[parameter].row,
            exceptions: exceptions.base.assumingMemoryBound(to: qk_exception.self),
            rows: rows, columns: columns)
    }

    func set(_ table: PackingTable, of parameter: Int) {
        let target = uppers.base.assumingMemoryBound(to: UInt8.self) + 16 * parameter
        for (code, upper) in table.uppers.enumerated() { target[code] = upper }
    }

    /// Weights of a row that have no code, gathered row by row while a matrix is packed.
    struct Exceptions {
        fileprivate var rows: [Int] = []
        fileprivate var all: [qk_exception] = []

        mutating func append(_ some: UnsafeBufferPointer<qk_exception>, row: Int) {
            all.append(contentsOf: some)
            rows.append(contentsOf: repeatElement(row, count: some.count))
        }
    }

    /// The number of a parameter's first row among those of all.
    func firstRow(of parameter: Int) -> Int { places[parameter].row }

    /// Takes the exceptions of all rows; each part has its rows in order, and no two parts have the same row.
    func take(_ parts: [Exceptions], purpose: String) throws(QwenSFTError) {
        let count = parts.reduce(0) { $0 + $1.all.count }
        guard count <= UInt32.max else {
            throw QwenSFTError(.unsupported, "\(purpose): \(count) weights have no code; they are not worth packing")
        }
        exceptions = try HugeBuffer(byteCount: count * MemoryLayout<qk_exception>.stride, purpose: purpose)
        for part in parts { for row in part.rows { rowStarts[row + 1] += 1 } }
        for row in 0..<rowCount { rowStarts[row + 1] += rowStarts[row] }
        let target = exceptions.base.bindMemory(to: qk_exception.self, capacity: count)
        for part in parts {
            var index = 0
            while index < part.rows.count {
                let row = part.rows[index]
                for place in rowStarts[row]..<rowStarts[row + 1] {
                    target[Int(place)] = part.all[index]
                    index += 1
                }
            }
        }
    }

    /// The same matrices in memory of their own.
    func clone(purpose: String) throws(QwenSFTError) -> PackedStorage {
        try PackedStorage(copying: self, purpose: purpose)
    }

    private init(copying other: PackedStorage, purpose: String) throws(QwenSFTError) {
        (places, rowCount) = (other.places, other.rowCount)
        bytes = try other.bytes.clone(purpose: purpose)
        uppers = try other.uppers.clone(purpose: purpose)
        starts = try other.starts.clone(purpose: purpose)
        exceptions = try other.exceptions.clone(purpose: purpose)
    }
}
