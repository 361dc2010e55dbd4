/// A Qwen2 or Qwen3 decoder-only language model: its configuration and its weights.
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

    let layout: ParameterLayout
    private(set) var weights: ParameterStorage
    package let compute = Compute()
    /// The weights and the adapter that is set, ready to compute with.
    private(set) var decoder: Decoder
    var adapters: [Adapter] = []
    /// The adapter that is set.
    var active: Adapter?
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
        _ configuration: Configuration, _ generationDefaults: GenerationConfiguration, _ layout: ParameterLayout,
        _ weights: ParameterStorage, _ source: CheckpointSource
    ) {
        self.configuration = configuration
        self.generationDefaults = generationDefaults
        self.layout = layout
        self.weights = weights
        self.source = source
        dtype = weights.dtype
        quantization = weights.quantization
        decoder = Decoder(configuration, layout, weights)
        isTrainable = Array(repeating: true, count: layout.list.parameters.count)
    }

    /// Every parameter, in the order of the layers. A tied matrix is one parameter.
    public var parameters: [Parameter] { layout.list.parameters }

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

    /// Before the weights are changed: a clone may have them too.
    func ownWeights() throws(QwenSFTError) {
        guard !isKnownUniquelyReferenced(&weights) else { return }
        weights = try weights.clone()
        decoder = Decoder(configuration, layout, weights)
        updateDecoder()
    }

    /// After another adapter was set.
    func updateDecoder() {
        decoder = decoder.adapted(by: active)
    }

    var head: LanguageModelHead {
        LanguageModelHead(
            norm: decoder.norm, projection: decoder.head, tokens: decoder.headTokens, logitBudget: logitBudget)
    }

    /// An empty cache for this model.
    func makeCache() -> KeyValueCache {
        KeyValueCache(
            layers: configuration.layers, shape: configuration.attention, context: configuration.maxPositions,
            form: .fastest(dtype))
    }

    /// Logits of every position.
    /// - Parameters:
    ///   - inputIDs: (rows, columns), row-major.
    ///   - rows: of the arrays.
    ///   - columns: of the arrays.
    ///   - attentionMask: (rows, columns) of 1 and, to the right or the left of them, 0; nil: all 1.
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
        let tokens = try inputIDs.withUnsafeBufferPointer { (ids) throws(QwenSFTError) in
            try (attentionMask ?? []).withUnsafeBufferPointer { (mask) throws(QwenSFTError) in
                try TokenRows(
                    ids, mask: attentionMask == nil ? nil : mask, rows: rows, columns: columns, configuration)
            }
        }
        try Memory.require(count, of: Float.self, for: "logits")
        var logits = [Float](repeating: 0, count: count)
        var failure: QwenSFTError?
        logits.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            let all = MutableMatrix(base, rows: cells, columns: configuration.vocabularySize)
            do throws(QwenSFTError) { try forward(tokens, columns: columns, logits: all) } catch { failure = error }
        }
        if let failure { throw failure }
        return logits
    }

    /// `forward` into zeroed memory for (rows, columns, vocabulary) numbers.
    package func forward(
        _ inputIDs: UnsafeBufferPointer<Int64>, rows: Int, columns: Int, attentionMask: UnsafeBufferPointer<Int64>?,
        logits: UnsafeMutablePointer<Float>
    ) throws(QwenSFTError) {
        let tokens = try TokenRows(inputIDs, mask: attentionMask, rows: rows, columns: columns, configuration)
        let all = MutableMatrix(logits, rows: rows * columns, columns: configuration.vocabularySize)
        try forward(tokens, columns: columns, logits: all)
    }

    private func forward(
        _ tokens: TokenRows, columns: Int, logits: MutableMatrix<Float>
    ) throws(QwenSFTError) {
        try exclusively { () throws(QwenSFTError) in
            try compute.session { () throws(QwenSFTError) in
                let layout = RowLayout(tokens.sequences, sharing: false)
                let rows = DecoderRows(ids: layout.ids, positions: layout.positions, plan: layout.attentionPlan)
                let hidden = try decoder.forward(rows, keeping: .nothing, compute: compute).output
                for (row, rows) in layout.rowOf.enumerated() {
                    guard let first = rows.first.map(Int.init) else { continue }
                    let start = row * columns + tokens.columns[row]
                    try head.logits(
                        logits[rows: start..<start + rows.count],
                        hidden.readOnly[rows: first..<first + rows.count], compute: compute)
                }
            }
        }
    }
}

extension Configuration {
    var attention: AttentionShape {
        AttentionShape(heads: heads, keyValueHeads: kvHeads, headDimension: headDimension)
    }
}
