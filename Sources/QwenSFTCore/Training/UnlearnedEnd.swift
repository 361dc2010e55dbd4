extension TrainingRun {
    /// What to warn of where an adapter is trained, which does not change the output row of the token that ends turns, and training has
    /// never moved that row.
    func unlearnedEnd(_ tokenizer: Tokenizer) -> String? {
        let id = data.endOfTurnID
        guard let adapter = trainer.adapter, adapter.headTokens?.rows.ids.contains(Int(id)) != true,
            !trainer.model.hasLearned(id, tokens: tokenizer.rowCount)
        else { return nil }
        let indices = trainer.model.layout.isTied ? "[\(id)]" : #"{"embed_tokens": [\#(id)], "lm_head": [\#(id)]}"#
        return
            "the model has never learned \(tokenizer.token(of: id) ?? "\(id)"), which ends turns here (it looks like a base model), and the adapter leaves its row as it is: train the row as well (\(LoRAConfiguration.tokensKey): \(indices)), or take an instruct checkpoint"
    }
}

extension Model {
    /// Whether training has ever moved the output row of a token. A vocabulary has rows that belong to no token; as nothing tells them
    /// apart, they end up nearly equal, and so does the row of a token that never occurred, as is common for control tokens in base
    /// models.
    ///
    /// Squared distances from the mean of the unused rows, in units of those rows' own spread: in Qwen2.5's checkpoints at least 38,000
    /// for a token that occurs, at most 1 for one that does not.
    /// - Parameter tokens: ids below this belong to tokens.
    /// - Returns: true also where there are no such rows, or they differ and say nothing.
    func hasLearned(_ id: Int32, tokens: Int) -> Bool {
        let head = decoder.head.weight.format
        let unused = tokens..<min(head.rows, tokens + 64)
        guard unused.count >= 8, unused.lowerBound > id, id >= 0 else { return true }
        func row(_ index: Int) -> [Double] {
            [Float](unsafeUninitializedCapacity: head.columns) { values, count in
                guard let out = values.baseAddress else { return }
                head.widen(index..<index + 1, 0..<head.columns, to: out)
                count = head.columns
            }
            .map(Double.init)
        }
        let rows = unused.map(row)
        let mean = (0..<head.columns).map { column in rows.reduce(0) { $0 + $1[column] } / Double(rows.count) }
        func distance(_ row: [Double]) -> Double { zip(row, mean).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } }
        let spread = rows.reduce(0) { $0 + distance($1) } / Double(rows.count)
        let length = mean.reduce(0) { $0 + $1 * $1 }
        guard length > 0, spread < 1e-3 * length else { return true }
        return distance(row(Int(id))) > 100 * max(spread, 1e-6 * length)
    }
}
