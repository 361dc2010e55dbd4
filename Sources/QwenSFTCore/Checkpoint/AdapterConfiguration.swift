/// adapter_config.json, PEFT's description of an adapter: read as PEFT reads it, and written so that PEFT opens it.
///
/// What would make the adapter compute something else than its low-rank parts is refused by name; what only concerned its
/// making is not looked at.
extension LoRAConfiguration {
    package static let fileName = "adapter_config.json"

    /// - Throws: `invalidFile`, `unsupported`, naming the member.
    package init(_ fields: JSONFields) throws(QwenSFTError) {
        self.init()
        if let method = try fields.string("peft_type"), method != "LORA" {
            throw fields.unsupported("peft_type", "is '\(printable(method))'; this version reads LORA only")
        }
        try Self.refuseOthers(fields)
        rank = try fields.optionalSize("r") ?? rank
        alpha = try fields.number("lora_alpha") ?? alpha
        dropout = try fields.number("lora_dropout") ?? dropout
        usesRankStabilization = try fields.bool("use_rslora") ?? false
        switch fields.value("target_modules") {
        case .string(let text): targets = text.lowercased() == "all-linear" ? .allLinear : .pattern(text)
        case .array(let elements):
            var names: [String] = []
            for element in elements {
                guard let name = element.string else { throw fields.wrong("target_modules", "must be a list of names") }
                names.append(name)
            }
            targets = .names(names)
        case nil: targets = .names(["q_proj", "v_proj"])  // PEFT's default for these models
        default: throw fields.wrong("target_modules", "must be a list of names or a string")
        }
        for (key, value) in try fields.object("rank_pattern")?.object.members ?? [] {
            guard let rank = value.integer else { throw fields.wrong("rank_pattern", "must have integers") }
            rankPattern.append((key, rank))
        }
        for (key, value) in try fields.object("alpha_pattern")?.object.members ?? [] {
            guard let alpha = value.double else { throw fields.wrong("alpha_pattern", "must have numbers") }
            alphaPattern.append((key, alpha))
        }
        layers = try Self.layers(fields)
        try readTokens(fields)
        do throws(QwenSFTError) { try validate() } catch {
            throw QwenSFTError(.invalidFile, "\(fields.file): \(error.message)")
        }
    }

    /// The JSON that a program gives for a new adapter. Unlike in a file a member of another name is an error, and all linear
    /// layers are the default.
    /// - Throws: `invalidArgument`, `unsupported`.
    package init(parsing bytes: UnsafeRawBufferPointer) throws(QwenSFTError) {
        do throws(QwenSFTError) {
            let name = "configuration"
            let fields = try JSONFields(try JSONValue(parsing: bytes, file: name, dialect: .python), file: name)
            for (key, _) in fields.object.members where !Self.known.contains(key) {
                throw fields.wrong(printable(key), "is not known")
            }
            try self.init(fields)
            if fields.value("target_modules") == nil { targets = .allLinear }
        } catch {
            throw error.code == .invalidFile ? QwenSFTError(.invalidArgument, error.message) : error
        }
    }

    private static let known: Set<String> = [
        "r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "rank_pattern", "alpha_pattern",
        "layers_to_transform", "peft_type", "task_type", "bias", "use_dora", "modules_to_save", "lora_bias",
        "trainable_token_indices", "init_lora_weights", "fan_in_fan_out", "inference_mode",
    ]

    /// One number or a list of them.
    private static func layers(_ fields: JSONFields) throws(QwenSFTError) -> [Int]? {
        guard let value = fields.value("layers_to_transform") else { return nil }
        let elements: [JSONValue] = if case .array(let list) = value { list } else { [value] }
        var layers: [Int] = []
        for element in elements {
            guard let layer = element.integer, layer >= 0 else {
                throw fields.wrong("layers_to_transform", "must be the numbers of layers")
            }
            layers.append(layer)
        }
        return layers
    }

    /// A list of ids, for the embedding, or lists by the name of the module.
    private mutating func readTokens(_ fields: JSONFields) throws(QwenSFTError) {
        let key = Self.tokensKey
        func ids(_ value: JSONValue) throws(QwenSFTError) -> [Int] {
            guard case .array(let elements) = value else { throw fields.wrong(key, "must be lists of token ids") }
            var ids: [Int] = []
            for element in elements {
                guard let id = element.integer else { throw fields.wrong(key, "must be lists of token ids") }
                ids.append(id)
            }
            return ids
        }
        switch fields.value(key) {
        case nil: return
        case .object(let object):
            for (module, value) in object.members {
                switch module {
                case "embed_tokens", "model.embed_tokens": trainableTokens = try ids(value)
                case "lm_head": trainableOutputTokens = try ids(value)
                default:
                    throw fields.unsupported(
                        key, "names '\(printable(module))'; this version trains rows of embed_tokens and lm_head")
                }
            }
        case .some(let value): trainableTokens = try ids(value)
        }
    }

    /// Options under which an adapter is more, or other, than A and B of linear layers and rows of tokens.
    private static func refuseOthers(_ fields: JSONFields) throws(QwenSFTError) {
        let off: [String: String] = [
            "use_dora": "DoRA", "lora_bias": "a bias on B", "use_qalora": "QALoRA", "use_bdlora": "BD-LoRA",
            "fan_in_fan_out": "transposed weights",
        ]
        for (key, what) in off.sorted(by: { $0.key < $1.key }) where try fields.bool(key) == true {
            throw fields.unsupported(key, "asks for \(what), which this version does not compute")
        }
        if let bias = try fields.string("bias"), bias != "none" {
            throw fields.unsupported("bias", "is '\(printable(bias))'; this version trains and reads no biases")
        }
        for key in [
            "modules_to_save", "target_parameters", "exclude_modules", "layer_replication",
            "layers_pattern", "alora_invocation_tokens", "arrow_config", "velora_config", "monteclora_config",
            "kasa_config",
        ] {
            switch fields.value(key) {
            case nil, .bool(false): continue
            case .array(let list) where list.isEmpty: continue
            case .object(let object) where object.members.isEmpty: continue
            // PEFT's own pattern, which names the list of layers that these models have.
            case .string(let text) where key == "layers_pattern" && (text.isEmpty || text == "layers"): continue
            default: throw fields.unsupported(key, "is set, which this version does not support")
            }
        }
        // Some starting values change the base as well.
        if let value = fields.value("init_lora_weights"), let name = value.string,
            !["gaussian", "eva", "orthogonal", "true", "lora_ga"].contains(name.lowercased())
        {
            throw fields.unsupported(
                "init_lora_weights", "is '\(printable(name))', which changes the base; save the adapter as plain LoRA")
        }
    }

    /// The document as PEFT writes it.
    package func serialized(base: String?) -> [UInt8] {
        var document = JSONObject()
        func object(_ members: [(String, JSONValue)]) -> JSONValue {
            var object = JSONObject()
            for (key, value) in members { object[key] = value }
            return .object(object)
        }
        document["alpha_pattern"] = object(alphaPattern.map { ($0.key, .number("\($0.value)")) })
        document["base_model_name_or_path"] = base.map { JSONValue.string($0) } ?? JSONValue.null
        document["bias"] = .string("none")
        document["fan_in_fan_out"] = .bool(false)
        document["inference_mode"] = .bool(true)
        document["init_lora_weights"] = .bool(true)
        document["layers_pattern"] = .null
        document["layers_to_transform"] =
            layers.map { JSONValue.array($0.map { JSONValue.integer($0) }) } ?? JSONValue.null
        document["lora_alpha"] =
            alpha == alpha.rounded() && abs(alpha) < 1e9 ? .integer(Int(alpha)) : .number("\(alpha)")
        document["lora_bias"] = .bool(false)
        document["lora_dropout"] = .number("\(dropout)")
        document["modules_to_save"] = .null
        document["peft_type"] = .string("LORA")
        document["r"] = .integer(rank)
        document["rank_pattern"] = object(rankPattern.map { ($0.key, .integer($0.value)) })
        document["revision"] = .null
        document["target_modules"] =
            switch targets {
            // PEFT turns its own "all-linear" into a list as well.
            case .allLinear: .array(Self.linearLayers.map { JSONValue.string($0) })
            case .names(let names): .array(names.map { JSONValue.string($0) })
            case .pattern(let text): .string(text)
            }
        document["task_type"] = .string("CAUSAL_LM")
        func ids(_ tokens: [Int]) -> JSONValue { .array(tokens.map { JSONValue.integer($0) }) }
        if !trainableOutputTokens.isEmpty {
            var modules: [(String, JSONValue)] = [("lm_head", ids(trainableOutputTokens))]
            if !trainableTokens.isEmpty { modules.insert(("embed_tokens", ids(trainableTokens)), at: 0) }
            document[Self.tokensKey] = object(modules)
        } else if !trainableTokens.isEmpty {
            document[Self.tokensKey] = ids(trainableTokens)
        }
        document["use_dora"] = .bool(false)
        document["use_rslora"] = .bool(usesRankStabilization)
        return JSONValue.object(document).serialized(indented: true)
    }

    private static let linearLayers = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
}
