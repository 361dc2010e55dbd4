import CKernels

/// Packing a checkpoint's matrices while they are read.
extension Model {
    /// Upper bytes to codes for every parameter, from a sample of its rows; what is seen later and has no code becomes an
    /// exception. Parameters that are multiplied together share a table.
    static func chooseCodes(
        _ tensors: [StoredTensor], _ layout: ParameterLayout, _ packed: PackedStorage
    ) throws(QwenSFTError) -> [[UInt8]] {
        var codes = [[UInt8]](repeating: [], count: tensors.count)
        let matrices =
            [layout.embedding, layout.head] + layout.layers.flatMap { [$0.qkv, $0.output, $0.gateUp, $0.down] }
        for matrix in matrices {
            var counts = [Int](repeating: 0, count: 256)
            for parameter in matrix.parameters { try count(tensors[parameter], columns: matrix.columns, &counts) }
            let table = PackingTable(counts: counts)
            for parameter in matrix.parameters {
                packed.set(table, of: parameter)
                codes[parameter] = table.codes
            }
        }
        return codes
    }

    /// Counts the upper bytes of up to 64 rows.
    private static func count(
        _ tensor: StoredTensor, columns: Int, _ counts: inout [Int]
    ) throws(QwenSFTError) {
        var values = [UInt16](repeating: 0, count: columns)
        let rows = tensor.elementCount / columns
        for row in stride(from: 0, to: rows, by: max(1, rows / 64)) {
            var failure: QwenSFTError?
            values.withUnsafeMutableBytes { bytes in
                guard let base = bytes.baseAddress else { return }
                do throws(QwenSFTError) {
                    try tensor.read(row * columns..<(row + 1) * columns, as: .bfloat16, into: base)
                } catch { failure = error }
            }
            if let failure { throw failure }
            for value in values { counts[Int(value >> 8)] += 1 }
        }
    }

    /// - Parameter firstRow: the number that `exceptions` gives the tensor's first row.
    /// - Throws: `unsupported` where more than one weight in 16 is an exception, which takes three times a weight's memory.
    static func pack(
        _ tensor: StoredTensor, _ rows: Range<Int>, to target: PackedMatrix, _ codes: [UInt8], firstRow: Int,
        _ exceptions: inout PackedStorage.Exceptions
    ) throws(QwenSFTError) {
        let columns = target.columns
        let most = max(1, (1 << 16) / max(1, columns))
        let mostExceptions = rows.count * columns / 16 + 1024
        var exceptionCount = 0
        var failure: QwenSFTError?
        withUnsafeTemporaryAllocation(of: UInt16.self, capacity: most * columns) { values in
            withUnsafeTemporaryAllocation(of: qk_exception.self, capacity: columns) { found in
                guard let base = values.baseAddress, let some = found.baseAddress else { return }
                for start in stride(from: rows.lowerBound, to: rows.upperBound, by: most) {
                    let part = start..<min(start + most, rows.upperBound)
                    let elements = part.lowerBound * columns..<part.upperBound * columns
                    do throws(QwenSFTError) { try tensor.read(elements, as: .bfloat16, into: base) } catch {
                        failure = error
                        return
                    }
                    for row in part {
                        let count = qk_pack_bf16(
                            target.bytes + row * target.stride, some, base + (row - start) * columns, columns, codes)
                        exceptionCount += count
                        guard exceptionCount <= mostExceptions else {
                            failure = QwenSFTError(
                                .unsupported,
                                "\(tensor.name): more than one weight in 16 has no code of 4 bits; it cannot be packed")
                            return
                        }
                        if count > 0 { exceptions.append(.init(start: some, count: count), row: firstRow + row) }
                    }
                }
            }
        }
        if let failure { throw failure }
    }
}
