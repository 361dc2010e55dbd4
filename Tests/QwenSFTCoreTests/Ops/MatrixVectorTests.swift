import CKernels
import QwenSFTCore
import Testing

/// Products of few rows against float64 sums, for every variant.
@Suite(.serialized, .processWide) struct MatrixVectorTests {
    static let sets = [QK_ISA_SCALAR, QK_ISA_AVX2, QK_ISA_AVX512, QK_ISA_AVX512_BF16]
    static let sizes = [(1, 1), (3, 15), (17, 33), (16, 64), (50, 65), (100, 130), (33, 896), (40, 4871)]

    @Test(arguments: sets, [false, true]) func bfloat16(_ set: Int, accumulate: Bool) throws {
        let arena = Arena(purpose: "scratch")
        for (n, k) in Self.sizes {
            for m in [1, 2, 3, 4, 5, 8] {
                let x = TestMatrix(m, k, stride: k + 3, seed: 1)
                let w = TestMatrix(n, k, seed: 2).bfloat16
                var y = TestMatrix(m, n, stride: n + 1, seed: 3)
                let old = y
                let rounded = try withInstructionSet(set) {
                    try MatrixVector.forward(
                        &y.values, yStride: y.stride, x.values, xStride: x.stride, w, rows: m, outputs: n, inputs: k,
                        accumulate: accumulate, arena: arena, threads: m % 3 + 1)
                    return qk_isa() == QK_ISA_AVX512_BF16
                }
                let a = x.operand(rounded: rounded)
                let b = w.map(wide)
                expectClose(y, old, accumulate: accumulate, "\(m)x\(n)x\(k)") { r, c in
                    dot(k) { (a[r * k + $0], b[c * k + $0]) }
                }
            }
        }
    }

    @Test(arguments: sets, [false, true]) func float32(_ set: Int, accumulate: Bool) throws {
        for (n, k) in Self.sizes {
            for m in [1, 4, 7] {
                let x = TestMatrix(m, k, stride: k + 3, seed: 4)
                let w = TestMatrix(n, k, seed: 5)
                var y = TestMatrix(m, n, stride: n + 1, seed: 6)
                let old = y
                withInstructionSet(set) {
                    MatrixVector.forward(
                        &y.values, yStride: y.stride, x.values, xStride: x.stride, w.values, rows: m, outputs: n,
                        inputs: k,
                        accumulate: accumulate, threads: m % 3 + 1)
                }
                let a = x.operand(rounded: false)
                let b = w.operand(rounded: false)
                expectClose(y, old, accumulate: accumulate, "\(m)x\(n)x\(k)") { r, c in
                    dot(k) { (a[r * k + $0], b[c * k + $0]) }
                }
            }
        }
    }

    @Test(arguments: sets, [QuantizedMatrix.Form.int8, .int6]) func quantized(
        _ set: Int, _ form: QuantizedMatrix.Form
    ) throws {
        let arena = Arena(purpose: "scratch")
        for (n, k) in Self.sizes {
            let values = try HugeBuffer(byteCount: n * form.stride(columns: k), purpose: "values")
            let scales = try HugeBuffer(byteCount: 4 * n * QuantizedMatrix.blocks(columns: k), purpose: "scales")
            let source = TestMatrix(n, k, seed: 7)
            let w = QuantizedMatrix(form, values: values.base, scales: scales.base, rows: n, columns: k)
            // The integers of one instruction set are read by any other.
            withInstructionSet(n % 2 == 0 ? QK_ISA_SCALAR : set) { w.quantize(source.values, rows: 0..<n) }
            var exact = [Float](repeating: 0, count: n * k)
            exact.withUnsafeMutableBufferPointer { exact in
                guard let base = exact.baseAddress else { return }
                for row in 0..<n { w.widen(row: row, to: base + row * k) }
            }
            let b = exact.map(Double.init)
            // To the nearest integer: half a step is 1/254 of the block's largest; with 6 bits 1/62 and up
            // to two steps where the largest is cut, as the scale tried may be 32/33 of what fits, and its own error.
            let far = (0..<n * k).filter { i in
                let start = i / k * k + i % k / QK_QUANT_BLOCK * QK_QUANT_BLOCK
                let end = min(start + QK_QUANT_BLOCK, i / k * k + k)
                let largest = source.values[start..<end].reduce(0) { max($0, abs($1)) }
                return abs(b[i] - Double(source.values[i])) > Double(largest) * (form == .int8 ? 0.501 / 127 : 0.05)
            }
            #expect(far.isEmpty)
            for m in [1, 3, 8, 20] {
                let x = TestMatrix(m, k, stride: k + 3, seed: 8)
                var y = TestMatrix(m, n, stride: n + 1, seed: 9)
                let old = y
                try withInstructionSet(set) {
                    try CompressedWeight.quantized(w).forward(
                        &y.values, yStride: y.stride, x.values, xStride: x.stride, rows: m, arena: arena, threads: 2)
                }
                let a = x.operand(rounded: false)
                // Of x as int16 an error of 2^-16 of the largest remains; in blocks both operands become bfloat16.
                let tolerance = m <= MatrixVector.mostRows ? 3e-5 : 1e-2
                expectClose(y, old, accumulate: false, tolerance: tolerance, "\(m)x\(n)x\(k)") { r, c in
                    dot(k) { (a[r * k + $0], b[c * k + $0]) }
                }
            }
        }
    }

    /// Every integer at every place of a block, in every instruction set.
    @Test(arguments: sets) func sixBits(_ set: Int) {
        withInstructionSet(set) {
            for turn in 0..<64 {
                let row = (0..<64).map { Float(($0 + turn) % 64 - 32) * 0.5 }
                var packed = [UInt8](repeating: 255, count: Int(QK_INT6_BYTES))
                var scale: UInt16 = 0
                qk_quantize_int6(&packed, &scale, row, 64)
                #expect(qk_f32_from_bf16(scale) == 0.5)
                for (i, value) in row.enumerated() {
                    let word = (0..<2).reduce(0) {
                        $0 | Int(6 * i / 8 + $1 < 48 ? packed[6 * i / 8 + $1] : 0) << (8 * $1)
                    }
                    #expect(word >> (6 * i % 8) & 63 == Int(value * 2) & 63)
                }
                var narrow = [UInt16](repeating: 0, count: 70)
                qk_bf16_from_int6(&narrow, packed, &scale, 64, 70)
                #expect(narrow.map(wide) == row.map(Double.init) + [0, 0, 0, 0, 0, 0])
            }
        }
    }

    @Test(arguments: sets) func quantizingMarksWhatIsNotFinite(_ set: Int) {
        withInstructionSet(set) {
            for bad in [Float.nan, .infinity, -.infinity] {
                var row = [Float](repeating: 0.5, count: 130)
                row[70] = bad
                var values = [Int8](repeating: 1, count: 192)
                var scales = [Float](repeating: 1, count: 3)
                qk_quantize_int8(&values, &scales, row, 130)
                #expect(scales[0] == 0.5 / 127 && scales[1].isNaN && scales[2] == 0.5 / 127)
                var fields = [UInt8](repeating: 1, count: 3 * 48)
                var narrow = [UInt16](repeating: 1, count: 3)
                qk_quantize_int6(&fields, &narrow, row, 130)
                #expect(wide(narrow[0]).isFinite && wide(narrow[1]).isNaN && wide(narrow[2]).isFinite)
                let zeros = [Float](repeating: 0, count: 64)
                qk_quantize_int8(&values, &scales, zeros, 64)
                #expect(scales[0] == 0 && values[0] == 0)
                qk_quantize_int6(&fields, &narrow, zeros, 64)
                #expect(narrow[0] == 0 && fields[0] == 0)
            }
        }
    }

    /// Packing loses nothing, whatever the weights; products are those with the weights themselves.
    @Test(arguments: sets) func packed(_ set: Int) throws {
        let arena = Arena(purpose: "scratch")
        for (n, k) in Self.sizes {
            let scale: Float = n == 17 ? 1e30 : 1
            var w = TestMatrix(n, k, seed: 6).values.map { qk_bf16_from_f32($0 * scale) }
            // Zeros of both signs, and weights so large and small that they have no code.
            let unusual: [UInt16] = [0x0000, 0x8000, 0x0001, 0x7f00, 0x80ff, 0x2001]
            for (index, value) in unusual.enumerated() where n * k > 100 { w[(index * 37 + 5) % (n * k)] = value }
            // The packing of one instruction set is read by any other.
            let packed = try withInstructionSet(n % 2 == 0 ? QK_ISA_SCALAR : set) { try Packed(w, rows: n, columns: k) }
            try withInstructionSet(set) {
                let filled = k + k % 2 + 30
                var row = [UInt16](repeating: 7, count: filled)
                for r in 0..<n {
                    packed.matrix.unpack(row: r, to: &row, filled: filled)
                    #expect(row[..<k] == w[r * k..<(r + 1) * k] && row[k...].allSatisfy { $0 == 0 })
                }
                for (m, accumulate) in [(1, false), (1, true), (2, true), (20, false)] {
                    let x = TestMatrix(m, k, stride: k + 3, seed: 8)
                    var y = TestMatrix(m, n, stride: n + 1, seed: 9)
                    let old = y
                    try CompressedWeight.packed(packed.matrix).forward(
                        &y.values, yStride: y.stride, x.values, xStride: x.stride, rows: m, accumulate: accumulate,
                        arena: arena, threads: 2)
                    // Without bfloat16 instructions products of many rows do not round x.
                    let a = x.operand(rounded: m == 1 || qk_isa() == QK_ISA_AVX512_BF16)
                    let b = w.map(wide)
                    expectClose(y, old, accumulate: accumulate, "\(m)x\(n)x\(k)") { r, c in
                        dot(k) { (a[r * k + $0], b[c * k + $0]) }
                    }
                }
            }
        }
    }

    @Test func packingTables() {
        var counts = [Int](repeating: 0, count: 256)
        for upper in 0..<40 { counts[upper] = upper % 20 }  // 19 and 39 most often, 0 and 20 never
        let table = PackingTable(counts: counts)
        #expect(table.uppers[0] == 0 && Set(table.uppers).count == 16)
        #expect(table.uppers[1...4] == [19, 39, 18, 38])
        for (code, upper) in table.uppers.enumerated() { #expect(Int(table.codes[Int(upper)]) == code) }
        #expect(table.codes.count { $0 != 0 } == 15)
        #expect(PackingTable(counts: [Int](repeating: 0, count: 256)).codes.allSatisfy { $0 == 0 })
    }
}

/// A packed matrix with memory of its own.
private final class Packed {
    private let bytes: HugeBuffer
    private let uppers: UnsafeMutablePointer<UInt8>
    private let starts: UnsafeMutablePointer<UInt32>
    private let exceptions: UnsafeMutablePointer<qk_exception>
    private let rows: Int, columns: Int

    init(_ w: [UInt16], rows: Int, columns: Int) throws {
        (self.rows, self.columns) = (rows, columns)
        bytes = try HugeBuffer(byteCount: rows * PackedMatrix.stride(columns: columns), purpose: "packed")
        uppers = .allocate(capacity: 16)
        starts = .allocate(capacity: rows + 1)
        exceptions = .allocate(capacity: rows * columns)
        var counts = [Int](repeating: 0, count: 256)
        for value in w { counts[Int(value >> 8)] += 1 }
        let table = PackingTable(counts: counts)
        uppers.initialize(from: table.uppers, count: 16)
        starts.initialize(repeating: 0, count: rows + 1)
        for row in 0..<rows {
            let count = qk_pack_bf16(
                matrix.bytes + row * matrix.stride, exceptions + Int(starts[row]),
                Array(w[row * columns..<(row + 1) * columns]),
                columns, table.codes)
            starts[row + 1] = starts[row] + UInt32(count)
        }
    }

    deinit {
        uppers.deallocate()
        starts.deallocate()
        exceptions.deallocate()
    }

    var matrix: PackedMatrix {
        PackedMatrix(
            bytes: bytes.base.assumingMemoryBound(to: UInt8.self), uppers: uppers, starts: starts,
            exceptions: exceptions,
            rows: rows, columns: columns)
    }
}
