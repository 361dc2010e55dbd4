extension Trainer {
    /// What each row of `batch` costs the model with the weights as they are: Σ weight · cross-entropy ÷ Σ weight over its
    /// supervised tokens.
    /// - Returns: a number for every row; NaN for a row without supervised token.
    public func rowLosses(_ batch: Batch) throws(QwenSFTError) -> [Double] {
        let all = batch.sequences
        try Memory.require(batch.rows, of: (Double, Double, Double).self, for: "the losses of \(batch.rows) rows")
        var sums = [(loss: Double, weight: Double)](repeating: (0, 0), count: batch.rows)
        try forEachLoss(of: batch) { source, loss in
            let row = source / batch.columns
            let position = source % batch.columns - all[row].column
            let weight = Double(all.weights[all[row].tokens.lowerBound + position])
            sums[row].loss += weight * Double(loss)
            sums[row].weight += weight
        }
        return sums.map { $0.weight > 0 ? $0.loss / $0.weight : .nan }
    }
}
