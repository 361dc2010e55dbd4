/// What a GGUF file calls parameters.
package enum GGUFNames {
    static let embedding = "token_embd.weight"
    static let output = "output.weight"

    private static let whole = [
        ("model.embed_tokens.weight", embedding), ("model.norm.weight", "output_norm.weight"),
        ("lm_head.weight", output),
    ]
    private static let parts = [
        ("input_layernorm", "attn_norm"), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"), ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"), ("post_attention_layernorm", "ffn_norm"), ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
    ]
    private static let toGGUF = Dictionary(uniqueKeysWithValues: parts)
    private static let toCheckpoint = Dictionary(uniqueKeysWithValues: parts.map { ($0.1, $0.0) })

    /// "model.layers.3.self_attn.q_proj.weight" → "blk.3.attn_q.weight"; nil for what these models do not have.
    package static func name(of parameter: String) -> String? {
        if let name = whole.first(where: { $0.0 == parameter }) { return name.1 }
        return rename(parameter, from: "model.layers.", to: "blk.", toGGUF)
    }

    /// The other way round.
    package static func parameter(named name: String) -> String? {
        if let parameter = whole.first(where: { $0.1 == name }) { return parameter.0 }
        return rename(name, from: "blk.", to: "model.layers.", toCheckpoint)
    }

    private static func rename(
        _ name: String, from prefix: String, to newPrefix: String, _ parts: [String: String]
    ) -> String? {
        guard name.hasPrefix(prefix) else { return nil }
        let rest = name.dropFirst(prefix.count)
        guard let dot = rest.firstIndex(of: "."), let last = rest.lastIndex(of: "."), dot < last else { return nil }
        let (layer, kind) = (rest[..<dot], rest[last...])
        guard kind == ".weight" || kind == ".bias", Int(layer).map({ "\($0)" == layer }) == true,
            let part = parts[String(rest[rest.index(after: dot)..<last])]
        else { return nil }
        return newPrefix + layer + "." + part + kind
    }
}
