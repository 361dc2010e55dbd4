/// How much memory training takes, in bytes: an estimate from the configuration, before anything is opened.
public struct TrainingMemory: Sendable, Equatable {
    /// The model itself, and the adapter.
    public var weights: Int
    /// 0 where gradients go straight into the weights: plain SGD without clipping, one batch a step.
    public var gradients: Int
    /// Momentum, or AdamW's moments.
    public var optimizer: Int
    /// What forward leaves for backward, and the logits; depends on the tokens of a batch.
    public var activations: Int

    public var total: Int { weights + gradients + optimizer + activations }

    /// - Parameters:
    ///   - configuration: the model's.
    ///   - setup: what is trained, by which optimizer, in which formats.
    ///   - tokens: of the largest batch.
    ///   - supervised: how many of them are supervised; nil: all.
    ///   - accumulation: batches a step.
    /// - Throws: `invalidArgument` for an adapter that the model cannot have, `unsupported` for weights that cannot be trained.
    public init(
        _ configuration: Configuration, _ setup: TrainingSetup = .init(), tokens: Int, supervised: Int? = nil,
        accumulation: Int = 1
    ) throws(QwenSFTError) {
        let layout = ParameterLayout(configuration)
        var list = layout.list
        if let adapter = setup.adapter { list = try Adapter.parameters(adapter, layout) }
        let bytes = (list.matrixCount + list.vectorCount) * 4
        let isDirect =
            setup.adapter == nil && setup.options.updatesDirectly(setup.optimizer, accumulation: accumulation)
        weights = try setup.weightByteCount(layout.list) + (setup.adapter == nil ? 0 : bytes)  // A and B are float32
        gradients = isDirect ? 0 : bytes
        // Outer steps remember their momentum and where they begin.
        let outer = setup.options.ranks?.outer == nil ? 0 : 2 * bytes
        optimizer = setup.optimizer.stateByteCount(list) + outer
        activations = Self.activations(
            configuration, recomputation: setup.options.recomputation, tokens: tokens, supervised: supervised)
    }

    private static func activations(
        _ c: Configuration, recomputation: Bool, tokens: Int, supervised: Int?
    ) -> Int {
        // Numbers a token: what a layer keeps for backward, and its output.
        let counted = 64
        let counting = Arena.counting()
        _ = try? DecoderLayer.Saved(rows: counted, c, counting)
        let kept = counting.peakByteCount / 4 / counted
        // Of backward, beside two rows of the residual stream: through the MLP, or through attention.
        let states = c.attention.width * (c.architecture.qkNorm ? 2 : 1)
        let scratch = 2 * c.hiddenSize + max(3 * c.intermediateSize, 3 * c.attention.queryWidth + states)
        let perToken =
            recomputation
            ? (c.layers + 2) * c.hiddenSize + kept + scratch
            : c.layers * (kept + c.hiddenSize) + 2 * c.hiddenSize + scratch
        // Sizes beyond the address space are an estimate of "too much" and nothing more.
        let tokens = Double(max(0, tokens))
        let targets = min(Double(max(0, supervised ?? .max)), tokens)
        let logits = min(targets * Double(c.vocabularySize), Double(LanguageModelHead.defaultLogitBudget))
        let numbers = tokens * Double(perToken) + targets * 3 * Double(c.hiddenSize) + logits
        return Int(min(numbers * 4, 1e18))
    }
}
