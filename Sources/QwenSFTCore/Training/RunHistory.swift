/// All that a run has come to so far: what progress, reports and metrics files are made of.
public struct RunHistory: Sendable, Equatable {
    /// What the model said to a prompt.
    public struct Answer: Sendable, Equatable {
        /// Steps taken before it.
        public var step: Int
        public var prompt: String
        public var text: String
    }

    /// What a person should know of a run.
    public struct Note: Sendable, Equatable {
        /// Steps taken before it.
        public var step: Int
        public var text: String
    }

    public internal(set) var steps: [TrainingRunStep] = []
    public internal(set) var evaluations: [Evaluation] = []
    public internal(set) var answers: [Answer] = []
    public internal(set) var warnings: [Note] = []

    public init() {}

    /// Of the losses on the validation data, the lowest that training has led to; the first of equal ones.
    public var best: Evaluation? {
        evaluations.filter { $0.kind == .validation && $0.step > 0 }.min { $0.loss < $1.loss }
    }

    /// The loss on the validation data before the first step.
    public var start: Evaluation? { evaluations.first { $0.kind == .validation && $0.step == 0 } }

    /// The losses on the validation data that are there, in order.
    var validations: [Evaluation] { evaluations.filter { $0.kind == .validation } }

    public var curve: LossCurve {
        LossCurve(
            training: steps.map { step in
                // One of several ranks that step by themselves may have had nothing to learn.
                let metrics = step.metrics.flatMap { $0.supervisedTokens > 0 ? $0 : nil }
                return .init(step: step.step, loss: metrics?.loss ?? .nan)
            },
            evaluation: validations.map { .init(step: $0.step, loss: $0.loss) })
    }

    /// The mean loss of the steps of a range that were not refused, by tokens; nil where there is none.
    func meanLoss(ofSteps range: ClosedRange<Int>) -> Double? {
        var (sum, count) = (0.0, 0.0)
        for step in steps where range.contains(step.step) {
            guard let metrics = step.metrics else { continue }
            sum += metrics.loss * Double(metrics.supervisedTokens)
            count += Double(metrics.supervisedTokens)
        }
        return count > 0 ? sum / count : nil
    }
}
