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

    @Test(arguments: sets) func int8(_ set: Int) throws {
        let arena = Arena(purpose: "scratch")
        for (n, k) in Self.sizes {
            let blocks = Int8Matrix.blocks(columns: k)
            var values = [Int8](repeating: 0, count: n * blocks * QK_INT8_BLOCK)
            var scales = [Float](repeating: 0, count: n * blocks)
            let source = TestMatrix(n, k, seed: 7)
            try values.withUnsafeMutableBufferPointer { values in
                try scales.withUnsafeMutableBufferPointer { scales in
                    let w = try Int8Matrix(
                        values: #require(values.baseAddress), scales: #require(scales.baseAddress), rows: n, columns: k)
                    w.quantize(source.values, rows: 0..<n)
                    let b = (0..<n * k).map { i in
                        Double(values[i / k * w.stride + i % k])
                            * Double(scales[i / k * blocks + i % k / QK_INT8_BLOCK])
                    }
                    let far = (0..<n * k).filter { i in
                        let scale = scales[i / k * blocks + i % k / QK_INT8_BLOCK]
                        return abs(b[i] - Double(source.values[i])) > 0.501 * Double(scale)
                    }
                    #expect(far.isEmpty)
                    for m in [1, 3, 8, 20] {
                        let x = TestMatrix(m, k, stride: k + 3, seed: 8)
                        var y = TestMatrix(m, n, stride: n + 1, seed: 9)
                        let old = y
                        try withInstructionSet(set) {
                            try w.forward(
                                &y.values, yStride: y.stride, x.values, xStride: x.stride, rows: m, arena: arena,
                                threads: 2)
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
        }
    }

    @Test func quantizingMarksWhatIsNotFinite() {
        for bad in [Float.nan, .infinity, -.infinity] {
            var row = [Float](repeating: 0.5, count: 130)
            row[70] = bad
            var values = [Int8](repeating: 1, count: 192)
            var scales = [Float](repeating: 1, count: 3)
            qk_quantize_int8(&values, &scales, row, 130)
            #expect(scales[0] == 0.5 / 127 && scales[1].isNaN && scales[2] == 0.5 / 127)
            let zeros = [Float](repeating: 0, count: 64)
            qk_quantize_int8(&values, &scales, zeros, 64)
            #expect(scales[0] == 0 && values[0] == 0)
        }
    }
}
