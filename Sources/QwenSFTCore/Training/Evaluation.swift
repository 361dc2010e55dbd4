import Libc

/// What the weights come to on data that they do not learn from.
public struct Evaluation: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        /// Rows like those that are learned.
        case validation
        /// The fixed set that tells whether something else is being forgotten (`GeneralProbe`).
        case general
    }

    /// A row and what it costs the model.
    public struct RowLoss: Sendable, Equatable {
        /// The line of its conversation, as in `Dataset.Conversation`.
        public var line: Int
        /// Mean cross-entropy over its targets.
        public var loss: Double
    }

    /// Steps taken before it.
    public var step: Int
    public var kind: Kind
    /// Cross-entropy per supervised token, weighted.
    public var loss: Double
    public var supervisedTokens: Int
    public var seconds: Double
    /// The mean probability of the token that ends a turn, at the places where turns end; nil where none is supervised.
    public var endOfTurnProbability: Double?
    /// The rows that cost most, the worst first.
    public var worstRows: [RowLoss]

    /// So many of the worst rows are kept.
    static let worstCount = 5
}

extension TrainingRun {
    /// As `evaluate`, without noting it.
    func judge(
        _ other: EncodedDataset, as kind: Evaluation.Kind, onProgress: Trainer.Progress
    ) throws(QwenSFTError) -> Evaluation {
        try Memory.require(other.count, of: (Double, Double, Double).self, for: "the losses of \(other.count) rows")
        var rows: [(row: Int, loss: Double)] = []
        var ends = (sum: 0.0, count: 0)
        let metrics = try trainer.evaluate(other, options, onProgress: onProgress) { numbers, batch, losses in
            let all = batch.sequences
            var sums = [(loss: Double, weight: Double)](repeating: (0, 0), count: numbers.count)
            for (source, weight, loss) in losses {
                let row = source / batch.columns
                let position = source % batch.columns - all[row].column
                sums[row].loss += Double(weight) * Double(loss)
                sums[row].weight += Double(weight)
                guard all.labels[all[row].tokens.lowerBound + position] == batch.endOfTurnID else { continue }
                ends.sum += exp(-Double(loss))
                ends.count += 1
            }
            for (row, sum) in zip(numbers, sums) where sum.weight > 0 { rows.append((row, sum.loss / sum.weight)) }
        }
        rows.sort { ($0.loss, $1.row) > ($1.loss, $0.row) }
        return Evaluation(
            step: stepCount, kind: kind, loss: metrics.loss, supervisedTokens: metrics.supervisedTokens,
            seconds: metrics.seconds, endOfTurnProbability: ends.count > 0 ? ends.sum / Double(ends.count) : nil,
            worstRows: rows.prefix(Evaluation.worstCount).map { .init(line: other.line(ofRow: $0.row), loss: $0.loss) })
    }
}
