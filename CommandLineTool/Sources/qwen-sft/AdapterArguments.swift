import ArgumentParser
import QwenSFTCore

/// A new adapter, which is trained in place of the weights.
struct LoRAArguments: ParsableArguments {
    @Flag(help: "Train an adapter in place of the weights: OUTPUT is its directory, in PEFT's format.")
    var lora = false

    @Option(help: ArgumentHelp("The adapter's rank. (default: 8)", valueName: "r"))
    var loraR: Int?

    @Option(help: ArgumentHelp("What the adapter adds is multiplied by alpha / r. (default: 8)", valueName: "alpha"))
    var loraAlpha: Double?

    @Option(help: ArgumentHelp("Drop inputs of the adapter with this probability. (default: 0)", valueName: "p"))
    var loraDropout: Double?

    @Option(
        help: ArgumentHelp(
            "Adapt linear layers of this name: q_proj, mlp.down_proj. May be repeated. (default: all)",
            valueName: "name"))
    var loraTargetModules: [String] = []

    @Option(
        help: ArgumentHelp(
            "How many times as fast the adapter's B learns as its A (LoRA+). (default: 1)", valueName: "ratio"))
    var loraplusLrRatio: Double?

    @Option(
        help: ArgumentHelp(
            "Also train what the model knows of a token: '<|im_end|>' on a base model; a number is an id. May be repeated.",
            valueName: "token"))
    var loraTrainableTokens: [String] = []

    func validate() throws {
        guard !lora,
            loraR != nil || loraAlpha != nil || loraDropout != nil || !loraTargetModules.isEmpty
                || !loraTrainableTokens.isEmpty || loraplusLrRatio != nil
        else { return }
        throw ValidationError(
            "--lora-r, --lora-alpha, --lora-dropout, --lora-target-modules, --loraplus-lr-ratio and --lora-trainable-tokens need --lora"
        )
    }

    /// nil: the weights are trained.
    func configuration(_ checkpoint: CheckpointArguments, seed: UInt64) throws -> LoRAConfiguration? {
        guard lora else { return nil }
        var configuration = LoRAConfiguration()
        if let loraR { configuration.rank = loraR }
        if let loraAlpha { configuration.alpha = loraAlpha }
        if let loraDropout { configuration.dropout = loraDropout }
        if !loraTargetModules.isEmpty { configuration.targets = .names(loraTargetModules) }
        configuration.seed = seed
        guard !loraTrainableTokens.isEmpty else { return configuration }
        let tokenizer = try Tokenizer(directory: checkpoint.directory)
        configuration.trainableTokens = try loraTrainableTokens.map { text in
            if let id = Int(text) { return id }
            if let id = tokenizer.tokenID(of: text) { return Int(id) }
            throw Failure(
                .usage, "--lora-trainable-tokens: '\(text)' is no token of \(checkpoint.directory)",
                advice: "'qwen-sft tokenize' shows which tokens make up a text, and their ids")
        }
        // What a token is read as and what it is predicted by, whether that is one row or two.
        if try !Configuration(directory: checkpoint.directory).tiesWordEmbeddings {
            configuration.trainableOutputTokens = configuration.trainableTokens
        }
        return configuration
    }
}
