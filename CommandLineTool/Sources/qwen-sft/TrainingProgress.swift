import Foundation
import QwenSFTCore

/// Tells how a run is going: one line that is written anew on a terminal, now and then a line elsewhere.
final class TrainingProgress {
    private let run: TrainingRun
    private let logEvery: Int
    private let startStep: Int
    private let clock = ContinuousClock()
    private var start: ContinuousClock.Instant
    private var seconds = 0.0
    private var tokens = 0
    private var peak = 0.0
    private var lastEvaluation: Double?
    private var hasOpenLine = false

    init(_ run: TrainingRun, logEvery: Int?) {
        self.run = run
        self.logEvery = logEvery ?? max(1, run.totalSteps / 50)
        startStep = run.stepCount
        start = clock.now
    }

    func begin() {
        let rows = run.data.count
        Terminal.note(
            "\(run.totalSteps) steps: \(run.options.epochs) \(run.options.epochs == 1 ? "epoch" : "epochs") of \(run.stepsPerEpoch), "
                + "\(min(rows, run.options.batchSize * run.options.accumulation)) conversations each"
                + (startStep > 0 ? "; going on after step \(startStep)" : ""))
        start = clock.now
    }

    func show(_ step: TrainingRunStep) {
        tokens += step.tokens
        seconds += step.metrics?.seconds ?? 0
        guard let metrics = step.metrics else {
            line("step \(step.step): loss or gradient is not finite; the step was left out, the weights are as before")
            return
        }
        let elapsed = (clock.now - start) / .seconds(1)
        let left = elapsed / Double(step.step - startStep) * Double(run.totalSteps - step.step)
        var parts = [
            "step \(step.step)/\(run.totalSteps)", "epoch \(step.epoch + 1)/\(run.options.epochs)",
            "loss \(Format.loss(metrics.loss))",
        ]
        if let norm = metrics.gradientNorm { parts.append("norm \(String(format: "%.3g", norm))") }
        parts.append("lr \(String(format: "%.2e", step.learningRate))")
        parts.append("\(Int(Double(tokens) / max(seconds, 1e-9))) tok/s")
        parts.append(step.step == run.totalSteps ? "took \(Format.duration(elapsed))" : "left \(Format.duration(left))")
        let text = parts.joined(separator: "  ")
        if Terminal.errorIsTerminal {
            Terminal.rewrite(text)
            hasOpenLine = true
        } else if step.step % logEvery == 0 || step.step == run.totalSteps || step.step == startStep + 1 {
            Terminal.note(text)
        }
    }

    func show(evaluation metrics: StepMetrics) {
        let change = lastEvaluation.map { $0 > metrics.loss ? ", better" : ", worse: more epochs would overfit" } ?? ""
        lastEvaluation = metrics.loss
        line(
            "evaluation after step \(run.stepCount): loss \(Format.loss(metrics.loss)) over \(Format.count(metrics.supervisedTokens)) tokens\(change)"
        )
    }

    func show(warning: String) { line("warning: \(warning)") }

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
