// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 8: what a run does beside its steps.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_run_get_info")
public func sft_run_get_info(
    _ run: OpaquePointer!, _ info: UnsafeMutablePointer<sft_run_info>!, _ info_size: Int
) -> sft_status {
    changing(run) { (object) throws(QwenSFTError) in
        try fill(info, info_size, "info") {
            let run = object.run
            let best = run.history.best
            return sft_run_info(
                step: run.stepCount, total_steps: run.totalSteps, steps_per_epoch: run.stepsPerEpoch,
                refused_steps: run.refusedSteps, best_step: best?.step ?? 0, best_loss: best?.loss ?? .nan,
                lr: run.fullRate, seconds_left: object.tuning.secondsLeft ?? .nan,
                has_ended: object.tuning.end == nil ? 0 : 1, reserved: 0)
        }
    }
}

@implementation @_cdecl("sft_run_next_event")
public func sft_run_next_event(
    _ run: OpaquePointer!, _ event: UnsafeMutablePointer<sft_run_event>!, _ event_size: Int
) -> sft_status {
    changing(run) { (object) throws(QwenSFTError) in
        // Checked before anything is done: afterwards the weights have changed.
        try fill(event, event_size, "event") { sft_run_event() }
        let next = try object.tuning.next(onProgress: object.trainer.progress)
        try fill(event, event_size, "event") { object.record(next) }
    }
}

@implementation @_cdecl("sft_run_end")
public func sft_run_end(_ run: OpaquePointer!) -> sft_status {
    changing(run) { (object) throws(QwenSFTError) in object.tuning.stop() }
}

@implementation @_cdecl("sft_run_save_result")
public func sft_run_save_result(
    _ run: OpaquePointer!, _ directory: UnsafePointer<CChar>!, _ directory_size: Int, _ dtype: sft_dtype
) -> sft_status {
    changing(run) { (object) throws(QwenSFTError) in
        try object.tuning.save(
            to: path(directory, directory_size, "directory"), dtype: dtypes.value(dtype, "dtype"))
    }
}

@implementation @_cdecl("sft_run_save_report")
public func sft_run_save_report(
    _ run: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ path_size: Int, _ title: UnsafePointer<CChar>!,
    _ title_size: Int
) -> sft_status {
    changing(run) { (object) throws(QwenSFTError) in
        try RunReport(object.tuning).write(
            to: QwenSFTCAPI.path(path, path_size, "path"), title: text(title, title_size, "title"))
    }
}

@implementation @_cdecl("sft_run_save_checkpoint")
public func sft_run_save_checkpoint(_ run: OpaquePointer!) -> sft_status {
    changing(run) { (object) throws(QwenSFTError) in try object.tuning.saveCheckpoint() }
}

@implementation @_cdecl("sft_run_set_lr")
public func sft_run_set_lr(_ run: OpaquePointer!, _ lr: Double) -> sft_status {
    changing(run) { (object) throws(QwenSFTError) in try object.run.setLearningRate(lr) }
}

@implementation @_cdecl("sft_run_snapshot")
public func sft_run_snapshot(_ run: OpaquePointer!) -> sft_status {
    changing(run) { (object) throws(QwenSFTError) in
        object.snapshot = nil
        object.snapshot = try object.tuning.snapshot()
    }
}

@implementation @_cdecl("sft_run_roll_back")
public func sft_run_roll_back(_ run: OpaquePointer!) -> sft_status {
    changing(run) { (object) throws(QwenSFTError) in
        guard let snapshot = object.snapshot else {
            throw QwenSFTError(.invalidArgument, "there is no snapshot to roll back to")
        }
        try object.tuning.rollBack(to: snapshot)
    }
}

@implementation @_cdecl("sft_run_history")
public func sft_run_history(
    _ run: OpaquePointer!, _ json: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(json, capacity, size, "json")
        let object = try Handle.run(run)
        try object.exclusively("run") { () throws(QwenSFTError) in try output.write(object.run.history.json) }
    }
}

private func changing(
    _ run: OpaquePointer?, _ body: (RunObject) throws(QwenSFTError) -> Void
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.run(run)
        try object.exclusively("run") { () throws(QwenSFTError) in try body(object) }
    }
}

/// A run, and the trainer whose callback it asks.
final class RunObject {
    let tuning: FineTuning
    let trainer: TrainerObject
    let exclusively = Exclusive()
    var snapshot: FineTuning.Snapshot?
    /// What the last event lent out.
    private var lent: [UnsafePointer<CChar>] = []

    var run: TrainingRun { tuning.run }

    init(
        _ trainer: TrainerObject, _ data: EncodedDataset, _ fields: sft_run_options
    ) throws(QwenSFTError) {
        self.trainer = trainer
        var options = try fields.core()
        options.prompts = try texts(fields.prompts, fields.prompt_count, "prompts")
        if fields.log_directory != nil {
            options.logDirectory = try path(fields.log_directory, fields.log_directory_size, "log_directory")
        }
        let validation = fields.validation == nil ? nil : try Handle.dataset(fields.validation).data
        let tokenizer = fields.tokenizer == nil ? nil : try Handle.tokenizer(fields.tokenizer)
        let stopped = try stoppedRuns.value(fields.stopped, "stopped")
        let output = fields.output == nil ? nil : try path(fields.output, fields.output_size, "output")
        // After all that can be refused without it, because it makes the output's parent directories; before the run is made, which may
        // remove one that was stopped there.
        try options.validate()
        if let output { try trainer.trainer.checkDestination(output) }
        tuning = try FineTuning(
            trainer.trainer, data, validation: validation, tokenizer: tokenizer, options: options,
            checkpoints: output.map { RunCheckpoints(of: $0) }, stopped: stopped)
    }

    deinit { release() }

    private func release() {
        for text in lent { text.deallocate() }
        lent = []
    }

    private func lend(_ text: String) -> (pointer: UnsafePointer<CChar>, size: Int) {
        let copy = lentCopy(of: text)
        lent.append(copy)
        return (copy, text.utf8.count)
    }

    fileprivate func record(_ event: FineTuningEvent?) -> sft_run_event {
        release()
        var result = sft_run_event()
        result.step = run.stepCount
        result.total_steps = run.totalSteps
        result.end_of_turn_probability = .nan
        result.seconds_left = tuning.secondsLeft ?? .nan
        guard let event else { return result }
        result.kind = kind(of: event)
        switch event {
        case .step(let step): fill(&result, QwenSFTCAPI.record(step, of: run))
        case .evaluation(let evaluation):
            result.step = evaluation.step
            result.is_general = evaluation.kind == .general ? 1 : 0
            result.loss = evaluation.loss
            result.seconds = evaluation.seconds
            result.supervised_tokens = UInt64(evaluation.supervisedTokens)
            result.end_of_turn_probability = evaluation.endOfTurnProbability ?? .nan
        case .answer(let answer):
            result.step = answer.step
            (result.text, result.text_size) = lend(answer.text)
            (result.prompt, result.prompt_size) = lend(answer.prompt)
        case .warning(let text): (result.text, result.text_size) = lend(text)
        case .saved(let saved): (result.text, result.text_size) = lend(saved.path)
        case .ended(let end):
            result.step = end.weightsStep
            (result.text, result.text_size) = lend(end.reason.rawValue)
        }
        return result
    }

    private func fill(_ event: inout sft_run_event, _ step: sft_run_step) {
        event.step = step.step
        event.epoch = step.epoch
        event.conversations = step.conversations
        event.tokens = step.tokens
        event.lr = step.lr
        event.loss = step.loss
        event.grad_norm = step.grad_norm
        event.seconds = step.seconds
        event.supervised_tokens = step.supervised_tokens
        event.has_grad_norm = step.has_grad_norm
        event.is_refused = step.is_refused
    }
}

extension Handle {
    static func run(_ pointer: OpaquePointer?) throws(QwenSFTError) -> RunObject {
        try object(pointer, as: RunObject.self, "run")
    }
}

extension sft_run_options: OptionsStruct {
    static var coreDefaults: FineTuningOptions { FineTuningOptions() }
    /// What points to something, and what becomes of a stopped run, is read where a run is made.
    static var fields: [OptionsField<Self, FineTuningOptions>] {
        [
            .same(\.epochs, \.run.epochs),
            .same(\.batch_size, \.run.batchSize),
            .same(\.accumulation, \.run.accumulation),
            .optional(\.tokens_per_step, \.run.tokensPerStep, none: 0),
            .optional(\.max_batch_tokens, \.run.maxBatchTokens, none: 0),
            .same(\.warmup_steps, \.run.schedule.warmupSteps),
            .same(\.seed, \.run.seed),
            .constant("schedule", schedules, \.schedule, \.run.schedule.shape),
            .flag("shuffles", \.shuffles, \.run.shuffles),
            .size("max_steps", \.max_steps, \.run.maxSteps),
            .same(\.warmup_ratio, \.run.schedule.warmupRatio),
            .same(\.max_refused_steps, \.run.maxRefusedSteps),
            .same(\.max_answer_tokens, \.maxAnswerTokens),
            .size("evaluate_every", \.evaluate_every, \.evaluateEvery),
            .size("patience", \.patience, \.patience),
            .optional(\.max_seconds, \.maxSeconds, none: 0),
            .flag("probes_forgetting", \.probes_forgetting, \.probesForgetting),
            .flag("writes_last", \.writes_last, \.writesLast),
            .size("save_every", \.save_every, \.saveEvery),
            .same(\.keep_last, \.keepLast),
            OptionsField(
                read: { (options, _) throws(QwenSFTError) in _ = try stoppedRuns.value(options.stopped, "stopped") },
                write: { _, options in options.stopped = stoppedRuns.constant(.refuse) }),
            .reserved(\.reserved),
        ]
    }
}
