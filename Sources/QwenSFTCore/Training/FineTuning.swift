/// A run from its first evaluation to its result: evaluates, keeps the best weights, stops early, saves checkpoints, asks the model
/// what it says now, and warns. The host pulls it along, one event at a time:
///
///     let tuning = try FineTuning(trainer, data, validation: other)
///     while let event = try tuning.next() { … }
///     try tuning.save(to: output)
///
/// Between two events the host may do with run and model what it likes, and stop; within one, `onProgress` cancels without harm,
/// and the next call does again what was cancelled.
public final class FineTuning {
    /// Why there are no more steps.
    public enum Reason: String, Sendable, CaseIterable {
        case completed
        /// As many evaluations as `patience` says were no better than the best.
        case patience
        /// `maxSeconds` have passed.
        case budget
        /// The host has called `stop`.
        case stopped
    }

    public struct End: Sendable, Equatable {
        public var reason: Reason
        /// The step whose weights are the result.
        public var weightsStep: Int

        package init(reason: Reason, weightsStep: Int) {
            (self.reason, self.weightsStep) = (reason, weightsStep)
        }
    }

    /// What is done with a run that was stopped before.
    public enum Resumption: Sendable, Equatable {
        /// Where there is one, it is an error.
        case refuse
        /// It is removed.
        case overwrite
        /// It goes on; with `force` although data or settings are others.
        case resume(force: Bool)
    }

    public let run: TrainingRun
    public let options: FineTuningOptions
    public let validation: EncodedDataset?
    public let checkpoints: RunCheckpoints?
    /// Set with the event `ended`.
    public private(set) var end: End?

    let tokenizer: Tokenizer?
    private var log: RunLog?
    /// Whether a log is still to be begun.
    private var logs: Bool
    private let general: EncodedDataset?
    private var reason: Reason?
    private var pending: [FineTuningEvent] = []
    private var hasBegun = false
    /// The step whose weights are the result, once these are in the model.
    public private(set) var resultStep: Int?
    private var savedStep: Int?
    /// The best weights, where there is no directory for them.
    private var best: (step: Int, weights: TrainerSnapshot)?
    private var clock = RunClock()

    /// - Parameters:
    ///   - trainer: whose model is trained.
    ///   - data: the conversations.
    ///   - validation: measured at intervals; its lowest loss says which weights are the best.
    ///   - tokenizer: for the prompts and the general set; nil: there are none.
    ///   - options: steps, evaluations, saves.
    ///   - checkpoints: where the run saves what it needs to go on; nil: nowhere, and the best weights are kept in memory.
    ///   - stopped: what to do about a run that was stopped and left its checkpoints there.
    /// - Throws: `invalidArgument` for options out of range, and for a stopped run in the way; as `TrainingRun.init` and `loadState`.
    public init(
        _ trainer: Trainer, _ data: EncodedDataset, validation: EncodedDataset? = nil, tokenizer: Tokenizer? = nil,
        options: FineTuningOptions = .init(), checkpoints: RunCheckpoints? = nil, stopped: Resumption = .refuse
    ) throws(QwenSFTError) {
        try options.validate()
        run = try TrainingRun(trainer, data, options: options.run)
        if let validation { try run.check(validation) }
        self.options = options
        logs = options.logDirectory != nil
        self.validation = validation
        self.tokenizer = tokenizer
        self.checkpoints = checkpoints
        var general: EncodedDataset?
        if options.probesForgetting, let tokenizer {
            do throws(QwenSFTError) {
                let data = try GeneralProbe.data(tokenizer)
                try run.check(data)
                general = data
            } catch {
                Warnings.send("the general questions are not asked: \(error.message)")
            }
        }
        self.general = general
        if tokenizer == nil, !options.prompts.isEmpty {
            throw QwenSFTError(.invalidArgument, "prompts need a tokenizer")
        }
        if let collective = trainer.collective,
            checkpoints != nil || options.maxSeconds != nil || options.patience != nil
                || validation != nil && !options.writesLast
        {
            // Files would be written by all of them, and neither clocks nor losses agree to the last bit.
            throw QwenSFTError(
                .unsupported,
                "a run of \(collective.worldSize) ranks keeps no checkpoints, no time and no best weights by itself: save its state, end it on all ranks, write the last weights"
            )
        }
        guard let checkpoints else { return }
        run.base = trainer.untrainedIdentity
        let last = checkpoints.saved.last
        switch stopped {
        case .refuse:
            if let last {
                throw QwenSFTError(
                    .invalidArgument,
                    "\(checkpoints.directory): holds a run that was stopped after step \(last.step); resume it, or have it overwritten"
                )
            }
        case .overwrite: checkpoints.remove()
        case .resume(let force):
            try checkpoints.load(into: run, force: force)
            savedStep = run.stepCount
            hasBegun = true
        }
    }

    // MARK: Going on

    /// The next event; nil after `ended`.
    /// - Throws: `cancelled` when `onProgress` says so; `nonFinite` when step after step was refused; what training throws. The
    ///   run is as before the event then.
    public func next(onProgress: Trainer.Progress = { _, _ in true }) throws(QwenSFTError) -> FineTuningEvent? {
        beginLog()
        while pending.isEmpty {
            guard end == nil else { return nil }
            try advance(onProgress)
        }
        let event = pending.removeFirst()
        note(event)
        return event
    }

    /// There are to be no more steps: the next events are those of the end.
    public func stop() { reason = reason ?? .stopped }

    /// Saves where the run stands.
    /// - Throws: `invalidArgument` without a directory, or once the best weights have taken the place of the last ones.
    @discardableResult
    public func saveCheckpoint() throws(QwenSFTError) -> RunCheckpoints.Saved {
        guard let checkpoints else { throw QwenSFTError(.invalidArgument, "the run has no directory for checkpoints") }
        if savedStep == run.stepCount, let saved = checkpoints.saved.last, saved.step == savedStep { return saved }
        guard resultStep == nil || resultStep == run.stepCount else {
            throw QwenSFTError(.invalidArgument, "the run is over, and its last weights are no longer there")
        }
        let saved = try checkpoints.save(run, keepLast: options.keepLast)
        savedStep = saved.step
        return saved
    }

    /// Where the run stands, in memory: weights, optimizer, place in the data, history, and which weights are the best.
    public struct Snapshot {
        fileprivate let run: RunSnapshot
        fileprivate let best: (step: Int, weights: TrainerSnapshot)?
        fileprivate let hasBegun: Bool
    }

    /// - Throws: `outOfMemory`, `busy`.
    public func snapshot() throws(QwenSFTError) -> Snapshot {
        Snapshot(run: try run.snapshot(), best: best, hasBegun: hasBegun)
    }

    /// Goes back to where a snapshot was taken, any number of times. What has been decided since then is open again.
    public func rollBack(to snapshot: Snapshot) throws(QwenSFTError) {
        try run.rollBack(to: snapshot.run)
        (best, hasBegun) = (snapshot.best, snapshot.hasBegun)
        (reason, end, resultStep, pending, savedStep) = (nil, nil, nil, [], nil)
        (log, logs) = (nil, options.logDirectory != nil)
    }

    /// How long it will take from here, as far as can be told; nil before the second step.
    public var secondsLeft: Double? {
        guard end == nil else { return 0 }
        let steps = reason == nil ? run.totalSteps - run.stepCount : 0
        let tokens = Double(run.data.report.tokens) / Double(run.stepsPerEpoch) * Double(steps)
        guard var left = clock.seconds(forTokens: tokens) else { return nil }
        let evaluation = validation == nil ? 0 : run.history.validations.last?.seconds ?? 0
        left += Double(evaluationsLeft) * (evaluation + Double(options.prompts.count) * clock.answerSeconds)
        if general != nil { left += run.history.evaluations.last { $0.kind == .general }?.seconds ?? 0 }
        return options.maxSeconds.map { max(0, min(left, $0 - clock.elapsed)) } ?? left
    }

    /// Those to come, one that is due now included.
    private var evaluationsLeft: Int {
        let every = options.evaluateEvery ?? run.stepsPerEpoch
        let (step, total) = (run.stepCount, run.totalSteps)
        let isPending = step > 0 && isEvaluationDue && run.history.validations.last?.step != step
        guard reason == nil, step < total else { return isPending ? 1 : 0 }
        return total / every - step / every + (total % every == 0 ? 0 : 1) + (isPending ? 1 : 0)
    }

    /// The next thing to do, whole or not at all.
    private func advance(_ onProgress: Trainer.Progress) throws(QwenSFTError) {
        clock.begin()
        let step = run.stepCount
        if !hasBegun {
            hasBegun = true
            if validation == nil { warn("no validation data: nothing will tell whether more training makes it worse") }
            if let tokenizer, let text = run.unlearnedEnd(tokenizer) { warn(text) }
            return
        }
        if reason == nil { reason = reasonToEnd }
        if isEvaluationDue, resultStep == nil {
            if try evaluate(onProgress) { return }
            if step == 0, try probe(ofStep: 0, onProgress) { return }
            if reason == nil || !hasBetterWeights, try answer(ofStep: step, onProgress) { return }
        }
        if let reason { return try finish(reason, onProgress) }
        if let every = options.saveEvery, step > 0, step % every == 0, savedStep != step {
            savedStep = step
            return saveAlongTheWay()
        }
        let (next, seconds) = try RunClock.timed { () throws(QwenSFTError) in try run.next(onProgress: onProgress) }
        guard let next else { return }
        clock.add(tokens: next.tokens, seconds: seconds)
        pending.append(.step(next))
    }

    private var isEvaluationDue: Bool {
        let step = run.stepCount
        return step == 0 || step >= run.totalSteps || reason != nil
            || step % (options.evaluateEvery ?? run.stepsPerEpoch) == 0
    }

    private var reasonToEnd: Reason? {
        if run.stepCount >= run.totalSteps { return .completed }
        if let patience = options.patience, let best = run.history.best,
            run.history.validations.filter({ $0.step > best.step }).count >= patience
        {
            return .patience
        }
        if let limit = options.maxSeconds, clock.elapsed >= limit, run.stepCount > 0 { return .budget }
        return nil
    }

    private func saveAlongTheWay() {
        guard let checkpoints else { return }
        do throws(QwenSFTError) {
            pending.append(.saved(try checkpoints.save(run, keepLast: options.keepLast)))
        } catch {
            // An older one is still there, and room may be found until the end.
            warn("step \(run.stepCount) cannot be saved: \(error.message)")
        }
    }

    private func beginLog() {
        guard logs, let directory = options.logDirectory else { return }
        logs = false
        do throws(QwenSFTError) { log = try RunLog(directory, run.history) } catch {
            warn("the log cannot be written: \(error.message)")
        }
    }

    /// The run goes on without its log.
    private func note(_ event: FineTuningEvent) {
        do throws(QwenSFTError) { try log?.write(event) } catch {
            log = nil
            warn("the log ends after step \(run.stepCount): \(error.message)")
        }
    }

    private func warn(_ text: String) {
        run.history.warnings.append(.init(step: run.stepCount, text: text))
        pending.append(.warning(text))
    }

    // MARK: Judging

    /// - Returns: whether there was something to do.
    private func evaluate(_ onProgress: Trainer.Progress) throws(QwenSFTError) -> Bool {
        guard let validation, run.history.validations.last?.step != run.stepCount else { return false }
        let evaluation = try run.judge(validation, as: .validation, onProgress: onProgress)
        let previous = run.history.best
        let isBest = run.stepCount > 0 && previous.map { evaluation.loss < $0.loss } ?? true
        if isBest, run.stepCount > 0, !options.writesLast, run.stepCount < run.totalSteps { try keepBest() }
        run.history.evaluations.append(evaluation)
        pending.append(.evaluation(evaluation))
        if let text = run.history.overfitting(writesLast: options.writesLast) { warn(text) }
        return true
    }

    private func keepBest() throws(QwenSFTError) {
        if let checkpoints {
            do throws(QwenSFTError) { return try checkpoints.saveBest(run) } catch {
                warn("the weights of step \(run.stepCount), the best so far, cannot be saved: \(error.message)")
            }
        } else {
            // There may be no room for two.
            best = nil
            do throws(QwenSFTError) { best = (run.stepCount, try run.trainer.snapshot(weightsOnly: true)) } catch {
                warn("the weights of step \(run.stepCount), the best so far, cannot be kept: \(error.message)")
            }
        }
    }

    private func probe(ofStep step: Int, _ onProgress: Trainer.Progress) throws(QwenSFTError) -> Bool {
        guard let general,
            !run.history.evaluations.contains(where: { $0.kind == .general && $0.step == step })
        else { return false }
        var evaluation = try run.judge(general, as: .general, onProgress: onProgress)
        evaluation.step = step
        run.history.evaluations.append(evaluation)
        pending.append(.evaluation(evaluation))
        return true
    }

    /// Asks the next prompt that was not yet asked after `step`, if there is one.
    private func answer(ofStep step: Int, _ onProgress: Trainer.Progress) throws(QwenSFTError) -> Bool {
        let index = run.history.answers.filter { $0.step == step }.count
        guard let tokenizer, index < options.prompts.count else { return false }
        var how = GenerationOptions.greedy
        how.maxNewTokens = options.maxAnswerTokens
        var isCancelled = false
        var count = 0
        let prompt = options.prompts[index]
        let (text, seconds) = try RunClock.timed { () throws(QwenSFTError) in
            try run.trainer.model.chat(tokenizer, [Message(role: "user", content: prompt)], options: how) { _ in
                count += 1
                isCancelled = !onProgress(min(count, how.maxNewTokens), how.maxNewTokens)
                return !isCancelled
            }
        }
        if isCancelled { throw QwenSFTError(.cancelled, "cancelled while a prompt was answered") }
        clock.answerSeconds = seconds
        let answer = RunHistory.Answer(step: step, prompt: prompt, text: text)
        run.history.answers.append(answer)
        pending.append(.answer(answer))
        return true
    }

    // MARK: The end

    /// Whether other weights than the last ones are the result.
    private var hasBetterWeights: Bool {
        guard !options.writesLast, let best = run.history.best else { return false }
        return best.step != run.stepCount
    }

    private func finish(_ reason: Reason, _ onProgress: Trainer.Progress) throws(QwenSFTError) {
        guard let resultStep else {
            resultStep = try takeResult()
            return
        }
        if run.stepCount > 0, try probe(ofStep: resultStep, onProgress) { return }
        if try answer(ofStep: resultStep, onProgress) { return }
        let end = End(reason: reason, weightsStep: resultStep)
        self.end = end
        pending.append(.ended(end))
    }

    /// Puts the best weights in the place of the last ones, where they are to be the result.
    /// - Returns: the step they are of.
    private func takeResult() throws(QwenSFTError) -> Int {
        try run.trainer.finishLocalSteps()  // the run may have been stopped between two averages
        let last = run.stepCount
        guard hasBetterWeights, let best = run.history.best else { return last }
        if let checkpoints {
            // With the last weights it could go on; they are about to be gone.
            if savedStep != last {
                savedStep = last
                saveAlongTheWay()
            }
            do throws(QwenSFTError) { try checkpoints.loadBest(ofStep: best.step, into: run.trainer) } catch {
                warn("the best weights cannot be read, and the last ones are the result: \(error.message)")
                return last
            }
        } else if let kept = self.best, kept.step == best.step {
            try run.trainer.restore(kept.weights)
        } else {
            warn("the best weights are not there any more, and the last ones are the result")
            return last
        }
        if let start = run.history.start, best.loss >= start.loss {
            warn(
                "no evaluation was better than the one before the first step (loss \(decimal(start.loss, digits: 4))); the least bad one was after step \(best.step) (\(decimal(best.loss, digits: 4)))"
            )
        }
        return best.step
    }
}
