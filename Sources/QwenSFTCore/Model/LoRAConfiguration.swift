/// What a new adapter is like; names, defaults and meaning as in PEFT's LoraConfig.
public struct LoRAConfiguration: Sendable, Equatable {
    /// Which linear layers are adapted.
    public enum Targets: Sendable, Equatable {
        /// Every linear layer but the output matrix.
        case allLinear
        /// Those with such a name, or such an end of it: "q_proj", "mlp.down_proj", "layers.3.self_attn.q_proj".
        case names([String])
    }

    /// The inner width of the adapter, unless `rankPattern` says otherwise.
    public var rank = 8
    /// The adapter's output is multiplied by alpha / rank, unless `alphaPattern` says otherwise.
    public var alpha = 8.0
    /// Probability with which an input of the adapter is dropped in training.
    public var dropout = 0.0
    public var targets = Targets.allLinear
    /// Multiply by alpha / √rank instead (Kalajdzievski, 2023).
    public var usesRankStabilization = false
    /// The layers that are adapted; nil: all.
    public var layers: [Int]?
    /// Of the starting values of A; B starts at 0, so that a new adapter changes nothing.
    public var seed: UInt64 = 0

    public init() {}

    /// - Throws: `invalidArgument` for values out of range, by PEFT's name.
    func validate() throws(QwenSFTError) {
        guard (1...Self.mostRanks).contains(rank) else {
            throw QwenSFTError(.invalidArgument, "r must be from 1 to \(Self.mostRanks), not \(rank)")
        }
        guard Float(alpha).isFinite else {
            throw QwenSFTError(.invalidArgument, "lora_alpha must be a number, not \(alpha)")
        }
        guard (0..<1).contains(dropout) else {
            throw QwenSFTError(.invalidArgument, "lora_dropout must be at least 0 and below 1, not \(dropout)")
        }
    }

    static let mostRanks = 1 << 16

    /// Rank and scale of a linear layer; nil: it is not adapted.
    /// - Parameter module: "model.layers.3.self_attn.q_proj".
    func part(of module: String, layer: Int) -> (rank: Int, scale: Float)? {
        if let layers, !layers.contains(layer) { return nil }
        switch targets {
        case .allLinear: break
        case .names(let names):
            guard names.contains(where: { module == $0 || module.hasSuffix("." + $0) }) else { return nil }
        }
        let divisor = usesRankStabilization ? Double(rank).squareRoot() : Double(rank)
        return (rank, Float(alpha / divisor))
    }
}
