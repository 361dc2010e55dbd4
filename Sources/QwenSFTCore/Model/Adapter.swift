/// Low-rank parts for a model's linear layers, and rows for a few tokens: what is trained instead of the model, a few megabytes of
/// float32.
public final class Adapter: @unchecked Sendable {
    public let name: String
    public let configuration: LoRAConfiguration
    let storage: ParameterStorage
    /// By projection, in the order of the layers.
    let lowRanks: [LowRank?]
    /// The rows of a few tokens; in a tied model the head's are the embedding's, unless it has its own.
    let embeddingTokens: TokenReplacement?
    let headTokens: TokenReplacement?

    /// A and B of every adapted layer and the rows of tokens, named as PEFT's files name them.
    public var parameters: [Parameter] { storage.list.parameters }
    /// Numbers in it.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

    /// Zeros.
    /// - Throws: `invalidArgument` where nothing of the model is adapted; `outOfMemory`.
    init(_ name: String, _ configuration: LoRAConfiguration, _ layout: ParameterLayout) throws(QwenSFTError) {
        let (list, plans, tokens) = try Self.plan(configuration, layout)
        self.name = name
        self.configuration = configuration
        let storage = try ParameterStorage(list, dtype: .float32, purpose: "the adapter '\(printable(name))'")
        self.storage = storage
        lowRanks = plans.map { plan in plan.map { $0.lowRank(in: storage, dropout: configuration.dropout) } }
        (embeddingTokens, headTokens) = tokens.replacements(in: storage)
    }

    /// What an adapter of a model of this layout is made of, before there is memory for it.
    private static func plan(
        _ configuration: LoRAConfiguration, _ layout: ParameterLayout
    ) throws(QwenSFTError) -> (list: ParameterList, plans: [LowRankPlan?], tokens: TokenReplacementPlan) {
        let targets = try LoRATargets(configuration)
        try refuseOtherTargets(targets, configuration, layout)
        var list = ParameterList()
        var plans: [LowRankPlan?] = []
        for (index, layer) in layout.layers.enumerated() {
            for matrix in [layer.qkv, layer.output, layer.gateUp, layer.down] {
                plans.append(try LowRankPlan(matrix, layer: index, targets, layout, &list))
            }
        }
        guard !list.parameters.isEmpty else {
            throw QwenSFTError(.invalidArgument, "target_modules: none of the model's linear layers is meant")
        }
        let tokens = try TokenReplacementPlan(configuration, layout, &list)
        return (list, plans, tokens)
    }

    /// The parameters that one would have.
    static func parameters(_ configuration: LoRAConfiguration, _ layout: ParameterLayout) throws(QwenSFTError)
        -> ParameterList
    {
        try plan(configuration, layout).list
    }

    /// Embedding and output matrix can be meant by name; they have no low-rank parts here.
    private static func refuseOtherTargets(
        _ targets: LoRATargets, _ configuration: LoRAConfiguration, _ layout: ParameterLayout
    ) throws(QwenSFTError) {
        for module in ["model.embed_tokens", "lm_head"] where try targets.contains(module, layer: nil) {
            throw QwenSFTError(
                .unsupported,
                "target_modules: '\(module)' is meant; this version adapts the linear layers of the decoder only"
            )
        }
        if let layer = configuration.layers?.first(where: { !layout.layers.indices.contains($0) }) {
            throw QwenSFTError(
                .invalidArgument,
                "layers_to_transform: there is no layer \(layer); the model has \(layout.layers.count)")
        }
    }

    /// The values that training starts from: A uniform within ±1/√inputs, as PEFT's, and B 0; the rows of tokens are the base's.
    func initialize(on base: Decoder) {
        var random = RandomSource(seed: configuration.seed)
        for parameter in parameters where parameter.name.hasSuffix(Self.suffixA) {
            let bound = 1 / Double(parameter.shape[1]).squareRoot()
            for index in storage.floats(parameter).buffer.indices {
                storage.floats(parameter).buffer[index] = Float((2 * random.uniform() - 1) * bound)
            }
        }
        for (tokens, projection) in [(embeddingTokens, base.embedding), (headTokens, base.head)] {
            if let tokens { tokens.rows.read(from: projection.weight, to: storage.floats(tokens.matrix)) }
        }
    }

    /// The same values in memory of their own.
    func clone(_ layout: ParameterLayout) throws(QwenSFTError) -> Adapter {
        let copy = try Adapter(name, configuration, layout)
        copy.storage.copy(from: storage)
        return copy
    }

    static let prefix = "base_model.model."
    static let suffixA = ".lora_A.weight"
    static let suffixB = ".lora_B.weight"
    static let suffixTokens = ".token_adapter.trainable_tokens_delta"
}

/// What a projection's low-rank parts are made of, before there is memory for them.
private struct LowRankPlan {
    private let a: ParameterLayout.Matrix
    private let parts: [(outputs: Range<Int>, rank: Int, scale: Float, b: ParameterLayout.Matrix)]

    /// - Returns: nil where nothing of the matrix is adapted.
    init?(
        _ matrix: ParameterLayout.Matrix, layer: Int, _ targets: LoRATargets, _ layout: ParameterLayout,
        _ list: inout ParameterList
    ) throws(QwenSFTError) {
        var found: [(name: String, outputs: Range<Int>, rank: Int, scale: Float)] = []
        var start = 0
        for index in matrix.parameters {
            let parameter = layout.list.parameters[index]
            let outputs = start..<start + parameter.shape[0]
            start = outputs.upperBound
            let module = String(parameter.name.dropLast(".weight".count))
            guard try targets.contains(module, layer: layer) else { continue }
            let (rank, scale) = try targets.part(of: module)
            found.append((Adapter.prefix + module, outputs, rank, scale))
        }
        guard !found.isEmpty else { return nil }
        a = list.matrix(found.map { ($0.name + Adapter.suffixA, $0.rank) }, columns: matrix.columns)
        var parts: [(outputs: Range<Int>, rank: Int, scale: Float, b: ParameterLayout.Matrix)] = []
        for part in found {
            let b = list.matrix([(part.name + Adapter.suffixB, part.outputs.count)], columns: part.rank)
            parts.append((part.outputs, part.rank, part.scale, b))
        }
        self.parts = parts
    }

    func lowRank(in storage: ParameterStorage, dropout: Double) -> LowRank {
        var start = 0
        let parts = parts.map { part in
            defer { start += part.rank }
            return LowRank.Part(
                outputs: part.outputs, ranks: start..<start + part.rank, scale: part.scale, b: part.b,
                up: storage.floats(part.b).readOnly)
        }
        return LowRank(a: a, down: storage.floats(a).readOnly, parts: parts, dropout: dropout)
    }
}

extension Adapter {
    /// The values of a parameter; nobody may train the adapter meanwhile.
    package func values(of parameter: Parameter) -> [Float] { storage.weight(parameter).values }

    /// Replaces them.
    package func setValues(_ values: [Float], of parameter: Parameter) {
        values.withUnsafeBufferPointer { storage.weight(parameter).set($0) }
    }
}
