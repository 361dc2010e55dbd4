import CKernels
import Glibc

/// What the head is to predict: rows whose next token is supervised, and the tokens and weights asked of each. A row that
/// several sequences share may have several.
struct Targets {
    struct Target {
        let token: Int32
        let weight: Float
        /// Where the caller's (sequence, position) is, for losses by token.
        let source: Int
    }
    /// Row indices, ascending.
    private(set) var rows: [Int32] = []
    /// Row `i` has the targets `starts[i]..<starts[i + 1]`.
    private(set) var starts: [Int] = [0]
    private(set) var targets: [Target] = []

    init(_ unordered: [(row: Int32, target: Target)]) {
        for (row, target) in unordered.sorted(by: { ($0.row, $0.target.source) < ($1.row, $1.target.source) }) {
            if rows.last != row {
                rows.append(row)
                starts.append(targets.count)
            }
            targets.append(target)
            starts[starts.count - 1] = targets.count
        }
    }

    func of(_ index: Int) -> ArraySlice<Target> { targets[starts[index]..<starts[index + 1]] }
}

/// The final norm, the output matrix and the cross-entropy, at the rows that count and nowhere else.
///
/// Logits exist for a tile of the vocabulary at a time. Where all of them fit into the budget there is one tile, which
/// forward leaves for backward; where they do not, backward makes each tile again. Either way a tile of the matrix is not
/// needed any more when its gradient is known, so that the gradient may go into the matrix itself.
package struct LanguageModelHead {
    let configuration: Configuration
    let weights: ParameterStorage
    let compute: Compute
    /// Most logits that exist at one time.
    let logitBudget: Int

    package static let defaultLogitBudget = 128 << 20

    /// What forward leaves for backward.
    struct Saved {
        let targets: Targets
        /// The residual stream, its 1/rms, and the normalized rows.
        let x: UnsafePointer<Float>
        let reciprocal: UnsafeMutablePointer<Float>
        let normalized: UnsafeMutablePointer<Float>
        let logSumExp: UnsafeMutablePointer<Float>
        /// (rows, tile) logits.
        let logits: UnsafeMutablePointer<Float>
        let tile: Int
        /// Cross-entropy of every target, by `source`.
        let losses: [(source: Int, weight: Float, loss: Float)]
    }

    private var hidden: Int { configuration.hiddenSize }
    private var vocabulary: Int { configuration.vocabularySize }

    /// Cross-entropy of every target; x (rows of the targets, hidden) is the output of the last layer, which backward reads
    /// again.
    func forward(x: UnsafePointer<Float>, targets: Targets) throws(QwenSFTError) -> Saved {
        let rows = targets.rows.count
        let reciprocal = try compute.arena.floats(rows)
        let normalized = try compute.arena.floats(rows * hidden)
        let logSumExp = try compute.arena.floats(rows)
        let tile = max(min(vocabulary, 64), min(vocabulary, logitBudget / max(rows, 1) / 64 * 64))
        let logits = try compute.arena.floats(rows * tile)
        normalize(normalized, reciprocal, x, rows: rows)

        let maxima = try compute.arena.floats(rows)
        let sums = try compute.arena.floats(rows)
        let chosen = try compute.arena.floats(max(targets.targets.count, 1))
        maxima.update(repeating: -.greatestFiniteMagnitude, count: rows)
        sums.update(repeating: 0, count: rows)
        try forEachTile(tile) { (range, matrix) throws(QwenSFTError) in
            try makeLogits(logits, tile: tile, normalized, matrix, rows: rows)
            compute.rows(rows) {
                for i in $0 {
                    let row = logits + i * tile
                    let top = max(maxima[i], qk_max_value(row, range.count))
                    sums[i] = sums[i] * expf(maxima[i] - top) + qk_sum_exp(row, range.count, top)
                    maxima[i] = top
                    for index in targets.starts[i]..<targets.starts[i + 1] {
                        let token = Int(targets.targets[index].token)
                        if range.contains(token) { chosen[index] = row[token - range.lowerBound] }
                    }
                }
            }
        }
        var losses: [(source: Int, weight: Float, loss: Float)] = []
        losses.reserveCapacity(targets.targets.count)
        for i in 0..<rows {
            logSumExp[i] = maxima[i] + logf(sums[i])
            for index in targets.starts[i]..<targets.starts[i + 1] {
                let target = targets.targets[index]
                losses.append((target.source, target.weight, logSumExp[i] - chosen[index]))
            }
        }
        return Saved(
            targets: targets, x: x, reciprocal: reciprocal, normalized: normalized, logSumExp: logSumExp,
            logits: logits, tile: tile, losses: losses)
    }

    /// dx (rows of the targets, hidden) = gradient of Σ weight · cross-entropy ÷ `totalWeight` to the output of the last layer.
    func backward(
        _ dx: UnsafeMutablePointer<Float>, saved: Saved, totalWeight: Double, sink: GradientSink
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let rows = saved.targets.rows.count
        let dNormalized = try compute.arena.floats(rows * hidden)
        let layout = weights.layout.head
        let isTrainable = !sink.trainableRows(of: layout).isEmpty
        var isFirst = true
        try forEachTile(saved.tile) { (range, matrix) throws(QwenSFTError) in
            if saved.tile < vocabulary {
                try makeLogits(saved.logits, tile: saved.tile, saved.normalized, matrix, rows: rows)
            }
            softmaxGradient(saved, range: range, totalWeight: totalWeight, rows: rows)
            try Linear.inputGradient(
                dNormalized, ldx: hidden, dy: saved.logits, ldy: saved.tile, weight: matrix, rows: rows,
                accumulate: !isFirst, compute: compute)
            isFirst = false
            if isTrainable {
                try Linear.weightGradient(
                    sink.destination(layout, rows: range), dy: saved.logits, ldy: saved.tile, x: saved.normalized,
                    ldx: hidden, weight: matrix, rows: rows, compute: compute)
            }
        }
        compute.rows(rows) { (dx + $0.lowerBound * hidden).update(repeating: 0, count: $0.count * hidden) }
        try RMSNorm.backward(
            dx, sink.vector(weights.layout.norm), reciprocal: saved.reciprocal, dy: dNormalized, x: saved.x,
            weight: weights.vector(weights.layout.norm), rows: rows, width: hidden, compute: compute)
    }

    /// logits (rows, vocabulary) of x (rows, hidden), all at once.
    func logits(
        _ logits: UnsafeMutablePointer<Float>, x: UnsafePointer<Float>, rows: Int
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let normalized = try compute.arena.floats(rows * hidden)
        normalize(normalized, try compute.arena.floats(rows), x, rows: rows)
        try makeLogits(logits, tile: vocabulary, normalized, weights.weight(weights.layout.head), rows: rows)
    }

    private func normalize(
        _ y: UnsafeMutablePointer<Float>, _ reciprocal: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>,
        rows: Int
    ) {
        RMSNorm.forward(
            y, reciprocal: reciprocal, x: x, weight: weights.vector(weights.layout.norm), rows: rows, width: hidden,
            epsilon: Float(configuration.rmsNormEpsilon), compute: compute)
    }

    private func makeLogits(
        _ logits: UnsafeMutablePointer<Float>, tile: Int, _ normalized: UnsafePointer<Float>, _ matrix: Weight,
        rows: Int
    ) throws(QwenSFTError) {
        try Linear.forward(logits, ldy: tile, x: normalized, ldx: hidden, weight: matrix, rows: rows, compute: compute)
    }

    private func forEachTile(
        _ tile: Int, _ body: (Range<Int>, Weight) throws(QwenSFTError) -> Void
    ) throws(QwenSFTError) {
        let matrix = weights.weight(weights.layout.head)
        var start = 0
        while start < vocabulary {
            let range = start..<min(start + tile, vocabulary)
            try body(range, matrix.slice(range))
            start = range.upperBound
        }
    }

    /// logits := Σ over the row's targets of weight · (softmax − onehot) ÷ `totalWeight`.
    private func softmaxGradient(_ saved: Saved, range: Range<Int>, totalWeight: Double, rows: Int) {
        let targets = saved.targets
        compute.rows(rows) {
            for i in $0 {
                let row = saved.logits + i * saved.tile
                // Shares of the total in double precision: weights may be as small or large as float32 goes.
                let weight = targets.of(i).reduce(0.0) { $0 + Double($1.weight) }
                qk_exp_scaled(row, range.count, saved.logSumExp[i], Float(weight / totalWeight))
                for target in targets.of(i) where range.contains(Int(target.token)) {
                    row[Int(target.token) - range.lowerBound] -= Float(Double(target.weight) / totalWeight)
                }
            }
        }
    }
}
