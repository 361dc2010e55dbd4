import CKernels
import Libc

/// Causal softmax attention in blocks (Dao et al., 2022): scores exist for 128 queries × 128 keys at a time, and backward
/// makes them again from the saved log-sum-exp. Memory is linear in the number of rows.
package enum Attention {
    /// What forward is given and makes, and backward reads again.
    package struct Saved {
        /// queries | keys | values: heads side by side, (rows, width).
        let states: MutableMatrix<Float>
        /// (heads, rows).
        let logSumExp: MutableMatrix<Float>
        /// What attention puts out, (rows, heads · d).
        let context: MutableMatrix<Float>

        package init(
            states: MutableMatrix<Float>, logSumExp: MutableMatrix<Float>, context: MutableMatrix<Float>
        ) {
            self.states = states
            self.logSumExp = logSumExp
            self.context = context
        }
    }

    /// context = softmax(q·kᵀ/√d)·v for every head.
    package static func forward(
        _ saved: Saved, plan: AttentionPlan, shape: AttentionShape, compute: Compute
    ) throws(QwenSFTError) {
        let (states, context) = (saved.states.readOnly, saved.context)
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
                let queries = states[rows: block.queries][columns: q..<q + d]
                let out = context[rows: block.queries][columns: q..<q + d]
                maxima.update(repeating: -.greatestFiniteMagnitude, count: m)
                sums.update(repeating: 0, count: m)
                var isFirst = true
                forEachKeyBlock(of: segment, queries: block.queries) { keys, seen in
                    let block = MutableMatrix(scores, rows: m, columns: keys.count, stride: size)
                    OpenBLAS.gemm(block, queries, states[rows: keys][columns: key..<key + d], transposeB: true)
                    qk_softmax_block(scores, size, m, keys.count, seen, scale, maxima, sums, rescale)
                    if !isFirst { for row in 0..<m { qk_scale(out.at(row), rescale[row], d) } }
                    OpenBLAS.gemm(
                        out, block.readOnly, states[rows: keys][columns: value..<value + d], beta: isFirst ? 0 : 1)
                    isFirst = false
                }
                for row in 0..<m {
                    qk_scale(out.at(row), 1 / sums[row], d)
                    saved.logSumExp.at(head, block.queries.lowerBound + row).pointee = maxima[row] + logf(sums[row])
                }
            }
        }
    }

    /// Gradients to queries, keys and values, laid out as the states: (rows, width).
    /// - Parameter dContext: (rows, heads · d).
    package static func backward(
        _ gradient: MutableMatrix<Float>, dContext: Matrix<Float>, _ saved: Saved, plan: AttentionPlan,
        shape: AttentionShape, compute: Compute
    ) throws(QwenSFTError) {
        let (states, rows) = (saved.states.readOnly, saved.states.rows)
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
                let both = MutableMatrix(partial + head * 2 * perHead, rows: 2 * rows, columns: d)
                both.base.update(repeating: 0, count: 2 * perHead)
                let (dKey, dValue) = (both[rows: 0..<rows], both[rows: rows..<2 * rows])
                let q = head * d
                let key = shape.queryWidth + shape.keyValueHead(of: head) * d
                let value = key + shape.keyValueWidth
                for block in plan.blocks {
                    let segment = plan.segments[block.segment]
                    let (first, m) = (block.queries.lowerBound, block.queries.count)
                    let queries = states[rows: block.queries][columns: q..<q + d]
                    let dOut = dContext[rows: block.queries][columns: q..<q + d]
                    for row in 0..<m { delta[row] = qk_dot(saved.context.at(first + row, q), dOut.at(row), d) }
                    var beta: Float = 0
                    forEachKeyBlock(of: segment, queries: block.queries) { keys, seen in
                        let p = MutableMatrix(scores, rows: m, columns: keys.count, stride: size)
                        let dP = MutableMatrix(dScores, rows: m, columns: keys.count, stride: size)
                        let theirs = states[rows: keys][columns: key..<key + d]
                        OpenBLAS.gemm(p, queries, theirs, transposeB: true)
                        OpenBLAS.gemm(dP, dOut, states[rows: keys][columns: value..<value + d], transposeB: true)
                        qk_softmax_block_backward(
                            scores, dScores, size, m, keys.count, seen, scale, saved.logSumExp.at(head, first), delta)
                        OpenBLAS.gemm(dValue[rows: keys], p.readOnly, transposeA: true, dOut, beta: 1)
                        OpenBLAS.gemm(dKey[rows: keys], dP.readOnly, transposeA: true, queries, beta: 1)
                        OpenBLAS.gemm(
                            gradient[rows: block.queries][columns: q..<q + d], dP.readOnly, theirs, beta: beta)
                        beta = 1
                    }
                }
            }
            worker.barrier()
            sumHeads(
                Matrix(partial, rows: 2 * shape.heads * rows, columns: d), into: gradient,
                mine: worker.range(of: rows), shape)
        }
    }

    /// Gradients to keys and values: the sum over the query heads that share them.
    /// - Parameter partial: (heads · keys and values · rows, d or more).
    static func sumHeads(
        _ partial: Matrix<Float>, into gradient: MutableMatrix<Float>, mine: Range<Int>, _ shape: AttentionShape
    ) {
        let (d, rows) = (shape.headDimension, gradient.rows)
        let group = shape.heads / shape.keyValueHeads
        for row in mine {
            for kv in 0..<shape.keyValueHeads {
                for part in 0..<2 {
                    let sum = gradient.at(row, shape.queryWidth + part * shape.keyValueWidth + kv * d)
                    for head in kv * group..<(kv + 1) * group {
                        let one = partial.at((2 * head + part) * rows + row)
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
