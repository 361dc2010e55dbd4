/// Which rows of a dataset make up each step of an epoch: a function of its seed and the epoch alone, so that a run that is
/// taken up again sees exactly the rows it has not seen.
package struct DataOrder {
    /// Tokens of each row.
    package let lengths: [Int]
    /// Rows of a step; the last of an epoch may have fewer. Where `tokensPerStep` is given, it says how many rows a step has.
    package let rowsPerStep: Int
    /// Tokens of a step, about: those of an epoch are divided evenly among the fewest steps that have no more than this on average. So
    /// every epoch has the same number of steps, and none a small rest; a step has more by less than one row.
    package let tokensPerStep: Int?
    /// nil: the order of the dataset.
    package let seed: UInt64?
    package let stepsPerEpoch: Int

    package init(lengths: [Int], rowsPerStep: Int, tokensPerStep: Int? = nil, seed: UInt64?) {
        self.lengths = lengths
        self.rowsPerStep = rowsPerStep
        self.tokensPerStep = tokensPerStep
        self.seed = seed
        if let tokensPerStep {
            let tokens = lengths.reduce(0, +)
            stepsPerEpoch = min(max(1, (tokens + tokensPerStep - 1) / tokensPerStep), lengths.count)
        } else {
            stepsPerEpoch = (lengths.count + rowsPerStep - 1) / rowsPerStep
        }
    }

    /// The rows of each step.
    package func steps(ofEpoch epoch: Int) -> [ArraySlice<Int>] {
        var rows = Array(lengths.indices)
        if let seed {
            var random = RandomSource(seed: seed)
            random = RandomSource(seed: random.next() ^ UInt64(truncatingIfNeeded: epoch))
            // Fisher and Yates, from the end.
            for last in stride(from: rows.count - 1, to: 0, by: -1) { rows.swapAt(last, random.below(last + 1)) }
        }
        guard tokensPerStep != nil else {
            return stride(from: 0, to: rows.count, by: rowsPerStep).map { rows[$0..<min($0 + rowsPerStep, rows.count)] }
        }
        let tokens = lengths.reduce(0, +)
        var steps: [ArraySlice<Int>] = []
        var (start, end, sum) = (0, 0, 0)
        for step in stride(from: 1, through: stepsPerEpoch, by: 1) {
            // Every step has a row at least, those that follow too.
            let last = rows.count - (stepsPerEpoch - step)
            repeat {
                sum += lengths[rows[end]]
                end += 1
            } while end < last && (step == stepsPerEpoch || sum * stepsPerEpoch < step * tokens)
            steps.append(rows[start..<end])
            start = end
        }
        return steps
    }

    /// One rank's part of the rows of a step: about as many tokens as every other rank's. Empty where there are fewer rows than ranks.
    package func shard(_ rows: ArraySlice<Int>, rank: Int, of worldSize: Int) -> ArraySlice<Int> {
        guard worldSize > 1 else { return rows }
        let shards = passes(rows, count: worldSize, maxTokens: nil)
        return rank < shards.count ? shards[rank][...] : []
    }

    /// Divides the rows of a step into passes that are computed one after the other: at least `count` of them (as far as
    /// there are rows), and as many as it takes for none to have more than `maxTokens` tokens (unless a single row has).
    ///
    /// The passes are about equally long, since memory is that of the longest: each row, longest first, goes where there
    /// are fewest tokens yet.
    package func passes(_ rows: ArraySlice<Int>, count: Int, maxTokens: Int?) -> [[Int]] {
        let longestFirst = rows.sorted { (lengths[$0], $1) > (lengths[$1], $0) }
        // Fewer passes than this cannot hold all tokens.
        let tokens = rows.reduce(0) { $0 + lengths[$1] }
        let least = maxTokens.map { (tokens - 1) / $0 + 1 } ?? 1
        var count = min(max(1, count, least), rows.count)
        while true {
            var passes = [(tokens: Int, rows: [Int])](repeating: (0, []), count: count)
            for row in longestFirst {
                guard let shortest = passes.indices.min(by: { passes[$0].tokens < passes[$1].tokens }) else { break }
                passes[shortest].tokens += lengths[row]
                passes[shortest].rows.append(row)
            }
            let fits = passes.allSatisfy { $0.tokens <= maxTokens ?? .max }
            if fits || count >= rows.count { return passes.map { $0.rows } }
            count += 1
        }
    }
}
