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
            var y = [Float](repeating: .nan, count: rows * n)
            var r = [Float](repeating: .nan, count: rows)
            RMSNorm.forward(&y, reciprocal: &r, x: x, weight: w, rows: rows, width: n, epsilon: 1e-3, compute: compute)
            #expect(worst(y, plain(x.doubles, w.doubles)) < 1e-6)
            var dx = [Float](repeating: 0, count: rows * n)
            var dw = [Float](repeating: 0, count: n)
            try RMSNorm.backward(
                &dx, &dw, reciprocal: r, dy: dy, x: x, weight: w, rows: rows, width: n, compute: compute)
            expectGradient(dx, at: x.doubles) { dot(plain($0, w.doubles), dy) }
            expectGradient(dw, at: w.doubles) { dot(plain(x.doubles, $0), dy) }
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
            var y = x
            rotary.forward(&y, ld: ld, bias: bias, positions: positions, rows: rows, heads: heads, compute: compute)
            // An angle of 41 is rounded by up to 2e-6.
            #expect(worst(y, plain(x.doubles)) < 4e-6)
            var dx = dy
            rotary.backward(&dx, ld: ld, positions: positions, rows: rows, heads: heads, compute: compute)
            expectGradient(dx, at: x.doubles, samples: 200) { dot(plain($0), dy) }
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
            var y = [Float](repeating: .nan, count: rows * n)
            var again = y
            SwiGLU.forward(&y, gateUp: gu, rows: rows, width: n, compute: compute)
            #expect(worst(y, plain(gu.doubles)) < 1e-6)
            var gradient = gu
            SwiGLU.backward(&gradient, y: &again, dy: dy, rows: rows, width: n, compute: compute)
            #expect(worst(again, plain(gu.doubles)) < 1e-6)
            expectGradient(gradient, at: gu.doubles, samples: 80) { dot(plain($0), dy) }
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
            var stored = w
            try stored.withUnsafeMutableBytes { bytes in
                let weight = Weight(elements: bytes.baseAddress!, dtype: .float32, rows: n, columns: k, offset: 0)
                var y = [Float](repeating: 0, count: rows * ldy)
                try Linear.forward(&y, ldy: ldy, x: x, ldx: ldx, weight: weight, rows: rows, compute: compute)
                let exact = plain(x.doubles, w.doubles, [Double](repeating: 0, count: n))
                #expect(worst(y, exact) < 2e-6)
                try Linear.forward(
                    &y, ldy: ldy, x: x, ldx: ldx, weight: weight, rows: rows, accumulate: true, compute: compute)
                #expect(worst(y, exact.map { 2 * $0 }) < 2e-6)

                func loss(_ x: [Double], _ w: [Double], _ b: [Double]) -> Double { dot(plain(x, w, b), dy) }
                var dx = [Float](repeating: 0, count: rows * ldx)
                try Linear.inputGradient(&dx, ldx: ldx, dy: dy, ldy: ldy, weight: weight, rows: rows, compute: compute)
                expectGradient(dx, at: x.doubles) { loss($0, w.doubles, b.doubles) }
                let once = dx
                try Linear.inputGradient(
                    &dx, ldx: ldx, dy: dy, ldy: ldy, weight: weight, rows: rows, accumulate: true, compute: compute)
                #expect(worst(dx, once.map { 2 * Double($0) }) < 1e-6)

                var db = [Float](repeating: 0, count: n)
                Bias.backward(&db, dy: dy, ld: ldy, rows: rows, width: n, compute: compute)
                expectGradient(db, at: b.doubles) { loss(x.doubles, w.doubles, $0) }

                var dw = [Float](repeating: 0.5, count: n * k)
                try dw.withUnsafeMutableBufferPointer {
                    try Linear.weightGradient(
                        .buffer($0.baseAddress!), dy: dy, ldy: ldy, x: x, ldx: ldx, weight: weight, rows: rows,
                        compute: compute)
                }
                dw = dw.map { $0 - 0.5 }
                expectGradient(dw, at: w.doubles) { loss(x.doubles, $0, b.doubles) }
                #expect(
                    Array(UnsafeBufferPointer(start: bytes.bindMemory(to: Float.self).baseAddress!, count: n * k)) == w)
                let rounding = UpdateRounding(isStochastic: false, seed: 0, step: 0)
                try Linear.weightGradient(
                    .update(rate: 0.1, shrink: 0.9, rounding: rounding), dy: dy, ldy: ldy, x: x, ldx: ldx,
                    weight: weight,
                    rows: rows, compute: compute)
                let updated = Array(
                    UnsafeBufferPointer(start: bytes.bindMemory(to: Float.self).baseAddress!, count: n * k))
                #expect(worst(updated, zip(w, dw).map { 0.9 * Double($0) - 0.1 * Double($1) }) < 1e-6)
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
            var stored = table
            try stored.withUnsafeMutableBytes { bytes in
                let weight = Weight(
                    elements: bytes.baseAddress!, dtype: .float32, rows: vocabulary, columns: width, offset: 0)
                var y = [Float](repeating: .nan, count: ids.count * width)
                Embedding.forward(&y, ids: ids, table: weight, rows: ids.count, compute: compute)
                #expect(worst(y, plain(table.doubles)) == 0)
                var gradient = [Float](repeating: 0, count: table.count)
                try gradient.withUnsafeMutableBufferPointer {
                    try Embedding.backward(
                        .buffer($0.baseAddress!), ids: ids, dy: dy, table: weight, rows: ids.count, compute: compute)
                }
                expectGradient(gradient, at: table.doubles, samples: 99) { dot(plain($0), dy) }
                let rounding = UpdateRounding(isStochastic: false, seed: 0, step: 0)
                try Embedding.backward(
                    .update(rate: 0.1, shrink: 0.5, rounding: rounding), ids: ids, dy: dy, table: weight,
                    rows: ids.count,
                    compute: compute)
                let updated = Array(
                    UnsafeBufferPointer(start: bytes.bindMemory(to: Float.self).baseAddress!, count: table.count))
                #expect(worst(updated, zip(table, gradient).map { Double($0) - 0.1 * Double($1) }) < 2e-7)
                // Rows that were not read keep their bits.
                for id in [1, 2, 4, 5, 6, 8, 9] {
                    #expect(updated[id * width..<(id + 1) * width] == table[id * width..<(id + 1) * width])
                }
            }
        }
    }
}
