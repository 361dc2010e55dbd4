/// What an adapter is like; names, defaults and meaning as in PEFT's LoraConfig.
public struct LoRAConfiguration: Sendable, Equatable {
    /// Which linear layers are adapted.
    public enum Targets: Sendable, Equatable {
        /// Every linear layer but the output matrix.
        case allLinear
        /// Those with such a name, or such an end of it: "q_proj", "mlp.down_proj", "layers.3.self_attn.q_proj".
        case names([String])
        /// Those whose whole name a regular expression in Python's syntax matches: "model\.layers\.[0-3]\..*_proj".
        case pattern(String)
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
    /// Ranks of modules of their own: the first key counts whose regular expression a module's name ends with, at a dot.
    public var rankPattern: [(key: String, value: Int)] = []
    public var alphaPattern: [(key: String, value: Double)] = []
    /// The layers that are adapted; nil: all.
    public var layers: [Int]?
    /// Tokens whose rows of the embedding are trained, beginning with the base's, and of the output matrix where the two are one:
    /// so a base model learns `<|im_end|>`.
    public var trainableTokens: [Int] = []
    /// Tokens whose rows of the output matrix are trained, where it is one of its own or these are other tokens.
    public var trainableOutputTokens: [Int] = []
    /// Of the starting values of A; B starts at 0, so that a new adapter changes nothing.
    public var seed: UInt64 = 0

    public init() {}

    public static func == (a: Self, b: Self) -> Bool {
        (a.rank, a.alpha, a.dropout, a.targets) == (b.rank, b.alpha, b.dropout, b.targets)
            && (a.usesRankStabilization, a.seed) == (b.usesRankStabilization, b.seed) && a.layers == b.layers
            && (a.trainableTokens, a.trainableOutputTokens) == (b.trainableTokens, b.trainableOutputTokens)
            && a.rankPattern.elementsEqual(b.rankPattern, by: { $0.key == $1.key && $0.value == $1.value })
            && a.alphaPattern.elementsEqual(b.alphaPattern, by: { $0.key == $1.key && $0.value == $1.value })
    }

    /// - Throws: `invalidArgument` for values out of range, by PEFT's name.
    public func validate() throws(QwenSFTError) {
        for (key, rank) in [("r", rank)] + rankPattern.map({ ("rank_pattern '\(printable($0.key))'", $0.value) }) {
            guard (1...Self.mostRanks).contains(rank) else {
                throw QwenSFTError(.invalidArgument, "\(key) must be from 1 to \(Self.mostRanks), not \(rank)")
            }
        }
        for (key, alpha) in [("lora_alpha", alpha)]
            + alphaPattern.map({ ("alpha_pattern '\(printable($0.key))'", $0.value) })
        {
            guard Float(alpha).isFinite else {
                throw QwenSFTError(.invalidArgument, "\(key) must be a number, not \(alpha)")
            }
        }
        guard (0..<1).contains(dropout) else {
            throw QwenSFTError(.invalidArgument, "lora_dropout must be at least 0 and below 1, not \(dropout)")
        }
        for tokens in [trainableTokens, trainableOutputTokens] {
            var seen: Set<Int> = []
            for id in tokens {
                guard id >= 0 else {
                    throw QwenSFTError(.invalidArgument, "\(Self.tokensKey): ids must be at least 0, not \(id)")
                }
                guard seen.insert(id).inserted else {
                    throw QwenSFTError(.invalidArgument, "\(Self.tokensKey): \(id) is there twice")
                }
            }
        }
    }

    static let mostRanks = 1 << 16
    static let tokensKey = "trainable_token_indices"
}

/// A configuration that modules are looked up in: its regular expressions are read once.
package struct LoRATargets {
    private let configuration: LoRAConfiguration
    private let pattern: RegularExpression?
    private let ranks: [(RegularExpression, Int)]
    private let alphas: [(RegularExpression, Double)]

    package init(_ configuration: LoRAConfiguration) throws(QwenSFTError) {
        try configuration.validate()
        self.configuration = configuration
        if case .pattern(let text) = configuration.targets {
            pattern = try Self.expression(text, "target_modules")
        } else {
            pattern = nil
        }
        var ranks: [(RegularExpression, Int)] = []
        for (key, value) in configuration.rankPattern { ranks.append((try Self.end(key, "rank_pattern"), value)) }
        self.ranks = ranks
        var alphas: [(RegularExpression, Double)] = []
        for (key, value) in configuration.alphaPattern { alphas.append((try Self.end(key, "alpha_pattern"), value)) }
        self.alphas = alphas
    }

    /// PEFT's re.match(rf"(.*\.)?({key})$", module).
    private static func end(_ key: String, _ name: String) throws(QwenSFTError) -> RegularExpression {
        try expression("(.*\\.)?(\(key))$", name)
    }

    private static func expression(_ text: String, _ name: String) throws(QwenSFTError) -> RegularExpression {
        do throws(QwenSFTError) { return try RegularExpression(text) } catch {
            throw QwenSFTError(error.code, "\(name): \(error.message)")
        }
    }

    /// Whether a module of the model is meant.
    /// - Parameter module: "model.layers.3.self_attn.q_proj".
    func contains(_ module: String, layer: Int?) throws(QwenSFTError) -> Bool {
        if let layer, let layers = configuration.layers, !layers.contains(layer) { return false }
        switch configuration.targets {
        case .allLinear: return layer != nil
        case .names(let names): return names.contains { module == $0 || module.hasSuffix("." + $0) }
        case .pattern: return try pattern?.matches(module) ?? false
        }
    }

    /// Rank and scale of a module that is meant.
    package func part(of module: String) throws(QwenSFTError) -> (rank: Int, scale: Float) {
        let rank = try Self.first(ranks, module) ?? configuration.rank
        let alpha = try Self.first(alphas, module) ?? configuration.alpha
        let divisor = configuration.usesRankStabilization ? Double(rank).squareRoot() : Double(rank)
        return (rank, Float(alpha / divisor))
    }

    private static func first<Value>(
        _ patterns: [(RegularExpression, Value)], _ module: String
    ) throws(QwenSFTError) -> Value? {
        for (expression, value) in patterns where try expression.matches(module) { return value }
        return nil
    }
}
