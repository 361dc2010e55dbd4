/// How to generate; what is nil comes from the checkpoint's generation_config.json.
public struct GenerationOptions: Sendable, Equatable {
    /// Tokens at most. Generation also ends at a stop id and at the end of the context.
    public var maxNewTokens = 512
    public var doSample: Bool?
    public var temperature: Float?
    public var topK: Int?
    public var topP: Float?
    public var minP: Float?
    public var repetitionPenalty: Float?
    /// Equal seeds give equal samples; nil: a new one for every call.
    public var seed: UInt64?

    public init() {}

    /// Always the likeliest token, without a repetition penalty.
    public static var greedy: GenerationOptions {
        var options = GenerationOptions()
        options.doSample = false
        options.repetitionPenalty = 1
        return options
    }

    func settings(_ defaults: GenerationConfiguration) throws(QwenSFTError) -> SamplingSettings {
        guard maxNewTokens >= 0 else {
            throw QwenSFTError(.invalidArgument, "max_new_tokens must be at least 0, not \(maxNewTokens)")
        }
        let settings = SamplingSettings(
            doSample: doSample ?? defaults.doSample, temperature: temperature ?? Float(defaults.temperature),
            topK: topK ?? defaults.topK, topP: topP ?? Float(defaults.topP), minP: minP ?? 0,
            repetitionPenalty: repetitionPenalty ?? Float(defaults.repetitionPenalty))
        try settings.validate()
        return settings
    }
}
