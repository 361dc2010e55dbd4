/// What distinguishes the decoder-only models that are computed; all else are sizes (`Configuration`). One row each.
struct Architecture: Sendable {
    /// `model_type` of config.json.
    let modelType: String
    /// The name in its `architectures`.
    let className: String
    /// Whether the product that makes queries, keys and values has a bias.
    let qkvBias: Bool

    static let known = [Architecture(modelType: "qwen2", className: "Qwen2ForCausalLM", qkvBias: true)]

    /// The names of all, for messages.
    static func list(_ name: KeyPath<Architecture, String>) -> String {
        known.map { "'\($0[keyPath: name])'" }.joined(separator: ", ")
    }
}
