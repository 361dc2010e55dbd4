import QwenSFTCore

/// config.json of Qwen2-0.5B, with some members replaced (nil: left out).
func qwen2Configuration(_ changes: [String: String?] = [:]) throws -> Configuration {
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
    return try Configuration(JSONFields(document, file: "config.json"))
}
