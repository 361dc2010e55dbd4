/// What distinguishes the decoder-only models that are computed; all else are sizes (`Configuration`). One row each.
struct Architecture: Sendable {
    /// `model_type` of config.json.
    let modelType: String
    /// The name in its `architectures`.
    let className: String
    /// Whether the product that makes queries, keys and values has a bias.
    let qkvBias: Bool
    /// Whether every query and key head is normalized on its own before it is rotated.
    let qkNorm: Bool
    /// The width of a head where config.json gives none; nil: the residual stream's divided among the query heads.
    let defaultHeadDimension: Int?

    static let known = [
        Architecture(
            modelType: "qwen2", className: "Qwen2ForCausalLM", qkvBias: true, qkNorm: false, defaultHeadDimension: nil),
        Architecture(
            modelType: "qwen3", className: "Qwen3ForCausalLM", qkvBias: false, qkNorm: true, defaultHeadDimension: 128),
    ]

    /// The names of all, for messages.
    static func list(_ name: KeyPath<Architecture, String>) -> String {
        known.map { "'\($0[keyPath: name])'" }.joined(separator: " and ")
    }

    /// What a relative's `model_type` stands for that is not computed; nil where that is not known.
    static func missingPart(of modelType: String) -> String? {
        let parts = [
            ("moe", "mixture of experts"), ("_vl", "vision"), ("omni", "audio and vision"), ("audio", "audio"),
            ("qwen3_5", "linear attention"), ("qwen3_6", "linear attention"), ("qwen3_8", "linear attention"),
            ("qwen3_next", "linear attention and mixture of experts"),
        ]
        guard modelType.hasPrefix("qwen") else { return nil }
        return parts.first { modelType.contains($0.0) }?.1
    }
}
