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
    /// Ids to end at besides the checkpoint's.
    public var stopIDs: [Int32] = []
    /// Goes on after stop ids; for measuring.
    package var ignoresStopIDs = false
    /// Texts to end before; they need a tokenizer.
    public var stopStrings: [String] = []
    /// Independent answers to one prompt, which is computed once. Answer i is what `seed` + i gives alone.
    public var numReturnSequences = 1
    /// Whether answers carry the probability of every token.
    public var logProbabilities = false

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
        guard (1...1024).contains(numReturnSequences) else {
            throw QwenSFTError(
                .invalidArgument, "num_return_sequences must be from 1 to 1024, not \(numReturnSequences)")
        }
        guard !stopStrings.contains("") else {
            throw QwenSFTError(.invalidArgument, "stop_strings: an empty text stands everywhere")
        }
        let settings = SamplingSettings(
            doSample: doSample ?? defaults.doSample, temperature: temperature ?? Float(defaults.temperature),
            topK: topK ?? defaults.topK, topP: topP ?? Float(defaults.topP), minP: minP ?? Float(defaults.minP),
            repetitionPenalty: repetitionPenalty ?? Float(defaults.repetitionPenalty))
        try settings.validate()
        return settings
    }
}
