import CKernels
import Libc

/// −log softmax at the targets, from logits that exist for a tile of the vocabulary at a time.
struct CrossEntropy {
    private let targets: Targets
    /// So far, by row: the largest logit, and the sum of exponentials of what the logits are below it.
    private let maxima: MutableMatrix<Float>
    private let sums: MutableMatrix<Float>
    /// The logit of every target.
    private let chosen: MutableMatrix<Float>
    private var isFirst = true

    init(_ targets: Targets, _ arena: Arena) throws(QwenSFTError) {
        self.targets = targets
        maxima = try arena.matrix(rows: 1, columns: targets.rows.count)
        sums = try arena.matrix(rows: 1, columns: targets.rows.count)
        chosen = try arena.matrix(rows: 1, columns: max(targets.targets.count, 1))
    }

    /// The next tile: logits (rows, range.count).
    mutating func add(_ logits: Matrix<Float>, of range: Range<Int>, compute: Compute) {
        let isFirst = isFirst
        self.isFirst = false
        compute.rows(logits.rows) {
            for i in $0 {
                let row = logits.at(i)
                let (maximum, sum) = (maxima.at(0, i), sums.at(0, i))
                if isFirst { (maximum.pointee, sum.pointee) = (-.greatestFiniteMagnitude, 0) }
                let top = max(maximum.pointee, qk_max_value(row, range.count))
                sum.pointee = sum.pointee * expf(maximum.pointee - top) + qk_sum_exp(row, range.count, top)
                maximum.pointee = top
                for index in targets.starts[i]..<targets.starts[i + 1] {
                    let token = Int(targets.targets[index].token)
                    if range.contains(token) { chosen.at(0, index).pointee = row[token - range.lowerBound] }
                }
            }
        }
    }

    /// The cross-entropy of every target, once all tiles were there; and log Σ exp of every row's logits.
    func finish(_ logSumExp: MutableMatrix<Float>) -> [(source: Int, weight: Float, loss: Float)] {
        var losses: [(source: Int, weight: Float, loss: Float)] = []
        losses.reserveCapacity(targets.targets.count)
        for i in 0..<targets.rows.count {
            let total = maxima.at(0, i).pointee + logf(sums.at(0, i).pointee)
            logSumExp.at(0, i).pointee = total
            for index in targets.starts[i]..<targets.starts[i + 1] {
                let target = targets.targets[index]
                losses.append((target.source, target.weight, total - chosen.at(0, index).pointee))
            }
        }
        return losses
    }

    /// A tile's logits := Σ over the row's targets of weight · (softmax − onehot) ÷ `totalWeight`.
    static func gradient(
        _ logits: MutableMatrix<Float>, _ targets: Targets, of range: Range<Int>, logSumExp: MutableMatrix<Float>,
        totalWeight: Double, compute: Compute
    ) {
        compute.rows(logits.rows) {
            for i in $0 {
                let row = logits.at(i)
                // Shares of the total in double precision: weights may be as small or large as float32 goes.
                let weight = targets.of(i).reduce(0.0) { $0 + Double($1.weight) }
                qk_exp_scaled(row, range.count, logSumExp.at(0, i).pointee, Float(weight / totalWeight))
                for target in targets.of(i) where range.contains(Int(target.token)) {
                    row[Int(target.token) - range.lowerBound] -= Float(Double(target.weight) / totalWeight)
                }
            }
        }
    }
}
