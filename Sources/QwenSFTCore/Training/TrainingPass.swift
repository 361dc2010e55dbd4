/// One forward and backward through the model for a batch: the rows it needs, what is asked of them, and what forward
/// leaves for backward. Everything lies in the arena of the model's `Compute` and lives as long as its session.
struct TrainingPass {
    /// What a target costs: its place in the (rows, columns) arrays, its weight and its cross-entropy.
    typealias TargetLoss = (source: Int, weight: Float, loss: Float)

    private let model: Model
    private let decoder: Decoder
    /// How far down backward goes.
    private let end: BackwardEnd
    private let rows: DecoderRows
    let targets: Targets
    /// Keep only the layers' inputs, and compute a layer once more before its backward.
    private let recomputes: Bool
    private var trace: Decoder.Trace?
    private var head: LanguageModelHead.Saved?

    /// - Throws: `invalidArgument` for ids out of the vocabulary, `tooLong` for rows longer than the context.
    /// - Parameters:
    ///   - trained: what backward is to follow for.
    ///   - dropoutKey: of what the adapter drops out; nil: nothing.
    init(
        _ model: Model, _ batch: Batch, sharing: Bool, recomputes: Bool, training trained: TrainedParameters,
        dropoutKey: UInt64? = nil
    ) throws(QwenSFTError) {
        self.model = model
        decoder = dropoutKey.map(model.decoder.dropping) ?? model.decoder
        end = trained.end(in: model.decoder)
        self.recomputes = recomputes
        let all = batch.sequences
        try Memory.require(all.ids.count, of: TokenNeeds.self, for: "the rows of a batch")
        var sequences: [[Int32]] = []
        var wanted: [(sequence: Int, position: Int, target: Targets.Target)] = []
        for row in 0..<all.count {
            let tokens = all[row].tokens
            try model.configuration.check(length: tokens.count, row: row)
            var used = 0
            for (position, index) in tokens.enumerated() {
                let column = all[row].column + position
                try model.configuration.check(id: all.ids[index], "input_ids", row: row, position: column)
                let (label, weight) = (all.labels[index], all.weights[index])
                guard position > 0, label != LabelledSequences.ignored, weight != 0 else { continue }
                try model.configuration.check(id: label, "labels", row: row, position: column)
                used = position
                let source = row * batch.columns + column
                wanted.append((row, position - 1, .init(token: label, weight: weight, source: source)))
            }
            // Rows after the last that predicts something supervised change nothing.
            sequences.append(Array(all.ids.buffer[tokens].prefix(used)))
        }
        let layout = RowLayout(sequences, sharing: sharing)
        targets = Targets(wanted.map { (row: layout.rowOf[$0.sequence][$0.position], target: $0.target) })
        // What follows the last layer's attention is computed where something is predicted, and nowhere else.
        rows = DecoderRows(
            ids: layout.ids, positions: layout.positions, plan: layout.attentionPlan, wanted: targets.rows)
    }

    /// Computes every target's cross-entropy.
    /// - Parameters:
    ///   - keeps: whether backward is to follow.
    ///   - advance: told after every part how much of `Work` is done; what it throws ends the pass.
    mutating func forward(
        keeps: Bool, advance: (Int) throws(QwenSFTError) -> Void = { _ in }
    ) throws(QwenSFTError) -> [TargetLoss] {
        let trace = try decoder.forward(
            rows, keeping: !keeps ? .nothing : recomputes ? .inputs : .everything, from: end.layer,
            compute: model.compute
        ) { () throws(QwenSFTError) in try advance(Work.layer) }
        let head = try model.head.forward(trace.output.readOnly, targets: targets, compute: model.compute)
        (self.trace, self.head) = (trace, head)
        try advance(Work.head)
        return head.losses
    }

    /// Takes from the system now what `backward` will need, so that it cannot run out of memory among half written weights.
    func reserveBackward(sink: GradientSink) throws(QwenSFTError) {
        let compute = model.compute
        let bytes = try Compute.peakByteCount(threads: compute.threads) { (rehearsal) throws(QwenSFTError) in
            try backward(totalWeight: 1, sink: sink.rehearsing(rehearsal), compute: rehearsal)
        }
        try compute.arena.reserve(bytes)
    }

    /// Gradients of Σ weight · cross-entropy ÷ `totalWeight`, to `sink`. After `forward(keeps: true)`.
    /// - Parameter advance: as in `forward`.
    func backward(
        totalWeight: Double, sink: GradientSink, compute: Compute,
        advance: (Int) throws(QwenSFTError) -> Void = { _ in }
    ) throws(QwenSFTError) {
        guard let head, let trace else { return }
        let gradient = try compute.arena.matrix(rows: rows.count, columns: model.configuration.hiddenSize)
        try model.head.backward(
            gradient[rows: 0..<targets.rows.count], head, totalWeight: totalWeight, sink: sink, compute: compute)
        try advance(2 * Work.head)
        try decoder.backward(gradient, rows, trace, to: end, sink: sink, compute: compute) {
            () throws(QwenSFTError) in
            try advance((recomputes ? 3 : 2) * Work.layer)
        }
        if let destination = sink.embedding(
            decoder.embedding.matrix, sharedWithHead: model.configuration.tiesWordEmbeddings)
        {
            let norm = Elements.norm(gradient.readOnly, compute: compute)
            try sink.admit(norm * Double(rows.count).squareRoot(), "the embedding")
            try Embedding.backward(destination, ids: rows.ids, dy: gradient.readOnly, compute: compute)
        }
        if let tokens = decoder.embeddingTokens, let target = sink.adapter(tokens.matrix) {
            tokens.rows.lookUpGradient(target, ids: rows.ids, dy: gradient.readOnly, compute: compute)
        }
        try sink.finish()
    }
}

extension TrainingPass {
    /// What a pass has to do, in rough units: backward is two forwards, and one more where layers are computed again.
    enum Work {
        static let layer = 1
        static let head = 1

        /// Of a pass through `layers` layers.
        static func total(layers: Int, backward: Bool, recomputes: Bool) -> Int {
            let times = backward ? recomputes ? 4 : 3 : 1
            return times * layers * layer + (backward ? 3 : 1) * head
        }
    }
}

/// What a token takes while the rows of a pass are found: its id, position and place, twice while they grow, and its target.
private typealias TokenNeeds = (
    ids: (Int32, Int32, Int32, Int32), places: (Int, Int), target: (Int, Int, Targets.Target),
    sorted: (Int, Targets.Target)
)

extension TrainingPass {
    /// Σ weight · cross-entropy over the targets, and that of each.
    /// - Throws: `nonFinite` where that is not finite.
    mutating func finiteLosses(
        keeps: Bool, advance: (Int) throws(QwenSFTError) -> Void
    ) throws(QwenSFTError) -> (sum: Double, all: [TargetLoss]) {
        let losses = try forward(keeps: keeps, advance: advance)
        let sum = losses.reduce(0.0) { $0 + Double($1.weight) * Double($1.loss) }
        guard sum.isFinite else { throw QwenSFTError(.nonFinite, "the loss is \(sum); nothing was changed") }
        return (sum, losses)
    }
}
