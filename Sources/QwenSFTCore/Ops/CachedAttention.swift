import CKernels

/// Softmax attention of new tokens to all tokens in a cache, block by block as in `Attention`; for one token as well as for
/// many. Inference only.
enum CachedAttention {
    /// Memory that one worker needs.
    struct Scratch {
        fileprivate static let mostRows = AttentionPlan.blockRows
        /// Distance of score rows; not a power of two, so that rows do not share cache sets.
        fileprivate static let ld = CachedKeyValues.blockTokens + 16

        fileprivate let query: UnsafeMutablePointer<UInt16>
        fileprivate let scores: UnsafeMutablePointer<Float>
        fileprivate let probabilities: UnsafeMutablePointer<UInt16>
        fileprivate let context: UnsafeMutablePointer<Float>
        fileprivate let maxima: UnsafeMutablePointer<Float>
        fileprivate let sums: UnsafeMutablePointer<Float>
        fileprivate let rescale: UnsafeMutablePointer<Float>

        init(_ cached: CachedKeyValues, rows: Int = mostRows, _ arena: Arena) throws(QwenSFTError) {
            query = try arena.allocate(UInt16.self, rows * cached.pairs * 2)
            scores = try arena.floats(rows * Self.ld)
            probabilities = try arena.allocate(UInt16.self, rows * Self.ld)
            context = try arena.floats(rows * cached.paddedDimension)
            maxima = try arena.floats(rows)
            sums = try arena.floats(rows)
            rescale = try arena.floats(rows)
        }
    }

    /// context = softmax(q·kᵀ/√d)·v for every head, of `rows` new tokens that are in the cache already, the first of them at
    /// position `first`.
    /// - Parameters:
    ///   - context: (rows, heads · d).
    ///   - query: heads side by side.
    static func forward(
        context: Attention.Rows, query: Attention.Rows, rows: Int, first: Int, cached: CachedKeyValues, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let plan = AttentionPlan([.init(queries: 0..<rows, keys: [0..<first + rows], ahead: first)])
        var scratch: [Scratch] = []
        for _ in 0..<compute.threads { scratch.append(try Scratch(cached, compute.arena)) }
        compute.run { worker in
            plan.forEach(of: worker, heads: cached.shape.heads) { head, block in
                tile(
                    context: context, query: query, heads: head..<head + 1, queries: block.queries, first: first,
                    cached: cached, scratch[worker.index])
            }
        }
    }

    /// The same for `heads`, which share a key-value head, and some of the rows; on the calling thread.
    static func tile(
        context: Attention.Rows, query: Attention.Rows, heads: Range<Int>, queries: Range<Int>, first: Int,
        cached: CachedKeyValues, _ scratch: Scratch
    ) {
        let m = queries.count
        let rows = heads.count * m
        let d = cached.shape.headDimension
        let head = cached.shape.keyValueHead(of: heads.lowerBound)
        let block = CachedKeyValues.blockTokens
        let scale = 1 / Float(d).squareRoot()
        let visible = first + queries.upperBound
        scratch.maxima.update(repeating: -.greatestFiniteMagnitude, count: rows)
        scratch.sums.update(repeating: 0, count: rows)
        if cached.form == .panels {
            for (index, h) in heads.enumerated() {
                qk_round_rows(
                    scratch.query + index * m * cached.pairs * 2, cached.pairs * 2, query.at(queries.lowerBound, h * d),
                    query.ld,
                    m, d, cached.pairs * 2)
            }
        }
        for start in stride(from: 0, to: visible, by: block) {
            let keys = min(block, visible - start)
            scores(heads, queries, query, cached, head, start / block, keys, scratch)
            for index in heads.indices {
                let row = (index - heads.lowerBound) * m
                let seen = first + queries.lowerBound + 1 - start
                let (scores, maxima) = (scratch.scores + row * Scratch.ld, scratch.maxima + row)
                if cached.form == .panels {
                    qk_softmax_block_bf16(
                        scratch.probabilities + row * Scratch.ld, Scratch.ld, scores, Scratch.ld, m, keys, seen, scale,
                        maxima, scratch.sums + row, scratch.rescale + row)
                } else {
                    qk_softmax_block(
                        scores, Scratch.ld, m, keys, seen, scale, maxima, scratch.sums + row, scratch.rescale + row)
                }
            }
            if start > 0 {
                for row in 0..<rows {
                    qk_scale(scratch.context + row * cached.paddedDimension, scratch.rescale[row], d)
                }
            }
            addValues(rows, cached, head, start / block, keys, isFirst: start == 0, scratch)
        }
        for (index, h) in heads.enumerated() {
            for i in 0..<m {
                let row = index * m + i
                let target = context.at(queries.lowerBound + i, h * d)
                target.update(from: scratch.context + row * cached.paddedDimension, count: d)
                qk_scale(target, 1 / scratch.sums[row], d)
            }
        }
    }

    /// scores = q·kᵀ, rows by heads and queries.
    private static func scores(
        _ heads: Range<Int>, _ queries: Range<Int>, _ query: Attention.Rows, _ cached: CachedKeyValues, _ head: Int,
        _ block: Int, _ keys: Int, _ scratch: Scratch
    ) {
        let d = cached.shape.headDimension
        let base = cached.keys(head, block)
        guard cached.form == .panels else {
            for (index, h) in heads.enumerated() {
                OpenBLAS.gemm(
                    scratch.scores + index * queries.count * Scratch.ld, ldc: Scratch.ld,
                    query.at(queries.lowerBound, h * d), lda: query.ld, base.assumingMemoryBound(to: Float.self),
                    ldb: d,
                    transposeB: true, m: queries.count, n: keys, k: d)
            }
            return
        }
        let panels = base.assumingMemoryBound(to: UInt16.self)
        for start in stride(from: 0, to: keys, by: 64) {
            qk_gemm_panel(
                scratch.scores + start, Scratch.ld, scratch.query, cached.pairs * 2, heads.count * queries.count,
                panels + start * cached.pairs * 2, 64, cached.pairs, 0, nil, 0)
        }
    }

    /// context += probabilities · v.
    private static func addValues(
        _ rows: Int, _ cached: CachedKeyValues, _ head: Int, _ block: Int, _ keys: Int, isFirst: Bool,
        _ scratch: Scratch
    ) {
        let d = cached.shape.headDimension
        let base = cached.values(head, block)
        guard cached.form == .panels else {
            return OpenBLAS.gemm(
                scratch.context, ldc: d, scratch.scores, lda: Scratch.ld, base.assumingMemoryBound(to: Float.self),
                ldb: d,
                m: rows, n: d, k: keys, beta: isFirst ? 0 : 1)
        }
        let pairs = (keys + 1) / 2
        for start in stride(from: 0, to: d, by: 64) {
            qk_gemm_panel(
                scratch.context + start, cached.paddedDimension, scratch.probabilities, Scratch.ld, rows,
                base.assumingMemoryBound(to: UInt16.self) + start * CachedKeyValues.blockTokens,
                min(64, cached.paddedDimension - start), pairs, isFirst ? 0 : 1, nil, 0)
        }
    }
}
