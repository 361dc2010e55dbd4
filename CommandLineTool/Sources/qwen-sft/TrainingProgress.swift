import Foundation
import QwenSFTCore

/// Tells how a run is going: one line that is written anew on a terminal, now and then a line elsewhere.
final class TrainingProgress {
    private let tuning: FineTuning
    private let logEvery: Int
    private let startStep: Int
    private let clock = ContinuousClock()
    private var start: ContinuousClock.Instant
    private var seconds = 0.0
    private var tokens = 0
    private var hasOpenLine = false

    private var run: TrainingRun { tuning.run }

    init(_ tuning: FineTuning, logEvery: Int?) {
        self.tuning = tuning
        self.logEvery = logEvery ?? max(1, tuning.run.totalSteps / 50)
        startStep = tuning.run.stepCount
        start = clock.now
    }

    func begin() {
        let rows = run.data.count
        var size = "\(min(rows, run.options.batchSize * run.options.accumulation)) conversations each"
        if let tokens = run.options.tokensPerStep { size = "about \(Format.count(tokens)) tokens each" }
        Terminal.note(
            "\(run.totalSteps) steps: \(Format.epochs(ofSteps: run.totalSteps, stepsPerEpoch: run.stepsPerEpoch)), "
                + size
                + (startStep > 0 ? "; going on after step \(startStep)" : ""))
        start = clock.now
    }

    func show(_ event: FineTuningEvent) {
        switch event {
        case .step(let step): show(step)
        case .evaluation(let evaluation): show(evaluation)
        case .answer(let answer):
            line("answer \(after(answer.step)) to “\(answer.prompt)”: \(answer.text)")
        case .warning(let text): line("warning: \(text)")
        case .saved: break
        case .ended(let end): show(end)
        }
    }

    private func show(_ step: TrainingRunStep) {
        tokens += step.tokens
        seconds += step.metrics?.seconds ?? 0
        guard let metrics = step.metrics else {
            line("step \(step.step): loss or gradient is not finite; the step was left out, the weights are as before")
            return
        }
        let epochs = Int((Double(run.totalSteps) / Double(run.stepsPerEpoch)).rounded(.up))
        var parts = [
            "step \(step.step)/\(run.totalSteps)", "epoch \(step.epoch + 1)/\(epochs)",
            "loss \(Format.loss(metrics.loss))",
        ]
        if let norm = metrics.gradientNorm { parts.append("norm \(String(format: "%.3g", norm))") }
        parts.append("lr \(String(format: "%.2e", step.learningRate))")
        parts.append("\(Int(Double(tokens) / max(seconds, 1e-9))) tok/s")
        let elapsed = (clock.now - start) / .seconds(1)
        parts.append(
            step.step == run.totalSteps
                ? "took \(Format.duration(elapsed))" : "left \(tuning.secondsLeft.map(Format.duration) ?? "–")")
        let text = parts.joined(separator: "  ")
        if Terminal.errorIsTerminal {
            Terminal.rewrite(text)
            hasOpenLine = true
        } else if step.step % logEvery == 0 || step.step == run.totalSteps || step.step == startStep + 1 {
            Terminal.note(text)
        }
    }

    private func show(_ evaluation: Evaluation) {
        guard evaluation.kind == .validation else {
            return line(
                "general questions \(after(evaluation.step)): loss \(Format.loss(evaluation.loss))\(change(of: evaluation))"
            )
        }
        var text =
            "evaluation after step \(evaluation.step): loss \(Format.loss(evaluation.loss)) over "
            + "\(Format.count(evaluation.supervisedTokens)) tokens\(comparison(evaluation))"
        if let probability = evaluation.endOfTurnProbability {
            text += "; ends its turns with probability \(String(format: "%.2f", probability))"
        }
        line(text)
    }

    /// With the best evaluation and with the one at the start.
    private func comparison(_ evaluation: Evaluation) -> String {
        guard evaluation.step > 0 else { return "" }
        var parts: [String] = []
        if let best = run.history.best {
            parts.append(
                best.step == evaluation.step
                    ? "the best so far" : "\(share(evaluation.loss, best.loss)) the best, of step \(best.step)")
        }
        if let start = run.history.start { parts.append("\(share(evaluation.loss, start.loss)) the start") }
        return parts.isEmpty ? "" : ", " + parts.joined(separator: ", ")
    }

    private func change(of evaluation: Evaluation) -> String {
        guard evaluation.step > 0,
            let before = run.history.evaluations.first(where: { $0.kind == .general && $0.step == 0 })
        else { return "" }
        return ", \(share(evaluation.loss, before.loss)) the start"
    }

    private func share(_ loss: Double, _ other: Double) -> String {
        let change = 100 * (loss / other - 1)
        return String(format: "%.1f %% %@", abs(change), change > 0 ? "above" : "below")
    }

    private func after(_ step: Int) -> String { step == 0 ? "before the first step" : "after step \(step)" }

    private func show(_ end: FineTuning.End) {
        switch end.reason {
        case .completed: break
        case .patience: line("ended after step \(run.stepCount): evaluations are no longer better than the best")
        case .budget: line("ended after step \(run.stepCount): the time that was given has passed")
        case .stopped: line("ended after step \(run.stepCount)")
        }
        if end.weightsStep != run.stepCount {
            line("the result is the weights after step \(end.weightsStep), the best")
        }
        if let worst = run.history.evaluations.last(where: { $0.kind == .validation })?.worstRows, worst.count > 1 {
            let rows = worst.map { "line \($0.line) (\(String(format: "%.3g", $0.loss)))" }.joined(separator: ", ")
            line("highest losses of the evaluation: \(rows)")
        }
    }

    /// The losses at the beginning and at the end.
    func end() {
        if hasOpenLine { Terminal.note("") }
        hasOpenLine = false
        let losses = run.curve.training.map(\.loss).filter(\.isFinite)
        guard let first = losses.first, let last = losses.last else { return }
        Terminal.note("loss \(Format.loss(first)) at the first step, \(Format.loss(last)) at the last")
        if run.refusedSteps > 0 {
            Terminal.note("\(run.refusedSteps) steps were left out because something was not finite")
        }
    }

    private func line(_ text: String) {
        if hasOpenLine { Terminal.note("") }
        hasOpenLine = false
        Terminal.note(text)
    }
}
