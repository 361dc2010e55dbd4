import Glibc
import QwenSFTCore
import Testing

@Suite(.processWide) struct ConfigurationTests {
    @Test func qwen2HalfBillion() throws {
        let c = try qwen2Configuration()
        #expect(c.hiddenSize == 896 && c.intermediateSize == 4864 && c.layers == 24 && c.vocabularySize == 151936)
        #expect(c.heads == 14 && c.kvHeads == 2 && c.headDimension == 64 && c.maxPositions == 32768)
        #expect(c.ropeTheta == 1e6 && c.rmsNormEpsilon == 1e-6 && c.tiesWordEmbeddings && c.dtype == .bfloat16)
        #expect(c.eosTokenIDs == [151645])
        #expect(c.parameterCount == 494_032_768)
    }

    @Test func qwen2OneAndAHalfBillion() throws {
        let c = try qwen2Configuration([
            "hidden_size": "1536", "num_hidden_layers": "28", "num_attention_heads": "12", "intermediate_size": "8960",
        ])
        #expect(c.headDimension == 128)
        #expect(c.parameterCount == 1_543_714_304)
    }

    @Test func newSpelling() throws {
        let c = try qwen2Configuration([
            "rope_theta": nil, "torch_dtype": nil, "dtype": #""float16""#, "head_dim": "32",
            "rope_parameters": #"{"rope_theta": 5000.0, "rope_type": "default"}"#, "eos_token_id": "[1, 2, 1]",
            "layer_types": #"["full_attention", "full_attention"]"#,
        ])
        #expect(c.ropeTheta == 5000 && c.dtype == .float16 && c.headDimension == 32 && c.eosTokenIDs == [1, 2])
    }

    @Test func defaults() throws {
        let c = try qwen2Configuration([
            "num_key_value_heads": nil, "rope_theta": nil, "rms_norm_eps": nil, "tie_word_embeddings": nil,
            "torch_dtype": nil,
            "eos_token_id": nil, "max_position_embeddings": nil, "rope_scaling": "null", "architectures": nil,
        ])
        #expect(c.kvHeads == 14 && c.ropeTheta == 10_000 && c.rmsNormEpsilon == 1e-6 && !c.tiesWordEmbeddings)
        #expect(c.dtype == .float32 && c.eosTokenIDs.isEmpty && c.maxPositions == 32768)
    }

    @Test(arguments: [
        ("model_type", #""llama""#, "is 'llama'; this version computes 'qwen2' and 'qwen3' only"),
        (
            "model_type", #""qwen3_moe""#,
            "is 'qwen3_moe' (mixture of experts); this version computes 'qwen2' and 'qwen3' only"
        ),
        (
            "model_type", #""qwen2_5_vl""#, "is 'qwen2_5_vl' (vision); this version computes 'qwen2' and 'qwen3' only"
        ),
        (
            "model_type", #""qwen3_5""#,
            "is 'qwen3_5' (linear attention); this version computes 'qwen2' and 'qwen3' only"
        ),
        (
            "architectures", #"["Qwen2ForRewardModel"]"#,
            "names 'Qwen2ForRewardModel'; of 'qwen2' this version computes 'Qwen2ForCausalLM' only"
        ),
        (
            "architectures", #"["Qwen3ForCausalLM"]"#,
            "names 'Qwen3ForCausalLM'; of 'qwen2' this version computes 'Qwen2ForCausalLM' only"
        ),
        ("hidden_act", #""gelu""#, "is 'gelu'; 'qwen2' has 'silu'"),
        (
            "layer_types", #"["full_attention", "linear_attention"]"#,
            "names 'linear_attention'; this version computes 'full_attention' only"
        ),
        ("quantization_config", "{}", "is there; this version reads unquantized weights only"),
    ])
    func unsupported(key: String, value: String, message: String) {
        expectError(.unsupported, "config.json: '\(key)' \(message)") { try qwen2Configuration([key: value]) }
    }

    /// config.json of Qwen3-0.6B: the heads together are twice as wide as the residual stream.
    private static let qwen3: [String: String?] = [
        "architectures": #"["Qwen3ForCausalLM"]"#, "model_type": #""qwen3""#, "attention_bias": "false",
        "head_dim": "128", "hidden_size": "1024", "intermediate_size": "3072", "max_position_embeddings": "40960",
        "max_window_layers": "28", "num_attention_heads": "16", "num_hidden_layers": "28", "num_key_value_heads": "8",
        "rope_scaling": "null", "sliding_window": "null",
    ]

    @Test func qwen3() throws {
        let c = try qwen2Configuration(Self.qwen3)
        #expect(c.modelType == "qwen3" && c.headDimension == 128 && c.warnings.isEmpty)
        #expect(c.parameterCount == 596_049_920)
        // transformers' default, not hidden_size / num_attention_heads.
        #expect(try qwen2Configuration(Self.qwen3.merging(["head_dim": nil]) { $1 }).headDimension == 128)
        expectError(.unsupported, "config.json: 'attention_bias' is true; 'qwen3' is computed without biases") {
            try qwen2Configuration(Self.qwen3.merging(["attention_bias": "true"]) { $1 })
        }
    }

    // MARK: What is written but changes nothing

    /// Layers slide from max_window_layers on, or as layer_types says; a window as long as the context hides nothing.
    @Test(arguments: [
        ["use_sliding_window": "true", "max_window_layers": "24"],
        ["use_sliding_window": "true", "max_window_layers": "28"],
        ["use_sliding_window": "true"],
        ["use_sliding_window": "true", "max_window_layers": "0", "sliding_window": "null"],
        ["use_sliding_window": "true", "max_window_layers": "0"],  // its window is the whole context
        ["use_sliding_window": "true", "max_window_layers": "21", "sliding_window": "131072"],
        ["use_sliding_window": "true", "max_window_layers": "0", "layer_types": #"["full_attention"]"#],
        ["use_sliding_window": "true", "layer_types": #"["sliding_attention"]"#],
        ["use_sliding_window": "null", "max_window_layers": "0", "sliding_window": "16"],
        ["use_sliding_window": "false", "max_window_layers": "0", "sliding_window": "16"],
        ["use_sliding_window": "false", "max_window_layers": "-1", "sliding_window": "0"],
    ])
    func noLayerSlides(changes: [String: String]) throws { #expect(try qwen2Configuration(changes).layers == 24) }

    @Test(arguments: [
        (["use_sliding_window": "true", "max_window_layers": "23", "sliding_window": "4096"], "use_sliding_window", 1),
        (["use_sliding_window": "true", "max_window_layers": "0", "sliding_window": "4096"], "use_sliding_window", 24),
        (["layer_types": #"["full_attention", "sliding_attention"]"#, "sliding_window": "4096"], "layer_types", 1),
    ])
    func layersSlide(changes: [String: String], key: String, count: Int) {
        expectError(
            .unsupported,
            "config.json: '\(key)' makes \(count) of 24 layers slide over 4096 of 32768 tokens; sliding-window attention is not computed by this version"
        ) { try qwen2Configuration(changes) }
    }

    @Test func dropoutIsOff() throws {
        #expect(
            try qwen2Configuration(["attention_dropout": "0.1"]).warnings
                == ["config.json: 'attention_dropout' is 0.1; this version trains without dropout"])
        #expect(try qwen2Configuration().warnings.isEmpty)
    }

    @Test(arguments: [
        ("float64", DType.float32, false), ("torch.bfloat16", .bfloat16, false), ("auto", .float32, false),
        ("float8_e4m3fn", .float32, true), ("int8", .float32, true),
    ])
    func otherTypes(name: String, dtype: DType, isWarned: Bool) throws {
        let result = try qwen2Configuration(["torch_dtype": "\"\(name)\""])
        #expect(result.dtype == dtype)
        let warning =
            "config.json: 'torch_dtype' is '\(name)'; weights are read as their files have them, and kept as float32 or bfloat16"
        #expect(result.warnings == (isWarned ? [warning] : []))
    }

    @Test(
        arguments: [
            ("-1", [], false), ("null", [], false), ("[1, null, -1]", [1], false), ("151645.0", [151645], false),
            ("151936", [], true), ("[\"x\", 7]", [7], true), ("{}", [], true), ("1e300", [], true),
        ] as [(String, [Int32], Bool)])
    func oddStopIDs(text: String, ids: [Int32], isWarned: Bool) throws {
        let result = try qwen2Configuration(["eos_token_id": text])
        #expect(result.eosTokenIDs == ids)
        let warning =
            "config.json: 'eos_token_id' should be a token id below 151936, or a list of them; the rest of it is ignored"
        #expect(result.warnings == (isWarned ? [warning] : []))
    }

    /// As Python's json module reads and writes it, and as strict JSON does not.
    @Test func pythonsJSON() throws {
        let directory = try TestDirectory()
        let text = """
            {"model_type": "llama", "model_type": "qwen2", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
             "num_attention_heads": 2, "vocab_size": 9, "router_aux": NaN, "limit": Infinity, "least": [-Infinity],
             "note": "\\ud83d\\ude00 \\ud800x \\ud800\\ud83d\\ude00", "hidden_size": 4}
            """
        try directory.write("config.json", text)
        let configuration = try Configuration(directory: directory.path)
        #expect(configuration.hiddenSize == 4)
        #expect(configuration.document["note"]?.string == "😀 \u{FFFD}x \u{FFFD}😀")
        let again = String(decoding: configuration.serialized(dtype: .float32), as: UTF8.self)
        #expect(again.contains(#""router_aux": NaN"#) && again.contains("-Infinity"))
        #expect(again.contains(#""hidden_size": 4,"#) && !again.contains("llama"))
        // Where such a number is needed it is still none.
        try directory.write("config.json", text.replacing("\"vocab_size\": 9", with: "\"vocab_size\": NaN"))
        expectError(.invalidFile, "config.json: 'vocab_size' must be a positive integer") {
            try Configuration(directory: directory.path)
        }
        for bad in ["{\"a\": Nan}", "{\"a\": +Infinity}", "{\"a\": NaNx}", "{\"a\": infinity}"] {
            try directory.write("config.json", bad)
            #expect(throws: QwenSFTError.self) { try Configuration(directory: directory.path) }
        }
    }

    @Test(arguments: [
        ("rope_scaling", #"{"type": "dynamic", "factor": 4.0}"#, "type", "is 'dynamic'"),
        ("rope_scaling", #"{"rope_type": "linear"}"#, "rope_type", "is 'linear'"),
        ("rope_parameters", #"{"rope_type": "llama3"}"#, "rope_type", "is 'llama3'"),
    ])
    func unsupportedRope(key: String, value: String, inner: String, message: String) {
        expectError(
            .unsupported, "config.json: '\(key).\(inner)' \(message); this version computes 'default' and 'yarn' only"
        ) {
            try qwen2Configuration([key: value])
        }
    }

    /// The longer context is factor times the pretrained one, whichever of the two max_position_embeddings is.
    @Test func yarn() throws {
        let scaling = #"{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}"#
        for context in ["32768", "131072", "40960"] {
            let c = try qwen2Configuration(["rope_scaling": scaling, "max_position_embeddings": context])
            let expected = YaRN(
                factor: 4, originalContext: 32768, attentionFactor: 0.1 * log(4) + 1, betaFast: 32, betaSlow: 1,
                truncates: true)
            #expect(c.yarn == expected && c.maxPositions == 131072)
            #expect(String(decoding: c.serialized(dtype: .float32), as: UTF8.self).contains(#""type": "yarn""#))
        }
        // Windows are compared with that context.
        expectError(
            .unsupported,
            "config.json: 'use_sliding_window' makes 3 of 24 layers slide over 32768 of 131072 tokens; sliding-window attention is not computed by this version"
        ) {
            try qwen2Configuration([
                "rope_scaling": scaling, "use_sliding_window": "true", "max_window_layers": "21",
            ])
        }
        // The pretrained context may stand beside the object, the factor follow from the two, and the type be in either key.
        let given = try qwen2Configuration([
            "rope_theta": nil, "max_position_embeddings": "1000", "original_max_position_embeddings": "500",
            "rope_parameters": #"{"rope_type": "yarn", "type": "linear", "rope_theta": 5e6, "attention_factor": 1.5}"#,
        ])
        #expect(given.yarn?.factor == 2 && given.yarn?.originalContext == 500 && given.yarn?.attentionFactor == 1.5)
        #expect(given.ropeTheta == 5e6 && given.maxPositions == 1000)
        #expect(try qwen2Configuration().yarn == nil)
    }

    @Test(arguments: [
        (#"{"rope_type": "yarn", "factor": 0.5}"#, "rope_scaling.factor' is 0.5; it must be from 1 to 1e6"),
        (#"{"rope_type": "yarn", "factor": "4"}"#, "rope_scaling.factor' must be a positive number"),
        (
            #"{"rope_type": "yarn", "factor": 4, "attention_factor": 0}"#,
            "rope_scaling.attention_factor' is 0.0; it must be positive, and at most 1e6"
        ),
        (
            #"{"rope_type": "yarn", "factor": 4, "beta_fast": 1, "beta_slow": 2}"#,
            "rope_scaling.beta_fast' is 1.0, less than 'beta_slow' (2.0)"
        ),
        (
            #"{"rope_type": "yarn", "factor": 4, "mscale": -9, "mscale_all_dim": 1}"#,
            "rope_scaling.mscale' and 'mscale_all_dim' give no positive factor"
        ),
        (#"{"rope_type": "yarn", "factor": 4, "truncate": 1}"#, "rope_scaling.truncate' must be true or false"),
    ])
    func wrongYarn(scaling: String, message: String) {
        expectError(.invalidFile, "config.json: '" + message) { try qwen2Configuration(["rope_scaling": scaling]) }
    }

    @Test func scalingsThatContradict() {
        expectError(.invalidFile, "config.json: 'rope_parameters' says something else than 'rope_scaling'") {
            try qwen2Configuration([
                "rope_scaling": #"{"type": "yarn", "factor": 4.0}"#, "rope_parameters": #"{"rope_type": "default"}"#,
            ])
        }
    }

    @Test(
        arguments: [
            ("hidden_size", nil, "is missing"),
            ("model_type", nil, "is missing"),
            ("hidden_size", "0", "must be a positive integer"),
            ("hidden_size", "-896", "must be a positive integer"),
            ("hidden_size", "896.0", "must be a positive integer"),
            ("hidden_size", "\"896\"", "must be a positive integer"),
            ("vocab_size", "9223372036854775808", "must be a positive integer"),
            ("vocab_size", "4294967296", "must not be larger than 2147483647"),
            ("rms_norm_eps", "0", "must be a positive number"),
            ("rope_theta", "1e999", "must be a positive number"),
            ("tie_word_embeddings", "1", "must be true or false"),
            ("num_key_value_heads", "3", "is 3, which does not divide num_attention_heads (14)"),
            ("num_key_value_heads", "28", "is 28, which does not divide num_attention_heads (14)"),
            ("hidden_size", "895", "is 14, which does not divide hidden_size (895)"),
            ("num_hidden_layers", "2147483647", "is 2147483647, more than any model has (at most 16384)"),
            ("head_dim", "63", "is 63, but rotary embedding needs an even number"),
            ("head_dim", "2147483646", "times the width of a head is 30064771044, more than any model has"),
            ("rope_parameters", #"{"rope_theta": 1.0}"#, "is 1.0, but 'rope_theta' is 1000000.0"),
            ("architectures", "\"Qwen2ForCausalLM\"", "must be a list of names"),
        ] as [(String, String?, String)])
    func invalid(key: String, value: String?, message: String) {
        let named =
            switch (key, value) {
            case ("hidden_size", "895"), ("head_dim", "2147483646"): "num_attention_heads"
            case ("rope_parameters", _): "rope_parameters.rope_theta"
            default: key
            }
        expectError(.invalidFile, "config.json: '\(named)' \(message)") { try qwen2Configuration([key: value]) }
    }

    @Test func tooManyParameters() {
        expectError(.invalidFile, "config.json: the sizes give more parameters than any memory holds") {
            try qwen2Configuration([
                "hidden_size": "2147483644", "num_hidden_layers": "16384", "num_attention_heads": "2",
                "intermediate_size": "2147483647",
            ])
        }
    }

    @Test func savedAgain() throws {
        let text = String(
            decoding: try qwen2Configuration(["torch_dtype": nil, "dtype": #""bfloat16""#]).serialized(dtype: .float32),
            as: UTF8.self)
        #expect(text.contains(#""dtype": "float32""#) && text.contains(#""rms_norm_eps": 1e-06,"#))
        #expect(!text.contains("torch_dtype"))
        let old = String(decoding: try qwen2Configuration().serialized(dtype: .float16), as: UTF8.self)
        #expect(old.contains(#""torch_dtype": "float16""#) && !old.contains(#""dtype""#))
    }

    @Test func fixtures() throws {
        for fixture in ModelFixture.all {
            let directory = fixture.directory
            let configuration = try Configuration(directory: directory)
            let generation = try GenerationConfiguration(directory: directory, configuration: configuration)
            #expect(!generation.eosTokenIDs.isEmpty)
            // The parameters counted are those in the files, a redundant head aside.
            let stored = try SafetensorsCheckpoint(directory: directory).tensors
                .filter { !(configuration.tiesWordEmbeddings && $0.name == "lm_head.weight") }
            #expect(stored.reduce(0) { $0 + $1.elementCount } == configuration.parameterCount)
            #expect(stored.allSatisfy { $0.dtype == configuration.dtype })
        }
    }

    @Test func missingFile() throws {
        let directory = try TestDirectory()
        expectError(.notFound, "\(directory.path)/config.json: no such file or directory") {
            try Configuration(directory: directory.path)
        }
        try directory.write("config.json", "{\"hidden_size\": 1,}")
        expectError(.invalidFile, "config.json:1:19: a comma must not stand before the end of an object") {
            try Configuration(directory: directory.path)
        }
    }
}
