/// A Qwen2 decoder-only language model: its configuration and its weights.
///
/// A model does one thing at a time; a second call meanwhile throws `busy`.
public final class Model: @unchecked Sendable {
    public let configuration: Configuration
    /// What generation_config.json says; options that are left open take their values from it.
    public let generationDefaults: GenerationConfiguration
    /// How matrices are kept in memory.
    public let dtype: DType
    /// In how many bits they are kept instead; such a model answers and is not trained.
    public let quantization: Quantization?

    let weights: ParameterStorage
    package let compute = Compute()
    let rotary: RotaryEmbedding
    /// The directory the model was opened from, whose other files a saved checkpoint takes along.
    let source: CheckpointSource
    /// By parameter; frozen ones get no gradient.
    var isTrainable: [Bool]
    /// Ids that end a turn in conversations the model was trained on; a saved checkpoint stops at them.
    var learnedStopIDs: [Int32] = []
    /// Most logits that exist at one time in training.
    package var logitBudget = LanguageModelHead.defaultLogitBudget
    private let useAlone = Exclusive()
    /// Asks the generation under way to end.
    let generationStop = StopFlag()
    /// Whether a step is changing weights: a call that is left in the middle of it leaves them so.
    var isHalfChanged = false
    /// Moves with every change of the weights: what was computed with an older number is out of date.
    package internal(set) var weightsVersion = 0

    /// Memory that the weights take.
    package var weightBytes: Int { weights.byteCount }

    init(
        _ configuration: Configuration, _ generationDefaults: GenerationConfiguration, _ weights: ParameterStorage,
        _ source: CheckpointSource
    ) {
        self.configuration = configuration
        self.generationDefaults = generationDefaults
        self.weights = weights
        self.source = source
        dtype = weights.dtype
        quantization = weights.quantization
        rotary = RotaryEmbedding(theta: configuration.ropeTheta, headDimension: configuration.headDimension)
        isTrainable = Array(repeating: true, count: weights.layout.parameters.count)
    }

    /// Every parameter, in the order of the layers. A tied matrix is one parameter.
    public var parameters: [Parameter] { weights.layout.parameters }

    /// Runs `body` as the only user of the model.
    /// - Throws: `busy` when it is in use.
    func exclusively<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        try useAlone("model", afterAbandonment: whatIsLeft) { () throws(QwenSFTError) in
            try ThreadPool.shared.session(body)
        }
    }

    /// What is to be known of the weights after a call that will never return.
    private func whatIsLeft() -> String? {
        guard isHalfChanged else { return nil }
        isHalfChanged = false
        return "a step had changed a part of its weights"
    }

    func layer(_ index: Int) -> DecoderLayer {
        DecoderLayer(
            configuration: configuration, weights: weights, layout: weights.layout.layers[index], rotary: rotary,
            compute: compute)
    }

    var head: LanguageModelHead {
        LanguageModelHead(configuration: configuration, weights: weights, compute: compute, logitBudget: logitBudget)
    }

    /// Logits of every position.
    /// - Parameters:
    ///   - inputIDs: (rows, columns), row-major.
    ///   - attentionMask: (rows, columns) of 1 and, to the right of them, 0; nil: all 1.
    /// - Returns: (rows, columns, vocabulary); zeros at padding.
    /// - Throws: `invalidArgument` for wrong shapes, ids and masks; `tooLong`; `busy`.
    public func forward(
        _ inputIDs: [Int64], rows: Int, columns: Int, attentionMask: [Int64]? = nil
    ) throws(QwenSFTError) -> [Float] {
        let (cells, overflow) = rows.multipliedReportingOverflow(by: columns)
        let (count, overflow2) = cells.multipliedReportingOverflow(by: configuration.vocabularySize)
        guard rows > 0, columns > 0, !overflow, !overflow2, count <= Int.max / 8 else {
            throw QwenSFTError(.invalidArgument, "logits of \(rows) rows by \(columns) columns have no possible size")
        }
        let sequences = try TokenRows(inputIDs, mask: attentionMask, rows: rows, columns: columns, configuration)
            .sequences
        _ = try HugeBuffer(byteCount: count * 4, purpose: "logits")  // an array that finds no memory ends the process
        var logits = [Float](repeating: 0, count: count)
        var failure: QwenSFTError?
        logits.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            do throws(QwenSFTError) { try forward(sequences, columns: columns, logits: base) } catch { failure = error }
        }
        if let failure { throw failure }
        return logits
    }

    /// `forward` into zeroed memory for (rows, columns, vocabulary) numbers.
    package func forward(
        _ inputIDs: [Int64], rows: Int, columns: Int, attentionMask: [Int64]?, logits: UnsafeMutablePointer<Float>
    ) throws(QwenSFTError) {
        let sequences = try TokenRows(inputIDs, mask: attentionMask, rows: rows, columns: columns, configuration)
            .sequences
        try forward(sequences, columns: columns, logits: logits)
    }

    private func forward(
        _ sequences: [[Int32]], columns: Int, logits: UnsafeMutablePointer<Float>
    ) throws(QwenSFTError) {
        try exclusively { () throws(QwenSFTError) in
            try compute.session { () throws(QwenSFTError) in
                let layout = RowLayout(sequences, sharing: false)
                let hidden = try hiddenStates(layout.ids, layout.positions, plan: layout.attentionPlan)
                for (row, rows) in layout.rowOf.enumerated() {
                    guard let first = rows.first else { continue }
                    try head.logits(
                        logits + row * columns * configuration.vocabularySize,
                        x: hidden + Int(first) * configuration.hiddenSize, rows: rows.count)
                }
            }
        }
    }

    /// The residual stream after the last layer, (rows or wanted rows, hidden), in the arena.
    /// - Parameters:
    ///   - cache: earlier tokens; these rows are appended to it.
    ///   - wanted: how many of the rows, counted from the end, are asked for; nil: all.
    func hiddenStates(
        _ ids: [Int32], _ positions: [Int32], plan: AttentionPlan, cache: KeyValueCache? = nil, wanted: Int? = nil
    ) throws(QwenSFTError) -> UnsafeMutablePointer<Float> {
        let rows = ids.count
        rotary.reserve(Int(positions.max() ?? 0) + 1)
        try cache?.reserve((cache?.count ?? 0) + rows)
        let x = try compute.arena.floats(rows * configuration.hiddenSize)
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let activations = try LayerActivations(rows: rows, configuration, compute.arena)
        let last = wanted.map { (rows - $0..<rows).map(Int32.init) }
        Embedding.forward(x, ids: ids, table: weights.weight(weights.layout.embedding), rows: rows, compute: compute)
        for index in 0..<configuration.layers {
            try layer(index).forward(
                x, input: x, saved: activations, positions: positions, rows: rows, plan: plan,
                cache: cache?.layer(index),
                wanted: index == configuration.layers - 1 ? last : nil)
        }
        cache?.append(rows)
        return x
    }
}

extension Configuration {
    var attention: AttentionShape {
        AttentionShape(heads: heads, keyValueHeads: kvHeads, headDimension: headDimension)
    }
}
