import Libc

/// The numbers of a run as it goes, for other programs to read: `metrics.jsonl`, an object a line, and a file of events for TensorBoard.
///
/// Both are begun anew from the run's history, so that a run that was stopped and resumed has each step once.
final class RunLog {
    static let metricsName = "metrics.jsonl"
    /// TensorBoard looks for "tfevents" in the name.
    static let eventsName = "events.out.tfevents.qwensft"

    private let metrics: AppendedFile
    private let events: AppendedFile

    /// - Parameter directory: made where it does not exist.
    /// - Throws: `io` where a file cannot be written.
    init(_ directory: String, _ history: RunHistory) throws(QwenSFTError) {
        try makeDirectories(directory)
        metrics = try AppendedFile(joinPath(directory, Self.metricsName))
        events = try AppendedFile(joinPath(directory, Self.eventsName))
        try events.append(EventFile.version(time: Self.now))
        let evaluations = history.evaluations
        for evaluation in evaluations where evaluation.step == 0 { try write(evaluation) }
        for step in history.steps {
            try write(step)
            for evaluation in evaluations where evaluation.step == step.step { try write(evaluation) }
        }
    }

    func write(_ event: FineTuningEvent) throws(QwenSFTError) {
        switch event {
        case .step(let step): try write(step)
        case .evaluation(let evaluation): try write(evaluation)
        default: break
        }
    }

    private func write(_ step: TrainingRunStep) throws(QwenSFTError) {
        try write(
            step.step,
            [
                ("train/loss", step.metrics?.loss), ("train/lr", step.learningRate),
                ("train/grad_norm", step.metrics?.gradientNorm),
                ("train/tokens_per_second", step.metrics.map { Double(step.tokens) / $0.seconds }),
            ])
    }

    private func write(_ evaluation: Evaluation) throws(QwenSFTError) {
        let name = evaluation.kind.rawValue
        try write(
            evaluation.step,
            [
                ("\(name)/loss", evaluation.loss),
                ("\(name)/end_of_turn_probability", evaluation.endOfTurnProbability),
            ])
    }

    private func write(_ step: Int, _ values: [(name: String, value: Double?)]) throws(QwenSFTError) {
        var line = JSONObject()
        line["step"] = .integer(step)
        var scalars: [(name: String, value: Double)] = []
        for (name, value) in values {
            guard let value, value.isFinite else { continue }
            line[name] = .real(value)
            scalars.append((name, value))
        }
        try metrics.append(JSONValue.object(line).serialized() + [UInt8(ascii: "\n")])
        try events.append(EventFile.scalars(scalars, step: step, time: Self.now))
    }

    private static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
