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
            #expect(most < (isa == .plain ? 1.3 : 1.0), "instruction set \(isa)")
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
