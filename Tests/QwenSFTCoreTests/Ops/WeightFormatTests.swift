import CKernels
import QwenSFTCore
import Testing

/// Weights in every format, filled as a checkpoint's are: what they mean, and products with them against float64 sums, in every
/// instruction set.
@Suite(.serialized, .processWide) struct WeightFormatTests {
    static let sets = InstructionSet.allCases
    static let sizes = [
        (1, 1), (3, 15), (17, 33), (16, 64), (50, 65), (100, 130), (33, 896), (40, 4871), (700, 200),
    ]

    /// A weight, and what it means.
    struct Filled {
        let memory: any WeightMemory
        let weight: Weight
        /// As float32, exactly.
        let meaning: [Double]

        /// - Parameters:
        ///   - form: nil: bfloat16 or, with `isFloat32`, float32 element by element.
        ///   - source: (n, k).
        init(_ form: Quantization?, isFloat32: Bool = false, _ source: [Float], _ n: Int, _ k: Int) throws {
            let shape = MatrixShape(name: "weight", rows: n, columns: k, offset: 0, group: 0)
            memory =
                try form?.memory([shape], purpose: "test")
                ?? DenseMemory([shape], count: n * k, dtype: isFloat32 ? .float32 : .bfloat16, purpose: "test")
            let read: ElementReader = { (_, elements, dtype, target) throws(QwenSFTError) in
                for (place, value) in source[elements].enumerated() {
                    if dtype == .float32 {
                        target.storeBytes(of: value, toByteOffset: 4 * place, as: Float.self)
                    } else {
                        target.storeBytes(of: qk_bf16_from_f32(value), toByteOffset: 2 * place, as: UInt16.self)
                    }
                }
            }
            try memory.beginFilling(threads: 2, from: read)
            try memory.fill(0, rows: 0..<n / 2, worker: 0, from: read)
            try memory.fill(0, rows: n / 2..<n, worker: 1, from: read)
            try memory.endFilling()
            weight = memory.weight(0, rows: n)
            meaning = weight.values.map(Double.init)
        }
    }

    /// How far a product may be from that with the weight's meaning, relative to the sum of magnitudes: activations as bfloat16
    /// are the test's own business.
    private static func tolerance(_ form: Quantization?, rows: Int) -> Double {
        switch form {
        case nil, .lossless: 4e-7
        // Of x as int16 an error of 2^-16 of the largest remains; in blocks both operands become bfloat16.
        default: rows <= 8 || qk_multiplies_bf16() == 0 ? 3e-5 : 1e-2
        }
    }

    /// Whether x is rounded to bfloat16 exactly, as far as the test may know.
    private static func rounds(_ form: Quantization?, isFloat32: Bool, rows: Int) -> Bool {
        guard !isFloat32 else { return false }
        return switch form {
        case nil: qk_multiplies_bf16() != 0
        case .lossless: rows == 1 || qk_multiplies_bf16() != 0
        default: false
        }
    }

    static let forms: [Quantization?] = Quantization.allCases + [nil]

    @Test(arguments: sets, forms) func forwardIsTheSum(_ set: InstructionSet, _ form: Quantization?) throws {
        for (n, k) in Self.sizes where n < 700 {
            for isFloat32 in form == nil ? [false, true] : [false] {
                // The weights of one instruction set are read by any other.
                let w = try withInstructionSet(n % 2 == 0 ? .plain : set) {
                    try Filled(form, isFloat32: isFloat32, TestMatrix(n, k, seed: 7).values, n, k)
                }
                for (m, accumulate) in [(1, false), (1, true), (2, true), (3, false), (8, false), (20, true)] {
                    let x = TestMatrix(m, k, stride: k + 3, seed: 8)
                    let y = TestMatrix(m, n, stride: n + 1, seed: 9)
                    let old = y.values
                    let (rounds, tolerance) = try withExtendedLifetime((w, x, y)) {
                        try withInstructionSet(set) {
                            try Linear.forward(
                                y.view, x.readOnly, w.weight, accumulate: accumulate,
                                compute: Compute(threads: m % 3 + 1))
                            return (
                                Self.rounds(form, isFloat32: isFloat32, rows: m), Self.tolerance(form, rows: m)
                            )
                        }
                    }
                    let a = x.operand(rounded: rounds)
                    expectClose(
                        y, old, accumulate: accumulate, tolerance: tolerance, "\(m)x\(n)x\(k)"
                    ) { r, c in dot(k) { (a[r * k + $0], w.meaning[c * k + $0]) } }
                }
            }
        }
    }

    /// More rows than are multiplied at once, by any number of threads, and one that is not finite.
    @Test(
        arguments: sets.map(\.mask) + [UInt32(QK_SET_AVX512 | QK_HAS_AVX512_VNNI)], [Quantization.int8, .int6, .int4])
    func forwardOfManyRowsIsTheSum(_ capabilities: UInt32, _ form: Quantization) throws {
        let (m, n, k, spoiled) = (capabilities == 0 ? 40 : 700, 210, 330, 21)
        let x = TestMatrix(m, k, stride: k + 3, seed: 8)
        x.view.at(spoiled, 200).pointee = .infinity
        try withCapabilities(capabilities) {
            let w = try Filled(form, TestMatrix(n, k, seed: 7).values, n, k)
            let results = try [1, 3].map { threads in
                let y = TestMatrix(m, n, seed: 9)
                try withExtendedLifetime((w, x, y)) {
                    try Linear.forward(y.view, x.readOnly, w.weight, compute: Compute(threads: threads))
                }
                return y.values
            }
            let a = x.operand(rounded: false)
            for row in 0..<m where row != spoiled {
                let got = results[0][row * n..<(row + 1) * n]
                #expect(got.elementsEqual(results[1][row * n..<(row + 1) * n]), "\(row)")
                for column in stride(from: row % 7, to: n, by: 7) {
                    let sum = dot(k) { (a[row * k + $0], w.meaning[column * k + $0]) }
                    let distance = abs(Double(got[row * n + column]) - sum.value)
                    #expect(distance <= Self.tolerance(form, rows: m) * sum.magnitude, "\(row), \(column)")
                }
            }
            #expect(results.allSatisfy { $0[spoiled * n..<(spoiled + 1) * n].allSatisfy { !$0.isFinite } })
        }
    }

    @Test(arguments: sets, forms) func inputGradientIsTheSum(_ set: InstructionSet, _ form: Quantization?) throws {
        for (n, k) in Self.sizes {
            for isFloat32 in form == nil ? [false, true] : [false] {
                let w = try withInstructionSet(set) {
                    try Filled(form, isFloat32: isFloat32, TestMatrix(n, k, seed: 7).values, n, k)
                }
                for (m, accumulate) in [(1, false), (3, true), (20, false)] {
                    let dy = TestMatrix(m, n, stride: n + 3, seed: 8)
                    let dx = TestMatrix(m, k, stride: k + 1, seed: 9)
                    let old = dx.values
                    let rounds = try withExtendedLifetime((w, dy, dx)) {
                        try withInstructionSet(set) {
                            try Linear.inputGradient(
                                dx.view, dy.readOnly, w.weight, accumulate: accumulate,
                                compute: Compute(threads: m % 3 + 1))
                            return !isFloat32 && qk_multiplies_bf16() != 0
                        }
                    }
                    let a = dy.operand(rounded: rounds)
                    let b = w.meaning.map { rounds ? wide(qk_bf16_from_f32(Float($0))) : $0 }
                    expectClose(dx, old, accumulate: accumulate, "\(m)x\(n)x\(k)") { r, c in
                        dot(n) { (a[r * n + $0], b[$0 * k + c]) }
                    }
                }
            }
        }
    }

    /// With few rows and with many, whoever computes it.
    @Test(arguments: sets, [(1, 0), (5, 1), (49, 0.75), (140, 1)] as [(Int, Float)])
    func float32WeightGradientIsTheSum(_ set: InstructionSet, _ c: (rows: Int, beta: Float)) throws {
        for (n, k) in Self.sizes {
            let dy = TestMatrix(c.rows, n, stride: n + 3, seed: 4)
            let x = TestMatrix(c.rows, k, stride: k + 1, seed: 5)
            let start = TestMatrix(n, k, seed: 6)
            let old = start.values
            let target = c.beta == 0 ? TestMatrix([Float](repeating: .nan, count: n * k), n, k) : start
            try withExtendedLifetime((dy, x, target)) {
                try withInstructionSet(set) {
                    let weight = Weight.float32(Float32Weight(target.view))
                    try Linear.weightGradient(
                        GradientDestination(weight, alpha: 0.5, beta: c.beta), dy.readOnly, x.readOnly, of: weight,
                        compute: Compute(threads: c.rows % 3 + 1))
                }
            }
            let (a, b) = (dy.operand(rounded: false), x.operand(rounded: false))
            expectClose(target, old, scale: Double(c.beta), accumulate: c.beta != 0, "\(c.rows)x\(n)x\(k)") {
                row, column in
                let sum = dot(c.rows) { (a[$0 * n + row], b[$0 * k + column]) }
                return (sum.value / 2, sum.magnitude / 2)
            }
        }
    }

    /// Rows of a slice, and parts of rows, are what the whole has there.
    @Test(arguments: sets, forms) func partsAreThoseOfTheWhole(_ set: InstructionSet, _ form: Quantization?) throws {
        try withInstructionSet(set) {
            let (n, k) = (9, 300)
            let w = try Filled(form, TestMatrix(n, k, seed: 3).values, n, k)
            let part = w.weight.slice(2..<7).format
            let block = type(of: part).columnBlock
            let columns = min(256, block * 2)..<k - 1
            let (wideRows, narrow) = (
                TestBuffer([Float](repeating: 7, count: 3 * columns.count)),
                TestBuffer([UInt16](repeating: 7, count: 3 * 302))
            )
            withExtendedLifetime((w, wideRows, narrow)) {
                part.widen(1..<4, columns, to: wideRows.matrix(rows: 3, columns: columns.count).base)
                part.round(1..<4, columns, to: narrow.matrix(rows: 3, columns: 302).base, padded: 302)
            }
            // Where they stand, too: each row `stride` after the one before.
            let place = part.place(1..<4, columns)
            #expect(place.start == w.weight.format.place(3..<6, columns).start)
            #expect(place.start + place.stride == part.place(2..<4, columns).start)
            #expect(place.rows == 3 && place.bytes > 0 && place.bytes <= place.stride)
            let expected = (3..<6).map { w.meaning[$0 * k + columns.lowerBound..<$0 * k + columns.upperBound] }
            #expect(wideRows.values.map(Double.init) == expected.flatMap { $0 })
            let rounded = narrow.values.map(wide)
            for (row, values) in expected.enumerated() {
                let got = rounded[row * 302..<(row + 1) * 302]
                #expect(got.prefix(columns.count).elementsEqual(values.map { wide(qk_bf16_from_f32(Float($0))) }))
                #expect(got.dropFirst(columns.count).allSatisfy { $0 == 0 })
            }
        }
    }

    /// To the nearest integer: half a step is 1/254 of the block's largest; with 6 bits 1/62 and up to two steps where the
    /// largest is cut, as the scale tried may be 32/33 of what fits, and its own error. With 4 bits a number as large as the
    /// largest and of the other sign is cut by up to two of nine steps.
    @Test(arguments: sets, [(Quantization.int8, 64, 0.501 / 127), (.int6, 64, 0.05), (.int4, 32, 0.25)])
    func quantizedIsNear(_ set: InstructionSet, _ c: (form: Quantization, block: Int, distance: Double)) throws {
        try withInstructionSet(set) {
            for (n, k) in Self.sizes {
                let source = TestMatrix(n, k, seed: 7).values
                let meaning = try Filled(c.form, source, n, k).meaning
                let far = (0..<n * k).filter { i in
                    let start = i / k * k + i % k / c.block * c.block
                    let largest = source[start..<min(start + c.block, i / k * k + k)].reduce(0) { max($0, abs($1)) }
                    return abs(meaning[i] - Double(source[i])) > Double(largest) * c.distance
                }
                #expect(far.isEmpty)
            }
        }
    }

    /// 12 bits lose nothing, whatever the weights.
    @Test(arguments: sets) func losslessLosesNothing(_ set: InstructionSet) throws {
        for (n, k) in Self.sizes {
            let scale: Float = n == 17 ? 1e30 : 1
            var w = TestMatrix(n, k, seed: 6).values.map { qk_bf16_from_f32($0 * scale) }
            // Zeros of both signs, and weights so large and small that they have no code.
            let unusual: [UInt16] = [0x0000, 0x8000, 0x0001, 0x7f00, 0x80ff, 0x2001]
            for (index, value) in unusual.enumerated() where n * k > 100 { w[(index * 37 + 5) % (n * k)] = value }
            let source = w.map { qk_f32_from_bf16($0) }
            // What one instruction set wrote is read by any other.
            let filled = try withInstructionSet(n % 2 == 0 ? .plain : set) {
                try Filled(.lossless, source, n, k)
            }
            let meaning = withInstructionSet(set) { filled.weight.values }
            #expect(meaning.map(\.bitPattern) == source.map(\.bitPattern))
        }
    }

    /// Every integer at every place of a block, in every instruction set.
    @Test(arguments: sets) func sixBits(_ set: InstructionSet) {
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

    /// The same of 4 bits.
    @Test(arguments: sets) func fourBits(_ set: InstructionSet) {
        withInstructionSet(set) {
            for turn in 0..<16 {
                let row = (0..<64).map { Float(($0 + turn) % 16 - 8) * ($0 < 32 ? 0.5 : 0.25) }
                var packed = [UInt8](repeating: 255, count: Int(QK_INT4_BYTES))
                var scales: [UInt16] = [0, 0]
                qk_quantize_int4(&packed, &scales, row, 64)
                #expect(scales.map { qk_f32_from_bf16($0) } == [0.5, 0.25])
                for (i, value) in row.enumerated() {
                    let word = Int(packed[i % 16 * 2]) | Int(packed[i % 16 * 2 + 1]) << 8
                    #expect(word >> (4 * (i / 16)) & 15 == Int(value * (i < 32 ? 2 : 4)) & 15)
                }
                var narrow = [UInt16](repeating: 7, count: 70)
                qk_bf16_from_int4(&narrow, packed, scales, 64, 70)
                #expect(narrow.map(wide) == row.map(Double.init) + [0, 0, 0, 0, 0, 0])
            }
        }
    }

    @Test(arguments: sets) func quantizingMarksWhatIsNotFinite(_ set: InstructionSet) {
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
                var six = [UInt16](repeating: 1, count: 6)
                qk_quantize_int4(&fields, &six, row, 130)
                #expect(six.map { wide($0).isNaN } == [false, false, true, false, false, false])
                qk_quantize_int4(&fields, &six, zeros, 64)
                #expect(six[0] == 0 && six[1] == 0 && fields[0] == 0)
            }
        }
    }

    @Test func upperByteCodes() {
        var counts = [Int](repeating: 0, count: 256)
        for upper in 0..<40 { counts[upper] = upper % 20 }  // 19 and 39 most often, 0 and 20 never
        let table = UpperByteCodes(counts: counts)
        #expect(table.uppers[0] == 0 && Set(table.uppers).count == 16)
        #expect(table.uppers[1...4] == [19, 39, 18, 38])
        for (code, upper) in table.uppers.enumerated() { #expect(Int(table.codes[Int(upper)]) == code) }
        #expect(table.codes.count { $0 != 0 } == 15)
        #expect(UpperByteCodes(counts: [Int](repeating: 0, count: 256)).codes.allSatisfy { $0 == 0 })
    }
}
