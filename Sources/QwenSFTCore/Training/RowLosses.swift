extension Trainer {
    /// What each row of `batch` costs the model with the weights as they are: Σ weight · cross-entropy ÷ Σ weight over its
    /// supervised tokens.
    /// - Returns: a number for every row; NaN for a row without supervised token.
    public func rowLosses(_ batch: Batch) throws(QwenSFTError) -> [Double] {
        let losses = try tokenLosses(batch)
        return (0..<batch.rows).map { row in
            var (sum, weights) = (0.0, 0.0)
            for index in row * batch.columns..<(row + 1) * batch.columns where !losses[index].isNaN {
                let weight = Double(batch.tokenWeights?[index] ?? 1)
                sum += weight * Double(losses[index])
                weights += weight
            }
            return weights > 0 ? sum / weights : .nan
        }
    }
}
