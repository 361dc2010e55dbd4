import CKernels
import Glibc

/// Causal softmax attention in blocks (Dao et al., 2022): scores exist for 128 queries × 128 keys at a time, and backward
/// makes them again from the saved log-sum-exp. Memory is linear in the number of rows.
package enum Attention {
    /// Matrices with a distance between rows.
    package struct Rows {
        let start: UnsafeMutablePointer<Float>
        let ld: Int

        package init(start: UnsafeMutablePointer<Float>, ld: Int) {
            self.start = start
            self.ld = ld
        }

        func at(_ row: Int, _ column: Int) -> UnsafeMutablePointer<Float> { start + row * ld + column }
    }

    /// context = softmax(q·kᵀ/√d)·v for every head.
    /// - Parameters:
    ///   - context: (rows, heads · d).
    ///   - logSumExp: (heads, rows) for backward.
    ///   - states: queries | keys | values: heads side by side, (rows, width).
    package static func forward(
        context: Rows, logSumExp: UnsafeMutablePointer<Float>, states: Rows, rows: Int, plan: AttentionPlan,
        shape: AttentionShape, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let size = AttentionPlan.blockRows
        let d = shape.headDimension
        let scale = 1 / Float(d).squareRoot()
        let scratch = try compute.arena.floats(compute.threads * (size * size + 3 * size))
        compute.run { worker in
            let scores = scratch + worker.index * (size * size + 3 * size)
            let (maxima, sums, rescale) = (
                scores + size * size, scores + size * size + size, scores + size * size + 2 * size
            )
            plan.forEach(of: worker, heads: shape.heads) { head, block in
                let segment = plan.segments[block.segment]
                let m = block.queries.count
                let q = head * d
                let key = shape.queryWidth + shape.keyValueHead(of: head) * d
                let value = key + shape.keyValueWidth
                let out = context.at(block.queries.lowerBound, q)
                maxima.update(repeating: -.greatestFiniteMagnitude, count: m)
                sums.update(repeating: 0, count: m)
                var isFirst = true
                forEachKeyBlock(of: segment, queries: block.queries) { keys, seen in
                    OpenBLAS.gemm(
                        scores, ldc: size, states.at(block.queries.lowerBound, q), lda: states.ld,
                        states.at(keys.lowerBound, key), ldb: states.ld, transposeB: true, m: m, n: keys.count, k: d)
                    qk_softmax_block(scores, size, m, keys.count, seen, scale, maxima, sums, rescale)
                    if !isFirst { for row in 0..<m { qk_scale(out + row * context.ld, rescale[row], d) } }
                    OpenBLAS.gemm(
                        out, ldc: context.ld, scores, lda: size, states.at(keys.lowerBound, value), ldb: states.ld,
                        m: m, n: d, k: keys.count, beta: isFirst ? 0 : 1)
                    isFirst = false
                }
                for row in 0..<m {
                    qk_scale(out + row * context.ld, 1 / sums[row], d)
                    logSumExp[head * rows + block.queries.lowerBound + row] = maxima[row] + logf(sums[row])
                }
            }
        }
    }

    /// Gradients to queries, keys and values, all of the same `rows` rows; `gradient` is laid out as `states`: (rows, width).
    /// - Parameters:
    ///   - states: queries | keys | values as forward saw them.
    ///   - context, logSumExp: as forward wrote them; dContext: (rows, heads · d).
    package static func backward(
        gradient: Rows, states: Rows, context: Rows, dContext: Rows, logSumExp: UnsafePointer<Float>, rows: Int,
        plan: AttentionPlan, shape: AttentionShape, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let size = AttentionPlan.blockRows
        let d = shape.headDimension
        let scale = 1 / Float(d).squareRoot()
        // Query heads share keys and values, so each sums its part in memory of its own: (heads, 2, rows, d).
        let perHead = rows * d
        let partial = try compute.arena.floats(shape.heads * 2 * perHead)
        let scratch = try compute.arena.floats(compute.threads * (2 * size * size + size))
        compute.run { worker in
            let scores = scratch + worker.index * (2 * size * size + size)
            let (dScores, delta) = (scores + size * size, scores + 2 * size * size)
            for head in worker.range(of: shape.heads) {
                let dKey = partial + head * 2 * perHead
                let dValue = dKey + perHead
                dKey.update(repeating: 0, count: 2 * perHead)
                let q = head * d
                let key = shape.queryWidth + shape.keyValueHead(of: head) * d
                let value = key + shape.keyValueWidth
                for block in plan.blocks {
                    let segment = plan.segments[block.segment]
                    let (first, m) = (block.queries.lowerBound, block.queries.count)
                    for row in 0..<m { delta[row] = qk_dot(context.at(first + row, q), dContext.at(first + row, q), d) }
                    var beta: Float = 0
                    forEachKeyBlock(of: segment, queries: block.queries) { keys, seen in
                        let (start, n) = (keys.lowerBound, keys.count)
                        OpenBLAS.gemm(
                            scores, ldc: size, states.at(first, q), lda: states.ld, states.at(start, key),
                            ldb: states.ld,
                            transposeB: true, m: m, n: n, k: d)
                        OpenBLAS.gemm(
                            dScores, ldc: size, dContext.at(first, q), lda: dContext.ld, states.at(start, value),
                            ldb: states.ld, transposeB: true, m: m, n: n, k: d)
                        qk_softmax_block_backward(
                            scores, dScores, size, m, n, seen, scale, logSumExp + head * rows + first, delta)
                        OpenBLAS.gemm(
                            dValue + start * d, ldc: d, scores, lda: size, transposeA: true, dContext.at(first, q),
                            ldb: dContext.ld, m: n, n: d, k: m, beta: 1)
                        OpenBLAS.gemm(
                            dKey + start * d, ldc: d, dScores, lda: size, transposeA: true, states.at(first, q),
                            ldb: states.ld, m: n, n: d, k: m, beta: 1)
                        OpenBLAS.gemm(
                            gradient.at(first, q), ldc: gradient.ld, dScores, lda: size, states.at(start, key),
                            ldb: states.ld, m: m, n: d, k: n, beta: beta)
                        beta = 1
                    }
                }
            }
            worker.barrier()
            sumHeads(partial, ld: d, into: gradient, rows: rows, mine: worker.range(of: rows), shape)
        }
    }

    /// Gradients to keys and values: the sum over the query heads that share them.
    /// - Parameter partial: (heads, keys and values, rows, `ld`).
    static func sumHeads(
        _ partial: UnsafePointer<Float>, ld: Int, into gradient: Rows, rows: Int, mine: Range<Int>,
        _ shape: AttentionShape
    ) {
        let d = shape.headDimension
        let group = shape.heads / shape.keyValueHeads
        for row in mine {
            for kv in 0..<shape.keyValueHeads {
                for part in 0..<2 {
                    let sum = gradient.at(row, shape.queryWidth + part * shape.keyValueWidth + kv * d)
                    for head in kv * group..<(kv + 1) * group {
                        let one = partial + ((2 * head + part) * rows + row) * ld
                        if head == kv * group { sum.update(from: one, count: d) } else { qk_add(sum, one, d) }
                    }
                }
            }
        }
    }

    /// The keys that `queries` see, in blocks; `seen` is how many of a block's keys the first query sees (it may be negative
    /// or more than there are).
    static func forEachKeyBlock(
        of segment: AttentionPlan.Segment, queries: Range<Int>, _ body: (_ keys: Range<Int>, _ seen: Int) -> Void
    ) {
        let offset = queries.lowerBound - segment.queries.lowerBound
        for (index, range) in segment.keys.enumerated() {
            let isLast = index == segment.keys.count - 1
            // In the last range the first query sees `ahead + offset + 1` keys, the last one this many:
            let visible = isLast ? min(range.count, segment.ahead + offset + queries.count) : range.count
            var start = 0
            while start < visible {
                let end = min(start + AttentionPlan.blockRows, visible)
                body(
                    range.lowerBound + start..<range.lowerBound + end,
                    isLast ? segment.ahead + offset + 1 - start : end - start)
                start = end
            }
        }
    }
}
