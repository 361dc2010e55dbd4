/// The sizes and constants of a Qwen2 or Qwen3 model, read from a checkpoint's `config.json`.
///
/// Both spellings of transformers are read: `rope_theta` and `rope_scaling`, or `rope_parameters`; `torch_dtype` or `dtype`. Where a key is
/// absent, transformers' default for the model's type holds.
public struct Configuration: Sendable {
    /// Width of the residual stream.
    public let hiddenSize: Int
    /// Width of the MLP's inner layer.
    public let intermediateSize: Int
    /// Number of decoder layers.
    public let layers: Int
    /// Number of query heads.
    public let heads: Int
    /// Number of key and value heads; each serves `heads / kvHeads` query heads.
    public let kvHeads: Int
    /// Width of one head; even. All heads together need not be as wide as the residual stream.
    public let headDimension: Int
    /// Rows of the embedding, columns of the logits. At least as many as the tokenizer has tokens.
    public let vocabularySize: Int
    /// The longest sequence the model was made for; with YaRN, what it makes of the pretrained context.
    public let maxPositions: Int
    /// Base of the rotary embedding's wavelengths.
    public let ropeTheta: Double
    /// How longer contexts than the pretrained one are reached; nil: they are not.
    public let yarn: YaRN?
    /// What RMSNorm adds to the mean square.
    public let rmsNormEpsilon: Double
    /// Whether the output matrix is the embedding itself.
    public let tiesWordEmbeddings: Bool
    /// The type of the weights, as this file says; the weight files may say otherwise, and count.
    public var dtype: DType { declaredDType ?? .float32 }
    /// nil: it says none that is known.
    package let declaredDType: DType?
    /// `eos_token_id`; generation_config.json's comes first where there is one.
    public let eosTokenIDs: [Int32]
    /// Number of parameters, tied ones counted once.
    public let parameterCount: Int

    let architecture: Architecture
    /// `model_type`: "qwen2" or "qwen3".
    public var modelType: String { architecture.modelType }

    /// What is there but not used, for whoever opens the model.
    package let warnings: [String]
    /// The whole document, to be written again when the model is saved.
    package let document: JSONObject

    package static let fileName = "config.json"

    /// Many times what any model has: each layer costs memory for its names before any weight is looked for.
    private static let mostLayers = 1 << 14

    /// Reads `config.json` of a checkpoint directory, or what a GGUF file says in its place.
    /// - Throws: `notFound`; `invalidFile` with the name of the wrong key; `unsupported` for other architectures and for
    ///   parts of these that this version does not compute.
    public init(directory: String) throws(QwenSFTError) {
        if try fileExists(directory) {
            try self.init(gguf: GGUFFile(directory))
        } else {
            try self.init(try JSONFields(contentsOf: joinPath(directory, Self.fileName)))
        }
    }

    init(gguf: GGUFFile) throws(QwenSFTError) {
        try self.init(try JSONFields(.object(GGUFConfiguration.document(gguf)), file: gguf.name))
    }

    package init(_ fields: JSONFields) throws(QwenSFTError) {
        var warnings: [String] = []
        architecture = try Self.readArchitecture(fields, &warnings)

        document = fields.object
        hiddenSize = try fields.size("hidden_size")
        intermediateSize = try fields.size("intermediate_size")
        layers = try fields.size("num_hidden_layers")
        guard layers <= Self.mostLayers else {
            throw fields.wrong(
                "num_hidden_layers", "is \(layers), more than any model has (at most \(Self.mostLayers))")
        }
        heads = try fields.size("num_attention_heads")
        kvHeads = try fields.optionalSize("num_key_value_heads") ?? heads
        vocabularySize = try fields.size("vocab_size")
        let context = try fields.optionalSize("max_position_embeddings") ?? 32768
        let rope = try Self.readRope(fields, context: context)
        ropeTheta = rope.theta
        yarn = rope.yarn
        // Some write the longer context here, some leave the pretrained one.
        maxPositions = max(
            context, rope.yarn.map { Int(min(Double($0.originalContext) * $0.factor, Double(Int32.max))) } ?? 0)
        rmsNormEpsilon = try fields.positiveNumber("rms_norm_eps") ?? 1e-6
        tiesWordEmbeddings = try fields.bool("tie_word_embeddings") ?? false
        declaredDType = try Self.readDType(fields, &warnings)
        try Self.checkLayerTypes(fields, layers: layers, context: maxPositions)

        guard heads % kvHeads == 0 else {
            throw fields.wrong(
                "num_key_value_heads", "is \(kvHeads), which does not divide num_attention_heads (\(heads))")
        }
        if let size = try fields.optionalSize("head_dim") {
            headDimension = size
        } else if let size = architecture.defaultHeadDimension {
            headDimension = size
        } else {
            guard hiddenSize % heads == 0 else {
                throw fields.wrong(
                    "num_attention_heads", "is \(heads), which does not divide hidden_size (\(hiddenSize))")
            }
            headDimension = hiddenSize / heads
        }
        guard headDimension % 2 == 0 else {
            throw fields.wrong("head_dim", "is \(headDimension), but rotary embedding needs an even number")
        }
        parameterCount = try Self.countParameters(
            hidden: hiddenSize, inner: intermediateSize, layers: layers, heads: heads, kvHeads: kvHeads,
            headDimension: headDimension, vocabulary: vocabularySize, tied: tiesWordEmbeddings, architecture, fields)
        eosTokenIDs = fields.stopIDs("eos_token_id", vocabulary: vocabularySize, &warnings) ?? []
        self.warnings = warnings
    }

    /// The document with another dtype and otherwise as it was read.
    package func serialized(dtype: DType) -> [UInt8] {
        var document = document
        let key = document["dtype"] != nil ? "dtype" : "torch_dtype"
        document[key] = .string(dtype.rawValue)
        return JSONValue.object(document).serialized(indented: true)
    }

    // MARK: Parts

    private static func readArchitecture(
        _ fields: JSONFields, _ warnings: inout [String]
    ) throws(QwenSFTError) -> Architecture {
        guard let type = try fields.string("model_type") else { throw fields.missing("model_type") }
        guard let architecture = Architecture.known.first(where: { $0.modelType == type }) else {
            let missing = Architecture.missingPart(of: type).map { " (\($0))" } ?? ""
            throw fields.unsupported(
                "model_type",
                "is '\(printable(type))'\(missing); this version computes \(Architecture.list(\.modelType)) only")
        }
        if let value = fields.value("architectures") {
            guard case .array(let names) = value else { throw fields.wrong("architectures", "must be a list of names") }
            for name in names where name.string != architecture.className {
                throw fields.unsupported(
                    "architectures",
                    "names '\(printable(name.string ?? "?"))'; of '\(type)' this version computes '\(architecture.className)' only"
                )
            }
        }
        if let activation = try fields.string("hidden_act"), activation != "silu", activation != "swish" {
            throw fields.unsupported("hidden_act", "is '\(printable(activation))'; '\(type)' has 'silu'")
        }
        if let dropout = try fields.number("attention_dropout"), dropout != 0 {
            warnings.append("\(fields.file): 'attention_dropout' is \(dropout); this version trains without dropout")
        }
        // Qwen2's biases are always there; where others have them, they are on the output, too.
        if !architecture.qkvBias, try fields.bool("attention_bias") == true {
            throw fields.unsupported("attention_bias", "is true; '\(type)' is computed without biases")
        }
        if fields.value("quantization_config") != nil {
            throw fields.unsupported("quantization_config", "is there; this version reads unquantized weights only")
        }
        return architecture
    }

    /// Makes sure that every layer sees the whole of what is before it, as transformers decides it: the layer's own type where
    /// `layer_types` is there; else layers from `max_window_layers` on slide where `use_sliding_window` says so.
    private static func checkLayerTypes(_ fields: JSONFields, layers: Int, context: Int) throws(QwenSFTError) {
        var sliding = 0
        if let value = fields.value("layer_types") {
            guard case .array(let types) = value else { throw fields.wrong("layer_types", "must be a list of names") }
            for type in types where type.string != "full_attention" {
                guard type.string == "sliding_attention" else {
                    throw fields.unsupported(
                        "layer_types",
                        "names '\(printable(type.string ?? "?"))'; this version computes 'full_attention' only")
                }
                sliding += 1
            }
        } else if try fields.bool("use_sliding_window") == true {
            let first = try fields.integer("max_window_layers", in: 0...Int.max, "must be a number of layers") ?? 28
            sliding = max(0, layers - first)
        }
        if sliding == 0 { return }
        var window: Int? = 4096
        if let value = fields.object["sliding_window"] {
            window = if case .null = value { nil } else { try fields.optionalSize("sliding_window") }
        }
        // Without a window, and with one that holds the longest sequence, nothing is hidden.
        if let window, window < context {
            throw fields.unsupported(
                fields.value("layer_types") == nil ? "use_sliding_window" : "layer_types",
                "makes \(sliding) of \(layers) layers slide over \(window) of \(context) tokens; sliding-window attention is not computed by this version"
            )
        }
    }

    /// Weights are read in whatever type the files have them, so that no name keeps a model from opening.
    private static func readDType(_ fields: JSONFields, _ warnings: inout [String]) throws(QwenSFTError) -> DType? {
        for key in ["dtype", "torch_dtype"] {
            guard let name = try fields.string(key) else { continue }
            if let dtype = DType(rawValue: name.hasPrefix("torch.") ? String(name.dropFirst(6)) : name) { return dtype }
            if !["auto", "float64", "double"].contains(name) {
                warnings.append(
                    "\(fields.file): '\(key)' is '\(printable(name))'; weights are read as their files have them, and kept as float32 or bfloat16"
                )
            }
            return nil
        }
        return nil
    }

    /// Makes sure at once that no size computed from these numbers can overflow.
    private static func countParameters(
        hidden: Int, inner: Int, layers: Int, heads: Int, kvHeads: Int, headDimension: Int, vocabulary: Int, tied: Bool,
        _ architecture: Architecture, _ fields: JSONFields
    ) throws(QwenSFTError) -> Int {
        // Each is below 2³¹, so that a product of two fits; those of three are checked.
        let queries = heads * headDimension
        let keys = kvHeads * headDimension
        guard queries <= Int(Int32.max) else {
            throw fields.wrong(
                "num_attention_heads", "times the width of a head is \(queries), more than any model has")
        }
        var total: Int? = 0
        func add(_ factors: Int...) {
            var product = 1
            for factor in factors {
                let (next, overflow) = product.multipliedReportingOverflow(by: factor)
                if overflow {
                    total = nil
                    return
                }
                product = next
            }
            guard let sum = total else { return }
            let (next, overflow) = sum.addingReportingOverflow(product)
            total = overflow ? nil : next
        }
        add(layers, hidden, 2 * queries)  // q, o
        add(layers, hidden, 2 * keys)  // k, v
        if architecture.qkvBias { add(layers, queries + 2 * keys) }
        if architecture.qkNorm { add(layers, 2 * headDimension) }
        add(layers, hidden, 3 * inner)  // gate, up, down
        add(layers, 2 * hidden)  // norms
        add(hidden)
        add(vocabulary, hidden, tied ? 1 : 2)
        // 64 bytes a parameter (weight, gradient, moments, copies) still fit into Int.
        guard let total, total <= Int.max / 64 else {
            throw QwenSFTError(.invalidFile, "\(fields.file): the sizes give more parameters than any memory holds")
        }
        // Matrices that read the same input are one; OpenBLAS counts in 32 bits.
        guard queries + 2 * keys <= Int(Int32.max), 2 * inner <= Int(Int32.max) else {
            throw QwenSFTError(
                .invalidFile, "\(fields.file): the sizes give matrices with more rows than can be computed with")
        }
        return total
    }
}

extension JSONFields {
    /// The ids of a token id or a list of them, in their order and once each; nil where the key is absent. What is no id of a
    /// vocabulary of this size never occurs and is left out, with a warning unless it is -1 or null, which mean just that.
    func stopIDs(_ key: String, vocabulary: Int, _ warnings: inout [String]) -> [Int32]? {
        guard let value = value(key) else { return nil }
        let values: [JSONValue] = if case .array(let list) = value { list } else { [value] }
        var ids: [Int32] = []
        var isOdd = false
        for value in values {
            if case .null = value { continue }
            let integer = value.wholeNumber
            if let integer, integer >= 0, integer < vocabulary, let id = Int32(exactly: integer) {
                if !ids.contains(id) { ids.append(id) }
            } else if integer != -1 {
                isOdd = true
            }
        }
        if isOdd {
            warnings.append(
                "\(file): '\(key)' should be a token id below \(vocabulary), or a list of them; the rest of it is ignored"
            )
        }
        return ids
    }
}

extension JSONValue {
    /// An integer, or a number that happens to have a fraction of zero, 50.0.
    var wholeNumber: Int? { integer ?? double.flatMap { Int(exactly: $0) } }
}
