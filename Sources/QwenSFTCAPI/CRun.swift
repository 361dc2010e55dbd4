// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 8: runs and the loss curve.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_run_options_init")
public func sft_run_options_init(_ options: UnsafeMutablePointer<sft_run_options>!, _ struct_size: Int) -> sft_status {
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_evaluate_dataset")
public func sft_evaluate_dataset(
    _ trainer: OpaquePointer!, _ dataset: OpaquePointer!, _ options: UnsafePointer<sft_run_options>!,
    _ metrics: UnsafeMutablePointer<sft_step_metrics>!, _ metrics_size: Int
) -> sft_status {
    measuring(trainer, metrics, metrics_size) { (object) throws(QwenSFTError) in
        try object.trainer.evaluate(
            Handle.dataset(dataset).data, QwenSFTCAPI.options(options).core().run, onProgress: object.progress)
    }
}

@implementation @_cdecl("sft_run_create")
public func sft_run_create(
    _ trainer: OpaquePointer!, _ dataset: OpaquePointer!, _ options: UnsafePointer<sft_run_options>!,
    _ run: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("run", run) { () throws(QwenSFTError) in
        try RunObject(Handle.trainer(trainer), Handle.dataset(dataset).data, QwenSFTCAPI.options(options))
    }
}

@implementation @_cdecl("sft_run_free")
public func sft_run_free(_ run: OpaquePointer!) {
    Handle.free(run, as: RunObject.self)
}

@implementation @_cdecl("sft_run_next")
public func sft_run_next(
    _ run: OpaquePointer!, _ step: UnsafeMutablePointer<sft_run_step>!, _ step_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        // Checked before the step: afterwards the weights have changed.
        try fill(step, step_size, "step") { sft_run_step() }
        let object = try Handle.run(run)
        try object.exclusively("run") { () throws(QwenSFTError) in
            var next: TrainingRunStep?
            while next == nil, let event = try object.tuning.next(onProgress: object.trainer.progress) {
                if case .step(let step) = event { next = step }
            }
            try fill(step, step_size, "step") { next.map { record($0, of: object.run) } ?? sft_run_step() }
        }
    }
}

@implementation @_cdecl("sft_run_evaluate")
public func sft_run_evaluate(
    _ run: OpaquePointer!, _ dataset: OpaquePointer!, _ metrics: UnsafeMutablePointer<sft_step_metrics>!,
    _ metrics_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        if metrics != nil { try fill(metrics, metrics_size, "metrics") { sft_step_metrics() } }
        let object = try Handle.run(run)
        let data = try Handle.dataset(dataset).data
        let result = try object.exclusively("run") { () throws(QwenSFTError) in
            try object.run.evaluate(data, onProgress: object.trainer.progress)
        }
        guard metrics != nil else { return }
        try fill(metrics, metrics_size, "metrics") {
            sft_step_metrics(
                loss: result.loss, grad_norm: 0, seconds: result.seconds,
                supervised_tokens: UInt64(result.supervisedTokens), has_grad_norm: 0)
        }
    }
}

@implementation @_cdecl("sft_run_losses")
public func sft_run_losses(
    _ run: OpaquePointer!, _ losses: UnsafeMutablePointer<Double>!, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(losses, capacity, count, "losses")
        let object = try Handle.run(run)
        try object.exclusively("run") { () throws(QwenSFTError) in
            try output.write(object.run.curve.training.map(\.loss))
        }
    }
}

@implementation @_cdecl("sft_run_save_state")
public func sft_run_save_state(_ run: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ path_size: Int) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.run(run)
        let path = try QwenSFTCAPI.path(path, path_size, "path")
        try object.exclusively("run") { () throws(QwenSFTError) in try object.run.saveState(to: path) }
    }
}

@implementation @_cdecl("sft_run_load_state")
public func sft_run_load_state(_ run: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ path_size: Int) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.run(run)
        let path = try QwenSFTCAPI.path(path, path_size, "path")
        try object.exclusively("run") { () throws(QwenSFTError) in try object.run.loadState(from: path) }
    }
}

@implementation @_cdecl("sft_run_svg")
public func sft_run_svg(
    _ run: OpaquePointer!, _ title: UnsafePointer<CChar>!, _ title_size: Int, _ svg: UnsafeMutablePointer<CChar>!,
    _ capacity: Int, _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(svg, capacity, size, "svg")
        let object = try Handle.run(run)
        let title = try text(title, title_size, "title")
        try object.exclusively("run") { () throws(QwenSFTError) in
            try requireMemory(points: object.run.curve.training.count + object.run.curve.evaluation.count)
            try output.write(object.run.curve.svg(title: title))
        }
    }
}

@implementation @_cdecl("sft_loss_curve_svg")
public func sft_loss_curve_svg(
    _ losses: UnsafePointer<Double>!, _ count: Int, _ evaluation_steps: UnsafePointer<Int>!,
    _ evaluation_losses: UnsafePointer<Double>!, _ evaluation_count: Int, _ title: UnsafePointer<CChar>!,
    _ title_size: Int, _ svg: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(svg, capacity, size, "svg")
        let training = try array(losses, count, "losses")
        let steps = try array(evaluation_steps, evaluation_count, "evaluation_steps")
        let evaluations = try array(evaluation_losses, evaluation_count, "evaluation_losses")
        if let i = steps.firstIndex(where: { !(0...1 << 53).contains($0) }) {
            throw QwenSFTError(.invalidArgument, "evaluation_steps[\(i)] is no possible number of steps")
        }
        let (points, overflow) = count.addingReportingOverflow(evaluation_count)
        try requireMemory(points: overflow ? .max : points)
        let curve = LossCurve(
            training: training.enumerated().map { .init(step: $0 + 1, loss: $1) },
            evaluation: zip(steps, evaluations).map { .init(step: $0, loss: $1) })
        try output.write(curve.svg(title: text(title, title_size, "title")))
    }
}

/// A picture writes its points down as text, several times over.
private func requireMemory(points: Int) throws(QwenSFTError) {
    let (bytes, overflow) = points.multipliedReportingOverflow(by: 512)
    try Memory.require(overflow ? .max : bytes, for: "a picture of \(points) losses")
}

func record(_ step: TrainingRunStep, of run: TrainingRun) -> sft_run_step {
    let metrics = step.metrics.map(record) ?? sft_step_metrics()
    return sft_run_step(
        step: step.step, total_steps: run.totalSteps, epoch: step.epoch, conversations: step.rows, tokens: step.tokens,
        lr: step.learningRate, loss: step.metrics?.loss ?? .nan, grad_norm: metrics.grad_norm,
        seconds: metrics.seconds, supervised_tokens: metrics.supervised_tokens, has_grad_norm: metrics.has_grad_norm,
        is_refused: step.metrics == nil ? 1 : 0)
}
