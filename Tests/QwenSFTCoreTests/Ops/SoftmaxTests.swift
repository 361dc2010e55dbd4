import CKernels
import Glibc
import QwenSFTCore
import Testing

/// Softmax that comes block by block, by rows and by columns, for every instruction set.
@Suite(.serialized, .processWide) struct SoftmaxTests {
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
        _ scores: [Float], rows: Int, ld: Int, blocks: [Range<Int>], first: Int, scale: Float, _ isa: InstructionSet
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
                for isa in [InstructionSet.plain, .avx512BF16] where isa.isHere {
                    withInstructionSet(isa) {
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
}
