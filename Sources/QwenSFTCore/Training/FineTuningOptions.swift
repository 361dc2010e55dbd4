/// How a fine-tuning is watched over, beyond the run itself.
public struct FineTuningOptions: Sendable, Equatable {
    public var run = TrainingRunOptions()
    /// Steps between two evaluations; nil: one after each epoch. There is one before the first step and one after the last
    /// in any case.
    public var evaluateEvery: Int?
    /// So many evaluations one after another that are no better than the best end the run; nil: none do.
    public var patience: Int?
    /// Steps between two checkpoints; nil: none along the way.
    public var saveEvery: Int?
    /// How many of the saved steps are kept.
    public var keepLast = 1
    /// No step begins after so many seconds, counted from the first one that was taken here; nil: no limit.
    public var maxSeconds: Double?
    /// Whether the last weights are the result rather than those with the lowest loss on the validation data.
    public var writesLast = false
    /// What the model is asked before, at each evaluation and after.
    public var prompts: [String] = []
    /// Longest answer to them, in tokens.
    public var maxAnswerTokens = 64
    /// Whether the loss on a fixed general set is measured before and after.
    public var probesForgetting = false
    /// Where the run's numbers are written as it goes: metrics.jsonl, and a file that TensorBoard shows; nil: nowhere.
    public var logDirectory: String?
    /// What the model card gives as the way to do it again.
    public var command: String?

    public init() {}

    /// - Throws: `invalidArgument` for values out of range, by name.
    public func validate() throws(QwenSFTError) {
        try run.validate()
        for (name, value) in [
            ("evaluate_every", evaluateEvery), ("patience", patience), ("save_every", saveEvery),
            ("keep_last", keepLast), ("max_answer_tokens", maxAnswerTokens),
        ] {
            guard let value, value < 1 || value > 1 << 31 else { continue }
            throw QwenSFTError(.invalidArgument, "\(name) must be at least 1 and below 2^31, not \(value)")
        }
        if let maxSeconds, !(maxSeconds > 0) {
            throw QwenSFTError(.invalidArgument, "max_seconds must be above 0, not \(maxSeconds)")
        }
    }
}

/// The recipe: what the tool and `train` do unless told otherwise.
extension FineTuning {
    /// AdamW with a rate that suits what is trained: an adapter takes larger steps than the weights of a whole model.
    public static func adamW(trainsAdapter: Bool) -> AdamW {
        AdamW(learningRate: trainsAdapter ? 2e-4 : 1e-5, weightDecay: 1e-2)
    }

    public static var sgd: SGD { SGD(learningRate: 1e-3) }

    /// Gradients are clipped to norm 1; norms and biases are not decayed.
    public static var trainerOptions: TrainerOptions {
        var options = TrainerOptions()
        options.maxGradientNorm = 1
        options.decaysVectors = false
        return options
    }
}

/// What happens in a fine-tuning, in order.
public enum FineTuningEvent: Sendable, Equatable {
    /// A step was taken, or refused.
    case step(TrainingRunStep)
    case evaluation(Evaluation)
    case answer(RunHistory.Answer)
    /// What a person should know.
    case warning(String)
    /// The run can go on from here.
    case saved(RunCheckpoints.Saved)
    /// There are no more steps; the model has the weights that are the result.
    case ended(FineTuning.End)
}
