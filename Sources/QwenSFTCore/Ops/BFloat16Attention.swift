import CKernels
import Libc

/// `Attention` through bfloat16 products: queries, keys, values, probabilities and their gradients are rounded on their way
/// into a product; sums and the softmax are float32.
///
/// Scores lie transposed, (keys, queries). A block of keys is then a run of rows of the rounded keys, wherever it begins; the
/// softmax goes through 16 queries at once, without sums across a vector; and what it writes is the next product's operand.
package enum BFloat16Attention {
    /// Queries of one panel.
    private static let panelWidth = Int(QK_PANEL_WIDTH)
    private static let size = AttentionPlan.blockRows

    /// Keys or values of all rows in bfloat16: by rows or, for sums over rows, by columns.
    private struct Operand {
        private let base: UnsafeMutablePointer<UInt16>
        private let column: Int
        private let rows: Int
        private let shape: AttentionShape
        private let isTransposed: Bool
        let ld: Int

        /// - Parameter column: where the operand begins in a row of states.
        init(
            column: Int, rows: Int, isTransposed: Bool = false, _ shape: AttentionShape, _ arena: Arena
        ) throws(QwenSFTError) {
            (self.column, self.rows, self.shape, self.isTransposed) = (column, rows, shape, isTransposed)
            // A pair may reach one row further than the last; its factor is 0, so it must be a number.
            ld = isTransposed ? roundUp(rows + 1, 2) : roundUp(shape.headDimension, 2)
            base = try arena.allocate(
                UInt16.self, shape.keyValueHeads * (isTransposed ? shape.headDimension : rows) * ld)
        }

        func at(_ head: Int, _ row: Int) -> UnsafeMutablePointer<UInt16> {
            isTransposed ? base + head * shape.headDimension * ld + row : base + (head * rows + row) * ld
        }

        /// Rounds one worker's share.
        func fill(from states: Matrix<Float>, _ worker: ThreadPool.Worker) {
            let d = shape.headDimension
            let mine = worker.range(of: rows, unit: 32)
            for head in 0..<shape.keyValueHeads {
                let from = states.at(mine.lowerBound, column + head * d)
                guard isTransposed else {
                    qk_round_rows(at(head, mine.lowerBound), ld, from, states.stride, mine.count, d, ld)
                    continue
                }
                qk_round_transposed(at(head, mine.lowerBound), ld, from, states.stride, mine.count, d)
                guard worker.index == worker.count - 1 else { continue }
                for element in 0..<d {
                    (at(head, 0) + element * ld + rows).update(repeating: 0, count: ld - rows)
                }
            }
        }
    }

    /// A block of queries, or of their outputs' gradients, as panels.
    private struct Panels {
        /// [panel][element pair][query][2], for sums over elements.
        let transposed: UnsafeMutablePointer<UInt16>
        /// [panel][query pair][element][2], for sums over queries.
        let interleaved: UnsafeMutablePointer<UInt16>

        init(_ shape: AttentionShape, _ arena: Arena) throws(QwenSFTError) {
            transposed = try arena.allocate(UInt16.self, size * roundUp(shape.headDimension, 2))
            interleaved = try arena.allocate(UInt16.self, size * shape.paddedDimension)
        }

        func fillTransposed(from x: Matrix<Float>) {
            forEachPanel(x.rows) { start, width in
                qk_pack_transposed(
                    transposed + start * roundUp(x.columns, 2), width, x.at(start), x.stride,
                    min(width, x.rows - start), x.columns)
            }
        }

        func fillInterleaved(from x: Matrix<Float>) {
            forEachPanel(x.columns) { start, width in
                qk_pack_interleaved_f32(
                    interleaved + start * roundUp(x.rows, 2), width, x.at(0, start), x.stride, x.rows,
                    min(width, x.columns - start))
            }
        }
    }

    /// Numbers by query, filled up to whole vectors.
    private static func numbers(_ arena: Arena) throws(QwenSFTError) -> UnsafeMutablePointer<Float> {
        try arena.floats(size)
    }

    private static func forEachPanel(_ columns: Int, _ body: (_ start: Int, _ width: Int) -> Void) {
        for start in stride(from: 0, to: columns, by: panelWidth) {
            body(start, min(panelWidth, roundUp(columns - start, 16)))
        }
    }

    /// The keys of a block that a panel of queries sees, the last of a whole vector's; not below 0.
    private static func visible(_ keys: Range<Int>, _ seen: Int, _ start: Int, _ width: Int) -> Int {
        max(0, min(keys.count, seen + start + width - 1))
    }

    /// As `Attention.forward`.
    package static func forward(
        _ saved: Attention.Saved, plan: AttentionPlan, shape: AttentionShape, compute: Compute
    ) throws(QwenSFTError) {
        let arena = compute.arena
        let mark = arena.mark
        defer { arena.release(to: mark) }
        let (d, rows, states) = (shape.headDimension, saved.states.rows, saved.states.readOnly)
        let keys = try Operand(column: shape.queryWidth, rows: rows, shape, arena)
        let values = try Operand(
            column: shape.queryWidth + shape.keyValueWidth, rows: rows, isTransposed: true, shape, arena)
        var scratch: [ForwardScratch] = []
        for _ in 0..<compute.threads { scratch.append(try ForwardScratch(shape, arena)) }
        compute.run { worker in
            keys.fill(from: states, worker)
            values.fill(from: states, worker)
            worker.barrier()
            let scratch = scratch[worker.index]
            plan.forEach(of: worker, heads: shape.heads) { head, block in
                let (first, m) = (block.queries.lowerBound, block.queries.count)
                scratch.run(
                    states[rows: block.queries][columns: head * d..<(head + 1) * d], block.queries,
                    plan.segments[block.segment], keys, values, keyValueHead: shape.keyValueHead(of: head))
                qk_store_transposed(
                    saved.context.at(first, head * d), saved.context.stride, scratch.context, size, m, d, 0)
                for query in 0..<m {
                    saved.logSumExp.at(head, first + query).pointee =
                        scratch.maxima[query] + logf(scratch.sums[query])
                }
            }
        }
    }

    private struct ForwardScratch {
        private let query: Panels
        private let scores: UnsafeMutablePointer<Float>
        private let probabilities: UnsafeMutablePointer<UInt16>
        /// (d, queries).
        let context: UnsafeMutablePointer<Float>
        let maxima: UnsafeMutablePointer<Float>
        let sums: UnsafeMutablePointer<Float>
        private let rescale: UnsafeMutablePointer<Float>

        init(_ shape: AttentionShape, _ arena: Arena) throws(QwenSFTError) {
            query = try Panels(shape, arena)
            scores = try arena.floats(size * panelWidth)
            probabilities = try arena.allocate(UInt16.self, size * panelWidth)
            context = try arena.floats(shape.headDimension * size)
            maxima = try numbers(arena)
            sums = try numbers(arena)
            rescale = try numbers(arena)
        }

        /// One head and block of queries `x`.
        func run(
            _ x: Matrix<Float>, _ queries: Range<Int>, _ segment: AttentionPlan.Segment, _ keys: Operand,
            _ values: Operand, keyValueHead: Int
        ) {
            let (m, d) = (x.rows, x.columns)
            let pairs = roundUp(d, 2) / 2
            let scale = 1 / Float(d).squareRoot()
            query.fillTransposed(from: x)
            maxima.update(repeating: -.greatestFiniteMagnitude, count: size)
            sums.update(repeating: 0, count: size)
            var isFirst = true
            Attention.forEachKeyBlock(of: segment, queries: queries) { block, seen in
                forEachPanel(m) { start, width in
                    let count = visible(block, seen, start, width)
                    guard count > 0 else { return }
                    let out = context + start
                    qk_gemm_panel(
                        scores, panelWidth, keys.at(keyValueHead, block.lowerBound), keys.ld, count,
                        query.transposed + 2 * start * pairs, width, pairs, 0, nil, 0)
                    qk_softmax_columns(
                        probabilities, scores, panelWidth, count, width, seen + start, scale, maxima + start,
                        sums + start, rescale + start)
                    if !isFirst { qk_scale_columns(out, size, rescale + start, d, width) }
                    qk_gemm_panel(
                        out, size, values.at(keyValueHead, block.lowerBound), values.ld, d, probabilities, width,
                        (count + 1) / 2, isFirst ? 0 : 1, nil, 0)
                }
                isFirst = false
            }
            for query in 0..<size { rescale[query] = 1 / sums[query] }
            qk_scale_columns(context, size, rescale, d, m)
        }
    }

    /// As `Attention.backward`.
    package static func backward(
        _ gradient: MutableMatrix<Float>, dContext: Matrix<Float>, _ saved: Attention.Saved, plan: AttentionPlan,
        shape: AttentionShape, compute: Compute
    ) throws(QwenSFTError) {
        let arena = compute.arena
        let mark = arena.mark
        defer { arena.release(to: mark) }
        let (d, rows, states) = (shape.headDimension, saved.states.rows, saved.states.readOnly)
        let operands = try Operands(rows: rows, shape, arena)
        // Query heads share keys and values, so each sums its part in memory of its own: (heads, 2, rows, padded d).
        let ld = shape.paddedDimension
        let partial = try arena.floats(shape.heads * 2 * rows * ld)
        var scratch: [BackwardScratch] = []
        for _ in 0..<compute.threads { scratch.append(try BackwardScratch(shape, arena)) }
        compute.run { worker in
            operands.keys.fill(from: states, worker)
            operands.values.fill(from: states, worker)
            operands.keyColumns.fill(from: states, worker)
            worker.barrier()
            let scratch = scratch[worker.index]
            for head in worker.range(of: shape.heads) {
                let both = MutableMatrix(partial + head * 2 * rows * ld, rows: 2 * rows, columns: ld)
                both.base.update(repeating: 0, count: 2 * rows * ld)
                for block in plan.blocks {
                    let (first, m) = (block.queries.lowerBound, block.queries.count)
                    let queries = states[rows: block.queries][columns: head * d..<(head + 1) * d]
                    let dOut = dContext[rows: block.queries][columns: head * d..<(head + 1) * d]
                    for query in 0..<size {
                        let isThere = query < m
                        scratch.logSumExp[query] = isThere ? saved.logSumExp.at(head, first + query).pointee : 0
                        scratch.delta[query] =
                            isThere ? qk_dot(saved.context.at(first + query, head * d), dOut.at(query), d) : 0
                    }
                    scratch.query.fillTransposed(from: queries)
                    scratch.query.fillInterleaved(from: queries)
                    scratch.dContext.fillTransposed(from: dOut)
                    scratch.dContext.fillInterleaved(from: dOut)
                    scratch.run(
                        dKey: both[rows: 0..<rows], dValue: both[rows: rows..<2 * rows], block.queries,
                        plan.segments[block.segment], operands, keyValueHead: shape.keyValueHead(of: head), shape)
                    qk_store_transposed(
                        gradient.at(first, head * d), gradient.stride, scratch.dQuery, size, m, d, 0)
                }
            }
            worker.barrier()
            Attention.sumHeads(
                Matrix(partial, rows: 2 * shape.heads * rows, columns: ld), into: gradient,
                mine: worker.range(of: rows), shape)
        }
    }

    /// What backward multiplies with, of all rows.
    private struct Operands {
        let keys: Operand
        let values: Operand
        let keyColumns: Operand

        init(rows: Int, _ shape: AttentionShape, _ arena: Arena) throws(QwenSFTError) {
            keys = try Operand(column: shape.queryWidth, rows: rows, shape, arena)
            values = try Operand(column: shape.queryWidth + shape.keyValueWidth, rows: rows, shape, arena)
            keyColumns = try Operand(column: shape.queryWidth, rows: rows, isTransposed: true, shape, arena)
        }
    }

    private struct BackwardScratch {
        let query: Panels
        let dContext: Panels
        let logSumExp: UnsafeMutablePointer<Float>
        let delta: UnsafeMutablePointer<Float>
        /// (d, queries).
        let dQuery: UnsafeMutablePointer<Float>
        private let scores: UnsafeMutablePointer<Float>
        private let dProbabilities: UnsafeMutablePointer<Float>
        /// (keys, queries).
        private let probabilities: UnsafeMutablePointer<UInt16>
        private let dScores: UnsafeMutablePointer<UInt16>
        private let dScorePanel: UnsafeMutablePointer<UInt16>

        init(_ shape: AttentionShape, _ arena: Arena) throws(QwenSFTError) {
            query = try Panels(shape, arena)
            dContext = try Panels(shape, arena)
            logSumExp = try numbers(arena)
            delta = try numbers(arena)
            dQuery = try arena.floats(shape.headDimension * size)
            scores = try arena.floats(size * panelWidth)
            dProbabilities = try arena.floats(size * panelWidth)
            probabilities = try arena.allocate(UInt16.self, size * size)
            dScores = try arena.allocate(UInt16.self, size * size)
            dScorePanel = try arena.allocate(UInt16.self, size * panelWidth)
        }

        /// One head and block of queries, which the panels hold: adds to the gradients to keys and values.
        func run(
            dKey: MutableMatrix<Float>, dValue: MutableMatrix<Float>, _ queries: Range<Int>,
            _ segment: AttentionPlan.Segment, _ operands: Operands, keyValueHead: Int, _ shape: AttentionShape
        ) {
            let (keys, values, keyColumns) = (operands.keys, operands.values, operands.keyColumns)
            let (m, d) = (queries.count, shape.headDimension)
            let (elementPairs, queryPairs) = (roundUp(d, 2) / 2, roundUp(m, 2) / 2)
            let scale = 1 / Float(d).squareRoot()
            var isFirst = true
            Attention.forEachKeyBlock(of: segment, queries: queries) { block, seen in
                let (key, n) = (block.lowerBound, block.count)
                forEachPanel(m) { start, width in
                    let count = visible(block, seen, start, width)
                    let panel = 2 * start * elementPairs
                    qk_gemm_panel(
                        scores, panelWidth, keys.at(keyValueHead, key), keys.ld, count, query.transposed + panel, width,
                        elementPairs, 0, nil, 0)
                    qk_gemm_panel(
                        dProbabilities, panelWidth, values.at(keyValueHead, key), values.ld, count,
                        dContext.transposed + panel, width, elementPairs, 0, nil, 0)
                    qk_softmax_columns_backward(
                        probabilities + start, dScores + start, size, dScorePanel, scores, dProbabilities, panelWidth,
                        n, width, seen + start, scale, logSumExp + start, delta + start)
                    qk_gemm_panel(
                        dQuery + start, size, keyColumns.at(keyValueHead, key), keyColumns.ld, d, dScorePanel, width,
                        (count + 1) / 2, isFirst ? 0 : 1, nil, 0)
                }
                forEachPanel(d) { start, width in
                    let panel = 2 * start * queryPairs
                    qk_gemm_panel(
                        dValue.at(key, start), dValue.stride, probabilities, size, n, dContext.interleaved + panel,
                        width,
                        queryPairs, 1, nil, 0)
                    qk_gemm_panel(
                        dKey.at(key, start), dKey.stride, dScores, size, n, query.interleaved + panel, width,
                        queryPairs, 1,
                        nil, 0)
                }
                isFirst = false
            }
        }
    }
}
