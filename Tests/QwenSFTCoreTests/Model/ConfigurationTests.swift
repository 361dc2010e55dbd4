import QwenSFTCore
import Testing

@Suite struct ConfigurationTests {
    /// config.json of Qwen2-0.5B, with some keys replaced (nil: left out).
    private func fields(_ changes: [String: String?] = [:]) throws -> JSONFields {
        var members: [(String, String)] = [
            ("architectures", #"["Qwen2ForCausalLM"]"#), ("model_type", #""qwen2""#), ("attention_dropout", "0.0"),
            ("eos_token_id", "151645"), ("hidden_act", #""silu""#), ("hidden_size", "896"),
            ("intermediate_size", "4864"),
            ("max_position_embeddings", "32768"), ("num_attention_heads", "14"), ("num_hidden_layers", "24"),
            ("num_key_value_heads", "2"), ("rms_norm_eps", "1e-06"), ("rope_theta", "1000000.0"),
            ("sliding_window", "32768"),
            ("tie_word_embeddings", "true"), ("torch_dtype", #""bfloat16""#), ("use_sliding_window", "false"),
            ("vocab_size", "151936"),
        ]
        members.removeAll { changes.keys.contains($0.0) }
        for (key, value) in changes { if let value { members.append((key, value)) } }
        let text = "{" + members.map { "\"\($0)\": \($1)" }.joined(separator: ", ") + "}"
        let document = try Array(text.utf8).withUnsafeBytes { try JSONValue(parsing: $0, file: "config.json") }
        return try JSONFields(document, file: "config.json")
    }

    private func configuration(_ changes: [String: String?] = [:]) throws -> Configuration {
        try Configuration(fields(changes))
    }

    @Test func qwen2HalfBillion() throws {
        let c = try configuration()
        #expect(c.hiddenSize == 896 && c.intermediateSize == 4864 && c.layers == 24 && c.vocabularySize == 151936)
        #expect(c.heads == 14 && c.kvHeads == 2 && c.headDimension == 64 && c.maxPositions == 32768)
        #expect(c.ropeTheta == 1e6 && c.rmsNormEpsilon == 1e-6 && c.tiesWordEmbeddings && c.dtype == .bfloat16)
        #expect(c.eosTokenIDs == [151645])
        #expect(c.parameterCount == 494_032_768)
    }

    @Test func qwen2OneAndAHalfBillion() throws {
        let c = try configuration([
            "hidden_size": "1536", "num_hidden_layers": "28", "num_attention_heads": "12", "intermediate_size": "8960",
        ])
        #expect(c.headDimension == 128)
        #expect(c.parameterCount == 1_543_714_304)
    }

    @Test func newSpelling() throws {
        let c = try configuration([
            "rope_theta": nil, "torch_dtype": nil, "dtype": #""float16""#, "head_dim": "32",
            "rope_parameters": #"{"rope_theta": 5000.0, "rope_type": "default"}"#, "eos_token_id": "[1, 2, 1]",
            "layer_types": #"["full_attention", "full_attention"]"#,
        ])
        #expect(c.ropeTheta == 5000 && c.dtype == .float16 && c.headDimension == 32 && c.eosTokenIDs == [1, 2])
    }

    @Test func defaults() throws {
        let c = try configuration([
            "num_key_value_heads": nil, "rope_theta": nil, "rms_norm_eps": nil, "tie_word_embeddings": nil,
            "torch_dtype": nil,
            "eos_token_id": nil, "max_position_embeddings": nil, "rope_scaling": "null", "architectures": nil,
        ])
        #expect(c.kvHeads == 14 && c.ropeTheta == 10_000 && c.rmsNormEpsilon == 1e-6 && !c.tiesWordEmbeddings)
        #expect(c.dtype == .float32 && c.eosTokenIDs.isEmpty && c.maxPositions == 32768)
    }

    @Test(arguments: [
        ("model_type", #""qwen3""#, "is 'qwen3'; this version computes 'qwen2' only"),
        ("model_type", #""llama""#, "is 'llama'; this version computes 'qwen2' only"),
        (
            "architectures", #"["Qwen2ForRewardModel"]"#,
            "names 'Qwen2ForRewardModel'; this version computes 'Qwen2ForCausalLM' only"
        ),
        ("hidden_act", #""gelu""#, "is 'gelu'; Qwen2 has 'silu'"),
        ("use_sliding_window", "true", "is true; sliding-window attention is not computed by this version"),
        (
            "layer_types", #"["full_attention", "sliding_attention"]"#,
            "names 'sliding_attention'; this version computes 'full_attention' only"
        ),
        ("attention_dropout", "0.1", "is 0.1; this version trains without dropout"),
        ("quantization_config", "{}", "is there; this version reads unquantised weights only"),
        ("torch_dtype", #""float8""#, "is 'float8'; known are float32, bfloat16 and float16"),
    ])
    func unsupported(key: String, value: String, message: String) {
        expectError(.unsupported, "config.json: '\(key)' \(message)") { try configuration([key: value]) }
    }

    @Test(arguments: [
        ("rope_scaling", #"{"type": "yarn", "factor": 4.0}"#, "type", "is 'yarn'"),
        ("rope_scaling", #"{"rope_type": "linear"}"#, "rope_type", "is 'linear'"),
        ("rope_parameters", #"{"rope_type": "llama3"}"#, "rope_type", "is 'llama3'"),
    ])
    func unsupportedRope(key: String, value: String, inner: String, message: String) {
        expectError(.unsupported, "config.json: '\(key).\(inner)' \(message); this version computes 'default' only") {
            try configuration([key: value])
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
            ("eos_token_id", "151936", "must be a token id below 151936, or a list of them"),
            ("eos_token_id", "[1, null]", "must be a token id below 151936, or a list of them"),
            ("architectures", "\"Qwen2ForCausalLM\"", "must be a list of names"),
        ] as [(String, String?, String)])
    func invalid(key: String, value: String?, message: String) {
        let named =
            switch (key, value) {
            case ("hidden_size", "895"), ("head_dim", "2147483646"): "num_attention_heads"
            case ("rope_parameters", _): "rope_parameters.rope_theta"
            default: key
            }
        expectError(.invalidFile, "config.json: '\(named)' \(message)") { try configuration([key: value]) }
    }

    @Test func tooManyParameters() {
        expectError(.invalidFile, "config.json: the sizes give more parameters than any memory holds") {
            try configuration([
                "hidden_size": "2147483644", "num_hidden_layers": "16384", "num_attention_heads": "2",
                "intermediate_size": "2147483647",
            ])
        }
    }

    @Test func savedAgain() throws {
        let text = String(
            decoding: try configuration(["torch_dtype": nil, "dtype": #""bfloat16""#]).serialized(dtype: .float32),
            as: UTF8.self)
        #expect(text.contains(#""dtype": "float32""#) && text.contains(#""rms_norm_eps": 1e-06,"#))
        #expect(!text.contains("torch_dtype"))
        let old = String(decoding: try configuration().serialized(dtype: .float16), as: UTF8.self)
        #expect(old.contains(#""torch_dtype": "float16""#) && !old.contains(#""dtype""#))
    }

    @Test func fixtures() throws {
        for name in [
            "tied-f32", "untied-bf16", "sharded-mha-f32", "group7-f16", "new-spelling-bf16", "redundant-head-bf16",
        ] {
            let directory = fixtureDirectory + "/models/" + name
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

    // MARK: generation_config.json

    private func generation(_ text: String) throws -> GenerationConfiguration {
        let document = try Array(text.utf8).withUnsafeBytes {
            try JSONValue(parsing: $0, file: "generation_config.json")
        }
        return try GenerationConfiguration(
            JSONFields(document, file: "generation_config.json"), configuration: configuration())
    }

    @Test func generationConfiguration() throws {
        let instruct = try generation(
            #"{"eos_token_id": [151645, 151643], "do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}"#
        )
        #expect(instruct.eosTokenIDs == [151645, 151643] && instruct.doSample && instruct.temperature == 0.7)
        #expect(instruct.topP == 0.8 && instruct.topK == 20 && instruct.repetitionPenalty == 1.1)
        #expect(String(decoding: instruct.serialized(addingStopIDs: [151645]), as: UTF8.self).contains("151643\n  ]"))

        let empty = try generation("{}")
        #expect(empty.eosTokenIDs == [151645] && !empty.doSample && empty.topK == 50 && empty.topP == 1)
        #expect(empty.serialized() == Array("{\n  \"eos_token_id\": [\n    151645\n  ]\n}\n".utf8))

        let base = try generation(#"{"eos_token_id": 151643}"#)
        #expect(base.serialized() == Array("{\n  \"eos_token_id\": 151643\n}\n".utf8))
        #expect(
            base.serialized(addingStopIDs: [151645])
                == Array("{\n  \"eos_token_id\": [\n    151643,\n    151645\n  ]\n}\n".utf8))

        let directory = try TestDirectory()
        #expect(
            try GenerationConfiguration(directory: directory.path, configuration: configuration()).eosTokenIDs == [
                151645
            ])
    }

    @Test(arguments: [
        (#"{"eos_token_id": -1}"#, "'eos_token_id' must be a token id below 151936, or a list of them"),
        (#"{"top_k": -1}"#, "'top_k' must be a whole number from 0 on"),
        (#"{"top_p": 0}"#, "'top_p' must be above 0 and at most 1"),
        (#"{"top_p": 1.5}"#, "'top_p' must be above 0 and at most 1"),
        (#"{"temperature": -0.5}"#, "'temperature' must not be negative"),
        (#"{"repetition_penalty": 0}"#, "'repetition_penalty' must be a positive number"),
        (#"{"do_sample": "yes"}"#, "'do_sample' must be true or false"),
    ])
    func invalidGeneration(text: String, message: String) {
        expectError(.invalidFile, "generation_config.json: " + message) { try generation(text) }
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
