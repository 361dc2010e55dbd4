import Glibc
import QwenSFTCore
import Testing

/// Forward and backward of the layers without attention: values against plain definitions in double precision, gradients
/// against finite differences of those.
@Suite(.serialized, .processWide) struct LayerGradientTests {
    let compute = Compute()

    @Test(arguments: [1, 2, 3], [(1, 1), (5, 7), (4, 64), (9, 100)])
    func rmsNorm(threads: Int, size: (rows: Int, width: Int)) throws {
        try with(threads: threads) {
            var noise = Noise(size.width)
            let (rows, n) = size
            let (x, w, dy) = (noise.floats(rows * n), noise.floats(n, around: 1), noise.floats(rows * n))
            func plain(_ x: [Double], _ w: [Double]) -> [Double] {
                (0..<rows).flatMap { row in
                    let v = x[row * n..<(row + 1) * n]
                    let r = 1 / (v.reduce(0) { $0 + $1 * $1 } / Double(n) + 1e-3).squareRoot()
                    return zip(v, w).map { $0 * r * $1 }
                }
            }
            let (input, weight, dOut) = (TestMatrix(x, rows, n), TestMatrix(w, 1, n), TestMatrix(dy, rows, n))
            let y = TestMatrix([Float](repeating: .nan, count: rows * n), rows, n)
            let r = TestMatrix([Float](repeating: .nan, count: rows), 1, rows)
            let dx = TestMatrix([Float](repeating: 0, count: rows * n), rows, n)
            let dw = TestMatrix([Float](repeating: 0, count: n), 1, n)
            try withExtendedLifetime((input, weight, dOut, y, r, dx, dw)) {
                RMSNorm.forward(
                    y.view, reciprocal: r.view, input.readOnly, weight: weight.readOnly, epsilon: 1e-3,
                    compute: compute)
                try RMSNorm.backward(
                    dx.view, dw.view, reciprocal: r.readOnly, dy: dOut.readOnly, x: input.readOnly,
                    weight: weight.readOnly, compute: compute)
            }
            #expect(worst(y.values, plain(x.doubles, w.doubles)) < 1e-6)
            expectGradient(dx.values, at: x.doubles) { dot(plain($0, w.doubles), dy) }
            expectGradient(dw.values, at: w.doubles) { dot(plain(x.doubles, $0), dy) }
        }
    }

    /// The norm of heads that stand in wider rows, and the rotation behind it, as attention's queries and keys take them.
    @Test(arguments: [1, 2, 3], [(1, 1, 2), (5, 3, 6), (7, 2, 64)])
    func normOfHeadsThenRotation(threads: Int, size: (rows: Int, heads: Int, d: Int)) throws {
        try with(threads: threads) {
            let (rows, heads, d) = size
            let (width, ld) = (heads * d, heads * d + 5)
            var noise = Noise(width)
            let positions = (0..<rows).map { Int32($0 * $0) }
            let (x, w, dy) = (noise.floats(rows * ld), noise.floats(d, around: 1), noise.floats(rows * ld))
            func plain(_ x: [Double], _ w: [Double]) -> [Double] {
                var y = [Double](repeating: 0, count: rows * ld)
                for row in 0..<rows {
                    for at in stride(from: row * ld, to: row * ld + width, by: d) {
                        let r = 1 / (x[at..<at + d].reduce(0) { $0 + $1 * $1 } / Double(d) + 1e-3).squareRoot()
                        for i in 0..<d / 2 {
                            let angle = Double(positions[row]) * pow(1e4, -2 * Double(i) / Double(d))
                            let (a, b) = (x[at + i] * r * w[i], x[at + i + d / 2] * r * w[i + d / 2])
                            y[at + i] = a * cos(angle) - b * sin(angle)
                            y[at + i + d / 2] = a * sin(angle) + b * cos(angle)
                        }
                    }
                }
                return y
            }
            // Gaps between the rows are neither read nor written.
            let gaps = x.indices.map { $0 % ld < width ? x[$0] : .nan }
            let zeros = [Float](repeating: 0, count: rows * ld)
            let (input, y, dOut) = (TestBuffer(gaps), TestBuffer(zeros), TestBuffer(dy))
            let (dx, weight, dw) = (TestBuffer(zeros), TestMatrix(w, 1, d), TestMatrix(Array(zeros.prefix(d)), 1, d))
            let r = TestMatrix([Float](repeating: .nan, count: rows * heads), 1, rows * heads)
            func rowsOf(_ buffer: TestBuffer<Float>) -> MutableMatrix<Float> {
                buffer.matrix(rows: rows, columns: width, stride: ld)
            }
            let rotary = RotaryEmbedding(theta: 1e4, headDimension: d)
            rotary.reserve(rows * rows)
            try withExtendedLifetime((input, y, dOut, dx, weight, dw, r)) {
                RMSNorm.forward(
                    rowsOf(y), reciprocal: r.view, rowsOf(input).readOnly, weight: weight.readOnly, epsilon: 1e-3,
                    compute: compute)
                rotary.forward(rowsOf(y), bias: nil, positions: positions, heads: heads, compute: compute)
                rotary.backward(rowsOf(dOut), positions: positions, heads: heads, compute: compute)
                try RMSNorm.backward(
                    rowsOf(dx), dw.view, reciprocal: r.readOnly, dy: rowsOf(dOut).readOnly, x: rowsOf(input).readOnly,
                    weight: weight.readOnly, compute: compute)
            }
            // An angle of 36 is rounded by up to 2e-6.
            #expect(worst(y.values, plain(x.doubles, w.doubles)) < 4e-6)
            let used = dy.indices.map { $0 % ld < width ? dy[$0] : 0 }
            expectGradient(dx.values, at: x.doubles, samples: 200) { dot(plain($0, w.doubles), used) }
            expectGradient(dw.values, at: w.doubles) { dot(plain(x.doubles, $0), used) }
        }
    }

    @Test(arguments: [1, 2, 3])
    func rotaryEmbedding(threads: Int) throws {
        with(threads: threads) {
            var noise = Noise(3)
            // Rows are wider than their rotated heads: values stand behind them.
            let (rows, heads, d, ld) = (7, 3, 6, 24)
            let positions: [Int32] = [0, 1, 2, 0, 1, 40, 41]
            let x = noise.floats(rows * ld)
            let bias = noise.floats(ld)
            let dy = noise.floats(rows * ld)
            func plain(_ x: [Double]) -> [Double] {
                var y = x
                for row in 0..<rows {
                    for column in 0..<ld { y[row * ld + column] += Double(bias[column]) }
                    for head in 0..<heads {
                        for i in 0..<d / 2 {
                            let angle = Double(positions[row]) * pow(1e4, -2 * Double(i) / Double(d))
                            let at = row * ld + head * d + i
                            let (a, b) = (y[at], y[at + d / 2])
                            y[at] = a * cos(angle) - b * sin(angle)
                            y[at + d / 2] = a * sin(angle) + b * cos(angle)
                        }
                    }
                }
                return y
            }
            let rotary = RotaryEmbedding(theta: 1e4, headDimension: d)
            rotary.reserve(3)
            rotary.reserve(42)  // growing keeps what is there
            let (y, dx, shift) = (TestMatrix(x, rows, ld), TestMatrix(dy, rows, ld), TestMatrix(bias, 1, ld))
            withExtendedLifetime((y, dx, shift)) {
                rotary.forward(y.view, bias: shift.readOnly, positions: positions, heads: heads, compute: compute)
                rotary.backward(dx.view, positions: positions, heads: heads, compute: compute)
            }
            // An angle of 41 is rounded by up to 2e-6.
            #expect(worst(y.values, plain(x.doubles)) < 4e-6)
            expectGradient(dx.values, at: x.doubles, samples: 200) { dot(plain($0), dy) }
        }
    }

    @Test(arguments: [1, 2, 3], [(1, 1), (5, 7), (4, 37), (3, 64)])
    func swiGLU(threads: Int, size: (rows: Int, width: Int)) {
        with(threads: threads) {
            var noise = Noise(size.width)
            let (rows, n) = size
            let gu = noise.floats(rows * 2 * n, scale: 4)
            let dy = noise.floats(rows * n)
            func plain(_ gu: [Double]) -> [Double] {
                (0..<rows).flatMap { row in
                    (0..<n).map { gu[row * 2 * n + $0] / (1 + exp(-gu[row * 2 * n + $0])) * gu[row * 2 * n + n + $0] }
                }
            }
            let nothing = [Float](repeating: .nan, count: rows * n)
            let (y, again, dOut) = (
                TestMatrix(nothing, rows, n), TestMatrix(nothing, rows, n), TestMatrix(dy, rows, n)
            )
            let gradient = TestMatrix(gu, rows, 2 * n)
            withExtendedLifetime((y, again, dOut, gradient)) {
                SwiGLU.forward(y.view, gateUp: gradient.readOnly, compute: compute)
                SwiGLU.backward(gradient.view, y: again.view, dy: dOut.readOnly, compute: compute)
            }
            #expect(worst(y.values, plain(gu.doubles)) < 1e-6)
            #expect(worst(again.values, plain(gu.doubles)) < 1e-6)
            expectGradient(gradient.values, at: gu.doubles, samples: 80) { dot(plain($0), dy) }
        }
    }

    /// Products and their bias with distances between rows, into old values and onto them, and straight into the weight.
    @Test(arguments: [1, 2, 3], [(1, 1, 1), (3, 5, 7), (6, 40, 33), (20, 17, 64)])
    func linear(threads: Int, size: (rows: Int, outputs: Int, inputs: Int)) throws {
        try with(threads: threads) {
            let (rows, n, k) = size
            var noise = Noise(n * k)
            let (ldx, ldy) = (k + 2, n + 3)
            let (x, dy) = (noise.floats(rows * ldx), noise.floats(rows * ldy))
            let (w, b) = (noise.floats(n * k), noise.floats(n))
            func plain(_ x: [Double], _ w: [Double], _ b: [Double]) -> [Double] {
                var y = [Double](repeating: 0, count: rows * ldy)
                for row in 0..<rows {
                    for o in 0..<n {
                        y[row * ldy + o] = (0..<k).reduce(b[o]) { $0 + x[row * ldx + $1] * w[o * k + $1] }
                    }
                }
                return y
            }
            func loss(_ x: [Double], _ w: [Double], _ b: [Double]) -> Double { dot(plain(x, w, b), dy) }
            func zeros(_ rows: Int, _ columns: Int) -> TestBuffer<Float> {
                TestBuffer([Float](repeating: 0, count: rows * columns))
            }
            let (stored, input, dOut) = (TestBuffer(w), TestBuffer(x), TestBuffer(dy))
            let (out, dIn, dBias, dWeight) = (zeros(rows, ldy), zeros(rows, ldx), zeros(1, n), zeros(n, k))
            try withExtendedLifetime((stored, input, dOut, out, dIn, dBias, dWeight)) {
                let weight = Weight.float32(Float32Weight(stored.matrix(rows: n, columns: k)))
                let y = out.matrix(rows: rows, columns: n, stride: ldy)
                let dx = dIn.matrix(rows: rows, columns: k, stride: ldx)
                let x32 = input.matrix(rows: rows, columns: k, stride: ldx).readOnly
                let dy32 = dOut.matrix(rows: rows, columns: n, stride: ldy).readOnly
                try Linear.forward(y, x32, weight, compute: compute)
                let exact = plain(x.doubles, w.doubles, [Double](repeating: 0, count: n))
                #expect(worst(out.values, exact) < 2e-6)
                try Linear.forward(y, x32, weight, accumulate: true, compute: compute)
                #expect(worst(out.values, exact.map { 2 * $0 }) < 2e-6)

                try Linear.inputGradient(dx, dy32, weight, compute: compute)
                let once = dIn.values
                expectGradient(once, at: x.doubles) { loss($0, w.doubles, b.doubles) }
                try Linear.inputGradient(dx, dy32, weight, accumulate: true, compute: compute)
                #expect(worst(dIn.values, once.map { 2 * Double($0) }) < 1e-6)

                Bias.backward(dBias.matrix(rows: 1, columns: n), dy: dy32, compute: compute)
                expectGradient(dBias.values, at: b.doubles) { loss(x.doubles, w.doubles, $0) }

                let buffer = Weight.float32(Float32Weight(dWeight.matrix(rows: n, columns: k)))
                try Linear.weightGradient(GradientDestination(buffer), dy32, x32, of: weight, compute: compute)
                let dw = dWeight.values
                expectGradient(dw, at: w.doubles) { loss(x.doubles, $0, b.doubles) }
                try Linear.weightGradient(GradientDestination(buffer), dy32, x32, of: weight, compute: compute)
                #expect(worst(dWeight.values, dw.map { 2 * Double($0) }) < 1e-6)
                #expect(stored.values == w)
                try Linear.weightGradient(
                    GradientDestination(weight, alpha: -0.1, beta: 0.9), dy32, x32, of: weight, compute: compute)
                #expect(worst(stored.values, zip(w, dw).map { 0.9 * Double($0) - 0.1 * Double($1) }) < 1e-6)
            }
        }
    }

    @Test(arguments: [1, 2, 3])
    func embedding(threads: Int) throws {
        try with(threads: threads) {
            var noise = Noise(5)
            let (vocabulary, width) = (11, 9)
            let ids: [Int32] = [3, 0, 3, 10, 3, 7, 10]  // some several times, some never
            let (table, dy) = (noise.floats(vocabulary * width), noise.floats(ids.count * width))
            func plain(_ table: [Double]) -> [Double] {
                ids.flatMap { table[Int($0) * width..<(Int($0) + 1) * width] }
            }
            let zeros = [Float](repeating: 0, count: table.count)
            let (stored, buffer) = (TestMatrix(table, vocabulary, width), TestMatrix(zeros, vocabulary, width))
            let (y, dOut) = (TestMatrix(dy, ids.count, width), TestMatrix(dy, ids.count, width))
            try withExtendedLifetime((stored, buffer, y, dOut)) {
                let weight = Weight.float32(Float32Weight(stored.view))
                Embedding.forward(y.view, ids: ids, table: weight, compute: compute)
                #expect(worst(y.values, plain(table.doubles)) == 0)
                for target in [
                    GradientDestination(.float32(Float32Weight(buffer.view))),
                    GradientDestination(weight, alpha: -0.1),
                ] {
                    try Embedding.backward(target, ids: ids, dy: dOut.readOnly, compute: compute)
                }
            }
            let (gradient, updated) = (buffer.values, stored.values)
            expectGradient(gradient, at: table.doubles, samples: 99) { dot(plain($0), dy) }
            #expect(worst(updated, zip(table, gradient).map { Double($0) - 0.1 * Double($1) }) < 2e-7)
            // Rows that were not read keep their bits.
            for id in [1, 2, 4, 5, 6, 8, 9] {
                #expect(updated[id * width..<(id + 1) * width] == table[id * width..<(id + 1) * width])
            }
        }
    }
}
