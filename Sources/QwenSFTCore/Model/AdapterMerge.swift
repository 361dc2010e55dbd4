extension Model {
    /// Adds what an adapter does to the weights, W + s·B·A, puts its rows of tokens in their place, and removes the adapter: the model
    /// answers as before, but for rounding, and can be saved as a checkpoint. The sum is formed in float32 and rounded once.
    /// - Throws: `unsupported` where weights are kept in few bits, or one matrix is to have two rows for a token; `nonFinite` with
    ///   nothing changed; `invalidArgument`, `busy`.
    public func mergeAdapter(_ name: String = "default") throws(QwenSFTError) {
        try requireFullWeights("an adapter cannot be merged into it")
        try exclusively { () throws(QwenSFTError) in
            let adapter = try adapter(named: name)
            guard !layout.isTied || adapter.headTokens?.matrix.offset == adapter.embeddingTokens?.matrix.offset else {
                throw QwenSFTError(
                    .unsupported,
                    "\(LoRAConfiguration.tokensKey): the model's output matrix is its embedding, and the adapter has other rows for each; it cannot be merged"
                )
            }
            try ownWeights()
            try compute.session { () throws(QwenSFTError) in
                let projections = decoder.layers.flatMap(\.projections)
                for writes in [false, true] {
                    for (projection, lowRank) in zip(projections, adapter.lowRanks) {
                        try lowRank?.merge(into: projection.weight, writes: writes, compute: compute)
                    }
                    for (tokens, projection) in [
                        (adapter.embeddingTokens, decoder.embedding), (adapter.headTokens, decoder.head),
                    ] {
                        guard let rows = tokens?.rows else { continue }
                        guard rows.canBeWritten else { throw QwenSFTError.notFiniteAfterMerge }
                        if writes { rows.write(to: projection.weight) }
                    }
                }
            }
            adapters.removeAll { $0 === adapter }
            if active === adapter { activate(nil) }
            weightsVersion += 1
        }
    }
}

extension LowRank {
    /// - Parameter writes: false: only makes sure that all numbers of the sum are finite.
    fileprivate func merge(into weight: Weight, writes: Bool, compute: Compute) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let most = max(1, (1 << 20) / weight.columns)
        let sums = try compute.arena.matrix(rows: most, columns: weight.columns)
        for part in parts {
            for rows in Blocks(part.outputs, most: most, unit: 1) {
                let sum = sums[rows: 0..<rows.count]
                let own = rows.lowerBound - part.outputs.lowerBound..<rows.upperBound - part.outputs.lowerBound
                let target = weight.slice(rows)
                target.format.widen(0..<rows.count, 0..<weight.columns, to: sum.base)
                LowRankProduct.inputGradient(
                    sum, part.up[rows: own], down[rows: part.ranks], scale: part.scale, accumulate: true,
                    compute: compute)
                if writes {
                    target.set(UnsafeBufferPointer(sum.buffer))
                } else if sum.buffer.contains(where: { !($0.magnitude < 3.38e38) }) {
                    // bfloat16 rounds what is above this to infinity.
                    throw QwenSFTError.notFiniteAfterMerge
                }
            }
        }
    }
}

extension QwenSFTError {
    fileprivate static var notFiniteAfterMerge: QwenSFTError {
        QwenSFTError(.nonFinite, "merged weights would not be finite; nothing was changed")
    }
}
