import CKernels

/// Softmax attention of new tokens to all tokens in a cache, block by block as in `Attention`; for one token as well as for
/// many. Inference only.
enum CachedAttention {
    /// Memory that one worker needs.
    struct Scratch {
        fileprivate static let mostRows = AttentionPlan.blockRows
        /// Distance of score rows; not a power of two, so that rows do not share cache sets.
        fileprivate static let stride = CachedKeyValues.blockTokens + 16

        fileprivate let query: UnsafeMutablePointer<UInt16>
        fileprivate let scores: UnsafeMutablePointer<Float>
        fileprivate let probabilities: UnsafeMutablePointer<UInt16>
        fileprivate let context: UnsafeMutablePointer<Float>
        fileprivate let maxima: UnsafeMutablePointer<Float>
        fileprivate let sums: UnsafeMutablePointer<Float>
        fileprivate let rescale: UnsafeMutablePointer<Float>

        init(_ cached: CachedKeyValues, rows: Int = mostRows, _ arena: Arena) throws(QwenSFTError) {
            query = try arena.allocate(UInt16.self, rows * cached.pairs * 2)
            scores = try arena.floats(rows * Self.stride)
            probabilities = try arena.allocate(UInt16.self, rows * Self.stride)
            context = try arena.floats(rows * cached.paddedDimension)
            maxima = try arena.floats(rows)
            sums = try arena.floats(rows)
            rescale = try arena.floats(rows)
        }
    }

    /// context = softmax(q·kᵀ/√d)·v for every head, of new tokens that are in the cache already, the first of them at position
    /// `first`.
    /// - Parameters:
    ///   - context: (rows, heads · d).
    ///   - query: heads side by side.
    static func forward(
        _ context: MutableMatrix<Float>, query: Matrix<Float>, first: Int, cached: CachedKeyValues, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let rows = context.rows
        let plan = AttentionPlan([.init(queries: 0..<rows, keys: [0..<first + rows], ahead: first)])
        var scratch: [Scratch] = []
        for _ in 0..<compute.threads { scratch.append(try Scratch(cached, compute.arena)) }
        compute.run { worker in
            plan.forEach(of: worker, heads: cached.shape.heads) { head, block in
                tile(
                    context[rows: block.queries], query: query[rows: block.queries], heads: head..<head + 1,
                    first: first + block.queries.lowerBound, cached: cached, scratch[worker.index])
            }
        }
    }

    /// The same for `heads`, which share a key-value head; on the calling thread.
    static func tile(
        _ context: MutableMatrix<Float>, query: Matrix<Float>, heads: Range<Int>, first: Int, cached: CachedKeyValues,
        _ scratch: Scratch
    ) {
        let m = query.rows
        let rows = heads.count * m
        let d = cached.shape.headDimension
        let head = cached.shape.keyValueHead(of: heads.lowerBound)
        let block = CachedKeyValues.blockTokens
        let scale = 1 / Float(d).squareRoot()
        let visible = first + m
        scratch.maxima.update(repeating: -.greatestFiniteMagnitude, count: rows)
        scratch.sums.update(repeating: 0, count: rows)
        if cached.form == .panels {
            for (index, h) in heads.enumerated() {
                qk_round_rows(
                    scratch.query + index * m * cached.pairs * 2, cached.pairs * 2, query.at(0, h * d), query.stride,
                    m, d, cached.pairs * 2)
            }
        }
        for start in stride(from: 0, to: visible, by: block) {
            let keys = min(block, visible - start)
            scores(heads, query, cached.keys(head, start / block), keys, cached, scratch)
            for index in heads.indices {
                let row = (index - heads.lowerBound) * m
                let seen = first + 1 - start
                let (scores, maxima) = (scratch.scores + row * Scratch.stride, scratch.maxima + row)
                if cached.form == .panels {
                    qk_softmax_block_bf16(
                        scratch.probabilities + row * Scratch.stride, Scratch.stride, scores, Scratch.stride, m, keys,
                        seen, scale,
                        maxima, scratch.sums + row, scratch.rescale + row)
                } else {
                    qk_softmax_block(
                        scores, Scratch.stride, m, keys, seen, scale, maxima, scratch.sums + row, scratch.rescale + row)
                }
            }
            if start > 0 {
                for row in 0..<rows {
                    qk_scale(scratch.context + row * cached.paddedDimension, scratch.rescale[row], d)
                }
            }
            addValues(
                rows: rows, cached.values(head, start / block), keys, isFirst: start == 0, cached, scratch)
        }
        for (index, h) in heads.enumerated() {
            for i in 0..<m {
                let row = index * m + i
                let target = context.at(i, h * d)
                target.update(from: scratch.context + row * cached.paddedDimension, count: d)
                qk_scale(target, 1 / scratch.sums[row], d)
            }
        }
    }

    /// scores = q·kᵀ of `count` keys, rows by heads and queries.
    private static func scores(
        _ heads: Range<Int>, _ query: Matrix<Float>, _ keys: UnsafeMutableRawPointer, _ count: Int,
        _ cached: CachedKeyValues, _ scratch: Scratch
    ) {
        let (m, d) = (query.rows, cached.shape.headDimension)
        guard cached.form == .panels else {
            let keys = Matrix<Float>(keys.assumingMemoryBound(to: Float.self), rows: count, columns: d)
            for (index, h) in heads.enumerated() {
                let target = MutableMatrix(
                    scratch.scores + index * m * Scratch.stride, rows: m, columns: count, stride: Scratch.stride)
                OpenBLAS.gemm(target, query[columns: h * d..<(h + 1) * d], keys, transposeB: true)
            }
            return
        }
        let panels = keys.assumingMemoryBound(to: UInt16.self)
        for start in stride(from: 0, to: count, by: 64) {
            qk_gemm_panel(
                scratch.scores + start, Scratch.stride, scratch.query, cached.pairs * 2, heads.count * m,
                panels + start * cached.pairs * 2, 64, cached.pairs, 0, nil, 0)
        }
    }

    /// context += probabilities · v of `count` values.
    private static func addValues(
        rows: Int, _ values: UnsafeMutableRawPointer, _ count: Int, isFirst: Bool, _ cached: CachedKeyValues,
        _ scratch: Scratch
    ) {
        let d = cached.shape.headDimension
        guard cached.form == .panels else {
            return OpenBLAS.gemm(
                MutableMatrix(scratch.context, rows: rows, columns: d),
                Matrix(scratch.scores, rows: rows, columns: count, stride: Scratch.stride),
                Matrix(values.assumingMemoryBound(to: Float.self), rows: count, columns: d), beta: isFirst ? 0 : 1)
        }
        let panels = values.assumingMemoryBound(to: UInt16.self)
        for start in stride(from: 0, to: d, by: 64) {
            qk_gemm_panel(
                scratch.context + start, cached.paddedDimension, scratch.probabilities, Scratch.stride, rows,
                panels + start * CachedKeyValues.blockTokens, min(64, cached.paddedDimension - start),
                (count + 1) / 2, isFirst ? 0 : 1, nil, 0)
        }
    }
}
