import Libc

/// The configuration of a model in a GGUF file as config.json and generation_config.json say it.
enum GGUFConfiguration {
    /// Keys of an architecture that are known; any other might make it compute something else.
    private static let keys: [String] = [
        "block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
        "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon",
        "rope.freq_base", "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor",
        "rope.scaling.original_context_length", "rope.scaling.attn_factor", "rope.scaling.yarn_ext_factor",
        "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
        "rope.scaling.finetuned", "vocab_size",
    ]

    /// - Throws: `unsupported` for another architecture, and for keys that would make it compute something else; `invalidFile`.
    static func document(_ gguf: GGUFFile) throws(QwenSFTError) -> JSONObject {
        let architecture = try architecture(gguf)
        let a = architecture.modelType + "."
        for entry in gguf.entries where entry.key.hasPrefix(a) && !keys.contains(String(entry.key.dropFirst(a.count))) {
            throw gguf.unsupported(printable(entry.key), "is there, which this version does not know")
        }
        var document = JSONObject()
        document["architectures"] = .array([.string(architecture.className)])
        document["model_type"] = .string(architecture.modelType)
        document["hidden_act"] = .string("silu")
        func size(_ key: String, as name: String, isNeeded: Bool = true) throws(QwenSFTError) {
            guard let value = try gguf.integer(a + key) else {
                if isNeeded { throw gguf.missing(a + key) }
                return
            }
            document[name] = .integer(value)
        }
        try size("embedding_length", as: "hidden_size")
        try size("feed_forward_length", as: "intermediate_size")
        try size("block_count", as: "num_hidden_layers")
        try size("attention.head_count", as: "num_attention_heads")
        try size("attention.head_count_kv", as: "num_key_value_heads", isNeeded: false)
        try size("context_length", as: "max_position_embeddings")
        try headDimension(gguf, a, &document)
        let epsilon = a + "attention.layer_norm_rms_epsilon"
        guard let value = try number(gguf, epsilon) else { throw gguf.missing(epsilon) }
        document["rms_norm_eps"] = value
        document["rope_theta"] = try number(gguf, a + "rope.freq_base")
        if let yarn = try yarn(gguf, a) { document["rope_scaling"] = .object(yarn) }
        document["tie_word_embeddings"] = .bool(!gguf.tensors.contains { $0.name == GGUFNames.output })
        guard let embedding = gguf.tensors.first(where: { $0.name == GGUFNames.embedding }) else {
            throw QwenSFTError(.invalidFile, "\(gguf.name): holds no tensor '\(GGUFNames.embedding)'")
        }
        document["vocab_size"] = .integer(embedding.shape[0])
        if let tokens = try gguf.strings(GGUFKeys.tokens), tokens.count != embedding.shape[0] {
            throw gguf.wrong(
                GGUFKeys.tokens, "has \(tokens.count) tokens, and '\(embedding.name)' \(embedding.shape[0]) rows")
        }
        document["torch_dtype"] = .string((embedding.dtype ?? .float32).rawValue)
        for (key, name) in [
            ("bos_token_id", "bos_token_id"), ("eos_token_id", "eos_token_id"), ("padding_token_id", "pad_token_id"),
        ] {
            if let id = try gguf.integer(GGUFKeys.tokenizer + key) { document[name] = .integer(id) }
        }
        return document
    }

    private static func architecture(_ gguf: GGUFFile) throws(QwenSFTError) -> Architecture {
        let key = GGUFKeys.architecture
        if let type = try gguf.string(GGUFKeys.type), type != "model" {
            throw gguf.unsupported(GGUFKeys.type, "is '\(printable(type))', not 'model'")
        }
        guard let name = try gguf.string(key) else { throw gguf.missing(key) }
        guard let architecture = Architecture.known.first(where: { $0.modelType == name }) else {
            throw gguf.unsupported(
                key, "is '\(printable(name))'; this version computes \(Architecture.list(\.modelType)) only")
        }
        return architecture
    }

    private static func headDimension(
        _ gguf: GGUFFile, _ a: String, _ document: inout JSONObject
    ) throws(QwenSFTError) {
        let size = try gguf.integer(a + "attention.key_length")
        if let size { document["head_dim"] = .integer(size) }
        if let width = try gguf.integer(a + "attention.value_length"), width != size {
            throw gguf.unsupported(a + "attention.value_length", "is \(width), another width than that of keys")
        }
        guard let rotated = try gguf.integer(a + "rope.dimension_count") else { return }
        var all = size
        if all == nil, let hidden = document["hidden_size"]?.integer,
            let heads = document["num_attention_heads"]?.integer,
            heads > 0
        {
            all = hidden / heads
        }
        guard rotated == all else {
            throw gguf.unsupported(a + "rope.dimension_count", "is \(rotated); this version rotates whole heads")
        }
    }

    private static func number(_ gguf: GGUFFile, _ key: String) throws(QwenSFTError) -> JSONValue? {
        guard let value = gguf.value(key) else { return nil }
        guard let literal = value.literal else { throw gguf.wrong(key, "must be a number") }
        return .number(literal)
    }

    /// llama.cpp multiplies what it computes for YaRN's attention factor by `attn_factor`; `yarn_attn_factor` it does not use.
    private static func yarn(_ gguf: GGUFFile, _ a: String) throws(QwenSFTError) -> JSONObject? {
        let key = a + "rope.scaling."
        guard let type = try gguf.string(key + "type"), type != "none" else {
            if let factor = try number(gguf, key + "factor")?.double, factor != 1, factor != 0 {
                throw gguf.unsupported(
                    key + "factor", "is \(factor) without 'yarn', which this version does not compute")
            }
            return nil
        }
        guard type == "yarn" else {
            throw gguf.unsupported(key + "type", "is '\(printable(type))'; this version computes 'yarn' only")
        }
        if let factor = try number(gguf, key + "yarn_ext_factor")?.double, factor != 1, factor != -1 {
            throw gguf.unsupported(key + "yarn_ext_factor", "is \(factor), not 1")
        }
        var yarn = JSONObject()
        yarn["rope_type"] = .string("yarn")
        guard let factor = try number(gguf, key + "factor") else { throw gguf.missing(key + "factor") }
        yarn["factor"] = factor
        if let original = try gguf.integer(key + "original_context_length") {
            yarn["original_max_position_embeddings"] = .integer(original)
        }
        yarn["beta_fast"] = try number(gguf, key + "yarn_beta_fast")
        yarn["beta_slow"] = try number(gguf, key + "yarn_beta_slow")
        if let more = try number(gguf, key + "attn_factor")?.double, more != 1, let factor = factor.double {
            yarn["attention_factor"] = .number("\(Float(usualAttentionFactor(factor) * more))")
        }
        return yarn
    }

    /// What YaRN multiplies rotated queries and keys by, unless it is told otherwise.
    private static func usualAttentionFactor(_ factor: Double) -> Double { factor <= 1 ? 1 : 0.1 * log(factor) + 1 }

    // MARK: Generation

    /// generation_config.json: how the file says that it wants to be sampled, and where llama.cpp ends an answer.
    static func generation(_ gguf: GGUFFile) throws(QwenSFTError) -> JSONObject {
        var document = JSONObject()
        var ids: [Int] = []
        for key in ["eos_token_id", "eot_token_id", "eom_token_id"] {
            if let id = try gguf.integer(GGUFKeys.tokenizer + key), !ids.contains(id) { ids.append(id) }
        }
        // llama.cpp ends at this one because of its name, and at <|im_end|>, as every chat here does.
        if let tokens = try gguf.strings(GGUFKeys.tokens) {
            let name = Array("<|endoftext|>".utf8)
            // Control tokens are the last ones.
            let place = tokens.lastIndex(of: name)
            if let place, !ids.contains(place) { ids.append(place) }
        }
        if !ids.isEmpty { document["eos_token_id"] = .array(ids.map { .integer($0) }) }
        for (key, name) in sampling {
            if let value = try number(gguf, samplingPrefix + key) { document[name] = value }
        }
        document["do_sample"] = .bool(["top_k", "top_p", "min_p", "temperature"].contains { document[$0] != nil })
        return document
    }

    private static let samplingPrefix = "general.sampling."
    private static let sampling = [
        ("top_k", "top_k"), ("top_p", "top_p"), ("min_p", "min_p"), ("temp", "temperature"),
        ("penalty_repeat", "repetition_penalty"),
    ]

    /// How a checkpoint wants to be sampled, for those who take such values for their defaults.
    static func samplingEntries(_ generation: GenerationConfiguration) -> [GGUFEntry] {
        sampling.compactMap { key, name in
            guard let value = generation.document[name]?.double else { return nil }
            return GGUFEntry(
                samplingPrefix + key, name == "top_k" ? .int32(Int(clamping: Int64(value))) : .float32(value))
        }
    }

    // MARK: Writing

    /// The keys of a configuration, as llama.cpp's converter writes them.
    /// - Throws: `unsupported` for YaRN as llama.cpp does not compute it.
    static func entries(_ c: Configuration) throws(QwenSFTError) -> [GGUFEntry] {
        let a = c.modelType + "."
        var entries = [
            GGUFEntry(a + "block_count", .uint32(c.layers)),
            GGUFEntry(
                a + "context_length", .uint32(c.document["max_position_embeddings"]?.integer ?? c.maxPositions)),
            GGUFEntry(a + "embedding_length", .uint32(c.hiddenSize)),
            GGUFEntry(a + "feed_forward_length", .uint32(c.intermediateSize)),
            GGUFEntry(a + "attention.head_count", .uint32(c.heads)),
            GGUFEntry(a + "attention.head_count_kv", .uint32(c.kvHeads)),
        ]
        if let yarn = c.yarn {
            guard yarn.truncates else {
                throw QwenSFTError(
                    .unsupported,
                    "'truncate' of YaRN is false, which llama.cpp does not compute; the model cannot be written as GGUF"
                )
            }
            let key = a + "rope.scaling."
            entries += [
                GGUFEntry(key + "type", .string("yarn")), GGUFEntry(key + "factor", .float32(yarn.factor)),
                GGUFEntry(key + "original_context_length", .uint32(yarn.originalContext)),
            ]
            let more = Float(yarn.attentionFactor / usualAttentionFactor(yarn.factor))
            if abs(more - 1) > 1e-6 { entries.append(GGUFEntry(key + "attn_factor", .float32(Double(more)))) }
            if yarn.betaFast != 32 { entries.append(GGUFEntry(key + "yarn_beta_fast", .float32(yarn.betaFast))) }
            if yarn.betaSlow != 1 { entries.append(GGUFEntry(key + "yarn_beta_slow", .float32(yarn.betaSlow))) }
        }
        entries += [
            GGUFEntry(a + "rope.freq_base", .float32(c.ropeTheta)),
            GGUFEntry(a + "attention.layer_norm_rms_epsilon", .float32(c.rmsNormEpsilon)),
        ]
        if c.document["head_dim"]?.integer != nil || c.headDimension * c.heads != c.hiddenSize {
            entries += ["key_length", "value_length"].map {
                GGUFEntry(a + "attention." + $0, .uint32(c.headDimension))
            }
        }
        return entries
    }
}
