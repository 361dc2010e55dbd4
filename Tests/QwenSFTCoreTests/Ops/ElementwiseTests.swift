import CKernels
import Glibc
import QwenSFTCore
import Testing

/// Every elementwise kernel, for every instruction set, against its definition in double precision.
///
/// Sizes are around the widths of vectors and those of real models. The tolerances are a few units of float32's rounding
/// (6e-8), more where a sum or an exponential is in it.
@Suite(.serialized, .processWide) struct ElementwiseTests {
    static let sizes = [1, 2, 7, 15, 16, 17, 31, 33, 64, 100, 896]

    // MARK: Exponential

    @Test func exponentialIsExactToAUnit() {
        let count = 400_001
        // Results from 2^-126 on; below, it is 0.
        let x = (0..<count).map { Float(-87.3 + 176.0 * Double($0) / Double(count - 1)) }
        onEveryInstructionSet { isa in
            var y = x
            qk_exp_scaled(&y, count, 0, 1)
            var most = 0.0
            for (x, y) in zip(x, y) {
                let exact = exp(Double(x))
                most = max(most, abs(Double(y) - exact) / Double(Float(exact).ulp))
            }
            #expect(most < (isa == QK_ISA_SCALAR ? 1.3 : 1.0), "instruction set \(isa)")
        }
    }

    @Test func exponentialAtTheEdges() {
        let x: [Float] = [0, -0.0, -87.4, -1e30, -.infinity, 88.73, 1e30, .infinity, .nan, -.leastNonzeroMagnitude]
        let expected: [Float] = [1, 1, 0, 0, 0, .infinity, .infinity, .infinity, .nan, 1]
        onEveryInstructionSet { isa in
            // Each value alone and among others: tails and whole vectors.
            for copies in [1, 3, 16] {
                var y = x.flatMap { [Float](repeating: $0, count: copies) }
                qk_exp_scaled(&y, y.count, 0, 1)
                for (index, value) in y.enumerated() {
                    let wanted = expected[index / copies]
                    #expect(value == wanted || (value.isNaN && wanted.isNaN), "exp(\(x[index / copies])), \(isa)")
                }
            }
        }
    }

    // MARK: Layers

    @Test func rmsNorm() {
        for n in Self.sizes {
            for scale: Float in [1, 1e-4, 3e4] {
                var noise = Noise(n)
                let rows = 3
                let (x, dy) = (noise.floats(rows * n, scale: scale), noise.floats(rows * n))
                let (w, oldX, oldW) = (noise.floats(n, around: 1), noise.floats(rows * n), noise.floats(n))
                let eps = 1e-6
                var y: [Double] = []
                var dx = oldX.doubles
                var dw = oldW.doubles
                for row in 0..<rows {
                    let v = x[row * n..<(row + 1) * n].map(Double.init)
                    let d = dy[row * n..<(row + 1) * n].map(Double.init)
                    let r = 1 / (v.reduce(0) { $0 + $1 * $1 } / Double(n) + Double(Float(eps))).squareRoot()
                    let mean = (0..<n).reduce(0) { $0 + d[$1] * Double(w[$1]) * v[$1] } / Double(n)
                    for i in 0..<n {
                        y.append(v[i] * r * Double(w[i]))
                        dx[row * n + i] += r * d[i] * Double(w[i]) - v[i] * r * r * r * mean
                        dw[i] += d[i] * v[i] * r
                    }
                }
                onEveryInstructionSet { isa in
                    var out = [Float](repeating: .nan, count: rows * n)
                    var rstd = [Float](repeating: .nan, count: rows)
                    qk_rmsnorm_forward(&out, &rstd, x, w, rows, n, Float(eps))
                    #expect(worst(out, y) < 1e-6, "\(n) \(isa)")
                    var (gx, gw) = (oldX, oldW)
                    qk_rmsnorm_backward(&gx, &gw, dy, x, w, rstd, rows, n)
                    // A gradient to x of size r: compared with that, because it cancels where there is one column.
                    let size = dx.reduce(Double(rstd.max() ?? 0)) { max($0, abs($1)) }
                    #expect(worst(gx, dx, scale: size) < 2e-6, "\(n) \(isa)")
                    #expect(worst(gw, dw) < 2e-6, "\(n) \(isa)")
                    var again = oldX
                    qk_rmsnorm_backward(&again, nil, dy, x, w, rstd, rows, n)
                    #expect(again.bits == gx.bits)
                }
            }
        }
    }

    @Test func rotation() {
        for half in [1, 3, 8, 16, 31, 32, 64] {
            var noise = Noise(half)
            let heads = 3
            let x = noise.floats(heads * 2 * half)
            let angles = noise.floats(half, scale: 3)
            let (c, s) = (angles.map(cosf), angles.map(sinf))
            var expected = x.doubles
            for head in 0..<heads {
                for i in 0..<half {
                    let (a, b) = (Double(x[head * 2 * half + i]), Double(x[head * 2 * half + half + i]))
                    expected[head * 2 * half + i] = a * Double(c[i]) - b * Double(s[i])
                    expected[head * 2 * half + half + i] = b * Double(c[i]) + a * Double(s[i])
                }
            }
            onEveryInstructionSet { isa in
                var y = x
                qk_rope(&y, c, s, heads, half)
                #expect(worst(y, expected) < 2e-7, "\(half) \(isa)")
            }
        }
    }

    @Test func swiGLU() {
        for n in Self.sizes {
            var noise = Noise(n)
            let rows = 3
            var gu = noise.floats(rows * 2 * n, scale: 6)
            let dy = noise.floats(rows * n)
            // Where the exponential is 0, 1, overflows or is cut.
            for (index, value) in [Float(0), -0.0, 90, -90, 88.5, -87.35, 1e4, -1e4, 1e30, -1e30].enumerated() {
                gu[index * 2 * n / 10 % (2 * n) / 2] = value
            }
            let sigmoid = { (x: Double) in 1 / (1 + exp(-x)) }
            var y: [Double] = []
            var d = gu.doubles
            for row in 0..<rows {
                for i in 0..<n {
                    let (g, u) = (Double(gu[row * 2 * n + i]), Double(gu[row * 2 * n + n + i]))
                    let s = sigmoid(g)
                    let dy = Double(dy[row * n + i])
                    y.append(g * s * u)
                    d[row * 2 * n + i] = dy * u * (s + g * s * (1 - s))
                    d[row * 2 * n + n + i] = dy * g * s
                }
            }
            onEveryInstructionSet { isa in
                var out = [Float](repeating: .nan, count: rows * n)
                qk_swiglu_forward(&out, gu, rows, n)
                #expect(closeOneByOne(out, y), "\(n) \(isa)")
                var gradient = gu
                var again = [Float](repeating: .nan, count: rows * n)
                qk_swiglu_backward(&gradient, &again, dy, rows, n)
                #expect(closeOneByOne(again, y), "\(n) \(isa)")
                #expect(closeOneByOne(gradient, d), "\(n) \(isa)")
            }
        }
    }

    /// Within 1e-6 of each value's own size, or of 1 where it is smaller.
    private func closeOneByOne(_ actual: [Float], _ expected: [Double]) -> Bool {
        zip(actual, expected).allSatisfy { abs(Double($0) - $1) <= 1e-6 * max(1, abs($1)) }
    }

    // MARK: Softmax

    /// Scores of a few rows in blocks of columns, as attention walks them: what the blocks add up to is the softmax of all.
    @Test func softmaxInBlocks() {
        for n in [1, 7, 16, 31, 64, 100] {
            for spread: Float in [1, 50, 1e4] {
                for first in [1, n / 2 + 1, n, n + 9] {
                    var noise = Noise(n + first)
                    let rows = 5
                    let ld = 2 * n + 3
                    let scale: Float = 0.37
                    let scores = noise.floats(rows * ld, scale: spread)
                    onEveryInstructionSet { isa in
                        softmaxInBlocks(
                            scores, rows: rows, ld: ld, blocks: [0..<n, n..<n + n], first: first, scale: scale, isa)
                    }
                }
            }
        }
    }

    private func softmaxInBlocks(
        _ scores: [Float], rows: Int, ld: Int, blocks: [Range<Int>], first: Int, scale: Float, _ isa: Int
    ) {
        var p = scores
        var (top, sum) = (
            [Float](repeating: -.greatestFiniteMagnitude, count: rows), [Float](repeating: 0, count: rows)
        )
        var rescales: [[Float]] = []
        for block in blocks {
            var rescale = [Float](repeating: .nan, count: rows)
            p.withUnsafeMutableBufferPointer {
                qk_softmax_block(
                    $0.baseAddress! + block.lowerBound, ld, rows, block.count, first - block.lowerBound, scale, &top,
                    &sum,
                    &rescale)
            }
            rescales.append(rescale)
        }
        let delta = [Float](repeating: 0.25, count: rows)
        let lse = (0..<rows).map { top[$0] + logf(sum[$0]) }
        var again = scores
        var dp = scores
        for block in blocks {
            again.withUnsafeMutableBufferPointer { again in
                dp.withUnsafeMutableBufferPointer { dp in
                    qk_softmax_block_backward(
                        again.baseAddress! + block.lowerBound, dp.baseAddress! + block.lowerBound, ld, rows,
                        block.count,
                        first - block.lowerBound, scale, lse, delta)
                }
            }
        }
        let width = blocks.reduce(0) { $0 + $1.count }
        for row in 0..<rows {
            let seen = min(first + row, width)
            let x = (0..<seen).map { Double(scores[row * ld + $0]) * Double(scale) }
            let most = x.max() ?? 0
            let total = x.reduce(0) { $0 + exp($1 - most) }
            // The exponent's rounding is relative to the score.
            let tolerance = 2e-6 + 2.5e-7 * max(abs(most), x.map(abs).max() ?? 0)
            for column in 0..<width {
                let exact = column < seen ? exp(x[column] - most) / total : 0
                var factor: Float = 1
                for (block, rescale) in zip(blocks, rescales) where block.lowerBound > column { factor *= rescale[row] }
                let value = p[row * ld + column] * factor / sum[row]
                #expect(abs(Double(value) - exact) <= tolerance, "row \(row) column \(column) of \(width), \(isa)")
                #expect(abs(Double(again[row * ld + column]) - exact) <= tolerance)
                let slope = exact * (Double(scores[row * ld + column]) - 0.25) * Double(scale)
                let size = max(1, abs(Double(scores[row * ld + column])))
                #expect(abs(Double(dp[row * ld + column]) - slope) <= tolerance * size)
                if column >= seen { #expect(p[row * ld + column] == 0 && dp[row * ld + column] == 0) }
            }
            for column in width..<ld { #expect(p[row * ld + column] == scores[row * ld + column], "beyond the block") }
        }
    }

    /// The softmax that rounds its exponentials to bfloat16 for the product that follows, beside the one that does not.
    @Test func roundedSoftmax() {
        for (cols, first) in [(1, 1), (2, 0), (31, 4), (64, 64), (100, -2), (255, 250), (256, 1)] {
            for spread: Float in [1, 50, 1e4] {
                var noise = Noise(cols + first)
                let (rows, ld, scale) = (5, cols + 8, Float(0.37))
                let scores = noise.floats(rows * ld, scale: spread)
                onEveryInstructionSet { isa in
                    var plain = scores
                    var out = [UInt16](repeating: 7, count: rows * ld)
                    var (top, sum) = ([Float](repeating: 0.5, count: rows), [Float](repeating: 3, count: rows))
                    var (top2, sum2) = (top, sum)
                    var (rescale, rescale2) = (top, top)
                    qk_softmax_block(&plain, ld, rows, cols, first, scale, &top, &sum, &rescale)
                    qk_softmax_block_bf16(&out, ld, scores, ld, rows, cols, first, scale, &top2, &sum2, &rescale2)
                    for row in 0..<rows {
                        // An exponent's rounding is relative to the score; bfloat16 has 8 bits.
                        let exponent = 3e-7 * scale * spread + 2e-6
                        #expect(abs(top[row] - top2[row]) <= 2e-7 * abs(top[row]), "\(isa)")
                        #expect(abs(sum[row] - sum2[row]) <= exponent * sum[row], "\(isa)")
                        #expect(abs(rescale[row] - rescale2[row]) <= exponent, "\(isa)")
                        for column in 0..<cols {
                            let (a, b) = (plain[row * ld + column], qk_f32_from_bf16(out[row * ld + column]))
                            #expect(
                                abs(a - b) <= (exponent + 0x1p-8) * a + 1e-38, "row \(row) column \(column), \(isa)")
                        }
                        if cols % 2 == 1 { #expect(out[row * ld + cols] == 0) }
                        #expect(out[(row * ld + cols + cols % 2)..<((row + 1) * ld)].allSatisfy { $0 == 7 })
                    }
                }
            }
        }
    }

    /// The same of scores that lie transposed, forward and backward, beside the kernels that go by rows.
    @Test func softmaxByColumns() {
        for (keys, queries, first) in [(1, 1, 1), (2, 16, 1), (31, 20, 4), (64, 64, 64), (65, 33, -7), (128, 64, 60)] {
            for spread: Float in [1, 50, 1e4] {
                var noise = Noise(keys + first)
                let (width, ld, scale) = ((queries + 15) / 16 * 16, 70, Float(0.37))
                let scores = noise.floats(keys * ld, scale: spread)  // (keys, queries)
                let slopes = noise.floats(keys * ld)
                func rows(_ x: [Float]) -> [Float] {
                    (0..<width).flatMap { query in (0..<keys).map { x[$0 * ld + query] } }
                }
                let delta = noise.floats(width)
                for isa in [QK_ISA_SCALAR, QK_ISA_AVX512_BF16] where isa <= qk_cpu_isa() {
                    withInstructionSet(Int(isa)) {
                        var plain = rows(scores)
                        let pairs = (keys + 1) / 2
                        var panel = [UInt16](repeating: 7, count: pairs * width * 2 + 1)
                        func element(_ key: Int, _ query: Int) -> Float {
                            qk_f32_from_bf16(panel[key / 2 * width * 2 + query * 2 + key % 2])
                        }
                        var (top, sum) = ([Float](repeating: 0.5, count: width), [Float](repeating: 3, count: width))
                        var (top2, sum2) = (top, sum)
                        var (rescale, rescale2) = (top, top)
                        qk_softmax_block(&plain, keys, width, keys, first, scale, &top, &sum, &rescale)
                        qk_softmax_columns(
                            &panel, scores, ld, keys, width, first, scale, &top2, &sum2, &rescale2)
                        // An exponent's rounding is relative to the score; bfloat16 has 8 bits.
                        let exponent = 3e-7 * scale * spread + 2e-6
                        for query in 0..<width {
                            #expect(abs(top[query] - top2[query]) <= 2e-7 * abs(top[query]), "\(isa)")
                            #expect(abs(sum[query] - sum2[query]) <= exponent * sum[query], "\(isa)")
                            #expect(abs(rescale[query] - rescale2[query]) <= exponent, "\(isa)")
                            for key in 0..<keys {
                                let (a, b) = (plain[query * keys + key], element(key, query))
                                #expect(
                                    abs(a - b) <= (exponent + 0x1p-8) * a + 2e-38, "key \(key) query \(query), \(isa)")
                            }
                            if keys % 2 == 1 { #expect(element(keys, query) == 0) }
                        }
                        #expect(panel.last == 7)

                        // A score that is not 0 is far from all others here, so the log-sum-exp stays near the largest.
                        let lse = zip(top, sum).map { $0 + logf($1) }
                        var (p, dp) = (rows(scores), rows(slopes))
                        qk_softmax_block_backward(&p, &dp, keys, width, keys, first, scale, lse, delta)
                        var p2 = [UInt16](repeating: 7, count: keys * ld)
                        var ds2 = p2
                        qk_softmax_columns_backward(
                            &p2, &ds2, ld, &panel, scores, slopes, ld, keys, width, first, scale, lse, delta)
                        for query in 0..<width {
                            for key in 0..<keys {
                                let (a, slope) = (p[query * keys + key], dp[query * keys + key])
                                let error = exponent + 0x1p-8
                                #expect(abs(a - qk_f32_from_bf16(p2[key * ld + query])) <= error * a + 2e-38)
                                let ds = qk_f32_from_bf16(ds2[key * ld + query])
                                // dp - delta is a difference of numbers up to 1.
                                #expect(abs(slope - ds) <= error * abs(slope) + 3e-7 * a * scale + 2e-38)
                                #expect(ds == element(key, query))
                            }
                            if keys % 2 == 1 { #expect(element(keys, query) == 0) }
                        }
                        for key in 0..<keys {
                            #expect(p2[(key * ld + width)..<((key + 1) * ld)].allSatisfy { $0 == 7 })
                        }
                    }
                }
            }
        }
    }

    @Test func rowsThatSeeNothingYetAreLeftAlone() {
        onEveryInstructionSet { _ in
            var s = [Float](repeating: 7, count: 3 * 20)
            var top: [Float] = [1, 2, 3]
            var sum: [Float] = [4, 5, 6]
            var rescale = [Float](repeating: .nan, count: 3)
            qk_softmax_block(&s, 20, 3, 20, -1, 1, &top, &sum, &rescale)  // the last row sees one column
            #expect(top[..<2] == [1, 2] && sum[..<2] == [4, 5] && rescale[..<2] == [1, 1])
            #expect(s[..<40].allSatisfy { $0 == 0 } && s[40] == 1 && s[41...].allSatisfy { $0 == 0 })
            #expect(top[2] == 7 && abs(sum[2] - (6 * expf(-4) + 1)) < 1e-6)
        }
    }

    // MARK: Sums and updates

    @Test func reductions() {
        for n in Self.sizes + [1023, 1024, 1025, 5000, 151_936] {
            var noise = Noise(n)
            let x = noise.floats(n, scale: 5)
            let y = noise.floats(n)
            let largest = x.max() ?? 0
            let exps = x.reduce(0.0) { $0 + exp(Double($1) - Double(largest)) }
            let products = zip(x, y).map { Double($0) * Double($1) }
            let squares = x.reduce(0.0) { $0 + Double($1) * Double($1) }
            onEveryInstructionSet { isa in
                #expect(qk_max_value(x, n) == largest)
                #expect(abs(Double(qk_sum_exp(x, n, largest)) / exps - 1) < 2e-5, "\(n) \(isa)")
                let error = abs(Double(qk_dot(x, y, n)) - products.reduce(0, +))
                #expect(error / products.reduce(0) { $0 + abs($1) } < 2e-5, "\(n) \(isa)")
                #expect(abs(qk_sum_squares(x, n) / squares - 1) < 2e-6, "\(n) \(isa)")
            }
        }
    }

    @Test func vectorSums() {
        for n in Self.sizes {
            var noise = Noise(n)
            let (x, y, many) = (noise.floats(n), noise.floats(n), noise.floats(9 * (n + 2)))
            let columns = (0..<n).map { c in (0..<9).reduce(Double(y[c])) { $0 + Double(many[$1 * (n + 2) + c]) } }
            onEveryInstructionSet { _ in
                var (sum, fused, scaled, total, products) = (y, y, y, y, many)
                qk_add(&sum, x, n)
                qk_axpy(&fused, -0.3, x, n)
                qk_scale(&scaled, 1.7, n)
                qk_column_sum(&total, many, n + 2, 9, n)
                qk_scale_columns(&products, n + 2, x, 9, n)
                #expect(sum == zip(x, y).map { $0 + $1 })
                #expect(worst(fused, zip(x, y).map { Double($1) - Double(Float(0.3)) * Double($0) }) < 2e-7)
                #expect(scaled == y.map { $0 * 1.7 })
                #expect(worst(total, columns) < 1e-6)
                #expect(products == many.indices.map { $0 % (n + 2) < n ? many[$0] * x[$0 % (n + 2)] : many[$0] })
            }
        }
    }

    @Test(arguments: [(false, 0.9, 0.0), (false, 0.9, 0.5), (true, 0.8, 0.0)])
    func momentum(nesterov: Bool, momentum: Double, dampening: Double) {
        let n = 100
        let rate = 0.02
        let decay = 0.1
        let scale = 0.5
        onEveryInstructionSet { isa in
            var noise = Noise(7)
            var w = noise.floats(n)
            var b = [Float](repeating: 0, count: n)
            var (exactW, exactB) = (w.doubles, b.doubles)
            for step in 0..<4 {
                let g = noise.floats(n)
                for i in 0..<n {
                    let d = Double(g[i]) * scale + decay * exactW[i]
                    exactB[i] = step == 0 ? d : momentum * exactB[i] + (1 - dampening) * d
                    exactW[i] -= rate * (nesterov ? d + momentum * exactB[i] : exactB[i])
                }
                qk_sgd_momentum(
                    &w, &b, g, n, Float(scale), Float(rate), Float(momentum), Float(1 - dampening), Float(decay),
                    nesterov ? 1 : 0, step == 0 ? 1 : 0)
            }
            #expect(worst(w, exactW) < 1e-6 && worst(b, exactB) < 1e-6, "\(isa)")
        }
    }

    @Test func adamW() {
        for n in Self.sizes {
            let (rate, beta1, beta2, eps, decay, scale) = (0.01, 0.9, 0.99, 1e-8, 0.1, 0.5)
            onEveryInstructionSet { isa in
                var noise = Noise(n)
                var w = noise.floats(n)
                var m = [Float](repeating: 0, count: n)
                var v = m
                var (exactW, exactM, exactV) = (w.doubles, m.doubles, v.doubles)
                for step in 1...4 {
                    let g = noise.floats(n)
                    let (c1, c2) = (1 - pow(beta1, Double(step)), 1 - pow(beta2, Double(step)))
                    for i in 0..<n {
                        let d = Double(g[i]) * scale
                        exactW[i] *= 1 - rate * decay
                        exactM[i] = beta1 * exactM[i] + (1 - beta1) * d
                        exactV[i] = beta2 * exactV[i] + (1 - beta2) * d * d
                        exactW[i] -= rate * (exactM[i] / c1) / ((exactV[i] / c2).squareRoot() + eps)
                    }
                    qk_adamw(
                        &w, &m, &v, g, n, Float(scale), Float(1 - rate * decay), Float(rate / c1), Float(beta1),
                        Float(beta2), Float(1 / c2.squareRoot()), Float(eps))
                }
                #expect(worst(w, exactW) < 1e-6 && worst(m, exactM) < 1e-6 && worst(v, exactV) < 2e-6, "\(n) \(isa)")
            }
        }
    }

    // MARK: What is not a number stays none

    @Test func notANumberPropagates() {
        for n in [1, 16, 33] {
            onEveryInstructionSet { isa in
                for place in [0, n / 2, n - 1] {
                    var x = [Float](repeating: 1, count: n)
                    x[place] = .nan
                    let ones = [Float](repeating: 1, count: n)
                    var y = ones
                    var rstd: [Float] = [0]
                    qk_rmsnorm_forward(&y, &rstd, x, ones, 1, n, 1e-6)
                    #expect(y.allSatisfy(\.isNaN) && rstd[0].isNaN)
                    qk_swiglu_forward(&y, x + ones, 1, n)
                    #expect(y[place].isNaN && y.filter(\.isNaN).count == 1)
                    #expect(
                        qk_sum_exp(x, n, qk_max_value(x, n)).isNaN && qk_dot(x, ones, n).isNaN
                            && qk_sum_squares(x, n).isNaN)
                    var (top, sum, rescale): ([Float], [Float], [Float]) = ([-.greatestFiniteMagnitude], [0], [0])
                    var s = x
                    qk_softmax_block(&s, n, 1, n, n, 1, &top, &sum, &rescale)
                    #expect(sum[0].isNaN, "\(n) \(isa)")
                }
                // Infinite logits leave no finite sum either.
                let x: [Float] = [.infinity] + [Float](repeating: 0, count: n)
                #expect(!qk_sum_exp(x, n + 1, qk_max_value(x, n + 1)).isFinite)
            }
        }
    }
}
