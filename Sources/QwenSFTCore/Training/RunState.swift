/// Stopping a run and going on with it.
extension TrainingRun {
    /// Writes where the run stands: the trainer's state (`Trainer.saveState`), the number of steps, the settings and the history.
    /// With the model saved in the dtype it has in memory, a run that is taken up goes on as if it had not stopped, bit for bit.
    public func saveState(to path: String) throws(QwenSFTError) {
        try trainer.saveState(to: path, adding: notes)
    }

    /// Takes a run up where `saveState` left it. The model must have been opened from the checkpoint saved with it.
    /// - Parameters:
    ///   - path: of what `saveState` has written.
    ///   - force: go on although the data or settings are others, with a warning that says which.
    /// - Throws: `invalidArgument` when the data or the settings that decide the steps to come are not those of the saved run,
    ///   naming each; as `Trainer.loadState`. The run is as before then.
    public func loadState(from path: String, force: Bool = false) throws(QwenSFTError) {
        try load(path, force: force) { (check) throws(QwenSFTError) in
            try trainer.loadState(from: path, check: check)
        }
    }

    /// - Parameter load: takes over the file's content after the check has been passed.
    func load(
        _ path: String, force: Bool,
        _ load: ((JSONFields) throws(QwenSFTError) -> Void) throws(QwenSFTError) -> Void
    ) throws(QwenSFTError) {
        var restored: (step: Int, refused: Int, inARow: Int, rate: Double, history: RunHistory)?
        var warnings: [String] = []
        try load { (notes: JSONFields) throws(QwenSFTError) in
            let name = fileName(path)
            let saved = try Self.object("run.settings", of: notes)
            let differences = try Self.differences(saved, settings)
            if !differences.isEmpty {
                let text = "\(name): was saved by another run: " + differences.joined(separator: ", ")
                guard force else { throw QwenSFTError(.invalidArgument, text) }
                warnings.append(text)
            }
            if let machine = try notes.string("run.machine"), machine != self.machine {
                warnings.append(
                    "\(name): was saved on \(printable(machine)), and this is \(self.machine): the run goes on with another rounding"
                )
            }
            func number<T: LosslessStringConvertible>(_ key: String) throws(QwenSFTError) -> T {
                guard let value = T(try notes.string(key) ?? "") else { throw notes.wrong(key, "must be a number") }
                return value
            }
            let counts: [Int] = [
                try number("run.step"), try number("run.refused"), try number("run.refused_in_a_row"),
            ]
            for count in counts where !(0...1 << 53).contains(count) {
                throw notes.wrong("run.step", "must be a count")
            }
            var rate: Double = try number("run.rate")
            guard rate >= 0, Float(rate).isFinite else { throw notes.wrong("run.rate", "must be at least 0") }
            // A rate that was asked for holds, where it is another.
            if try saved.string("lr") != settings["lr"]?.string { rate = initialRate }
            restored = (
                counts[0], counts[1], counts[2], rate, try RunHistory(try Self.object("run.history", of: notes))
            )
        }
        guard let restored else { return }
        (stepCount, refusedSteps, refusedInARow, fullRate, history) = restored
        for warning in warnings { warn(warning) }
    }

    /// Tells it the process's handler, and notes it.
    func warn(_ text: String) {
        history.warnings.append(.init(step: stepCount, text: text))
        Warnings.send(text)
    }

    /// What stands in a state's metadata beside the trainer's notes.
    var notes: JSONObject {
        var notes = JSONObject()
        func text(_ object: JSONValue) -> JSONValue { .string(String(decoding: object.serialized(), as: UTF8.self)) }
        notes["run.settings"] = text(.object(settings))
        notes["run.machine"] = .string(machine)
        notes["run.step"] = .string("\(stepCount)")
        notes["run.refused"] = .string("\(refusedSteps)")
        notes["run.refused_in_a_row"] = .string("\(refusedInARow)")
        notes["run.rate"] = .string("\(fullRate)")
        notes["run.history"] = text(history.document)
        return notes
    }

    /// What the results of equal runs may differ by in rounding.
    private var machine: String { "\(Threads.count) threads with \(InstructionSet.current.rawValue)" }

    /// What the steps to come depend on, beside weights and the optimizer's memory.
    var settings: JSONObject {
        var settings = JSONObject()
        func set(_ name: String, _ value: Any) { settings[name] = .string("\(value)") }
        let report = data.report
        set(
            "data",
            "\(data.count) conversations of \(report.tokens) tokens, \(report.targets) of them supervised, fingerprint \(String(data.fingerprint, radix: 16))"
        )
        set("batch_size", options.batchSize)
        set("accumulation", options.accumulation)
        if let tokens = options.tokensPerStep { set("tokens_per_step", tokens) }
        set("max_batch_tokens", options.maxBatchTokens.map { "\($0)" } ?? "none")
        set("order", options.shuffles ? "shuffled with seed \(options.seed)" : "that of the data")
        let schedule = options.schedule
        set("schedule", schedule.shape.rawValue)
        set("warmup_steps", schedule.warmup(of: totalSteps))
        if schedule.dependsOnLength { set("steps", totalSteps) }
        switch trainer.optimizer {
        case .sgd(let sgd):
            set(
                "optimizer",
                "SGD with momentum \(sgd.momentum), dampening \(sgd.dampening), weight_decay \(sgd.weightDecay)"
                    + (sgd.nesterov ? ", nesterov" : ""))
        case .adamW(let adamW):
            set(
                "optimizer",
                "AdamW with betas \(adamW.beta1) and \(adamW.beta2), eps \(adamW.epsilon), weight_decay \(adamW.weightDecay)"
            )
        }
        set("lr", initialRate)
        set("max_grad_norm", trainer.options.maxGradientNorm.map { "\($0)" } ?? "none")
        if trainer.options.loraPlusRatio != 1 { set("loraplus_lr_ratio", trainer.options.loraPlusRatio) }
        if let ranks = trainer.collective, ranks.localSteps > 1 {
            set("local_steps", ranks.localSteps)
            if let outer = ranks.outer { set("outer", "lr \(outer.learningRate), momentum \(outer.momentum)") }
        }
        set("decays_vectors", trainer.options.decaysVectors)
        set("rounds_stochastically", trainer.options.roundsStochastically)
        set("weights", trainer.model.quantization?.rawValue ?? trainer.model.dtype.rawValue)
        set("trained", trainer.trainedNote)
        if let base { set("base", base) }
        return settings
    }

    private static func object(_ key: String, of notes: JSONFields) throws(QwenSFTError) -> JSONFields {
        guard let text = try notes.string(key) else { throw notes.missing(key) }
        let contents = try FileContents(Array(text.utf8), path: notes.file)
        let value = try contents.withBytes { (bytes) throws(QwenSFTError) in
            try JSONValue(parsing: bytes, file: "\(notes.file) (\(key))")
        }
        return try JSONFields(value, file: "\(notes.file) (\(key))")
    }

    /// "batch_size was 4 and is 3" for each that is not the same.
    private static func differences(_ saved: JSONFields, _ mine: JSONObject) throws(QwenSFTError) -> [String] {
        var result: [String] = []
        for (name, value) in mine.members {
            let was = try saved.string(name) ?? "not there"
            let now = value.string ?? ""
            if was != now { result.append("\(name) was \(printable(was, limit: 200)) and is \(now)") }
        }
        for (name, _) in saved.object.members where mine[name] == nil {
            result.append("\(name) was \(printable(try saved.string(name) ?? "")) and is not there")
        }
        return result
    }
}

extension Trainer {
    /// Of the weights that a checkpoint of the run does not hold: those below the adapter, or the frozen ones; nil where there are
    /// none.
    var untrainedIdentity: String? {
        guard adapter == nil else { return model.baseIdentity }
        let frozen = model.parameters.filter { !model.isTrainable[$0.index] }
        return frozen.isEmpty ? nil : model.identity(of: frozen)
    }

    /// What is trained, in words that are equal for equal parameters.
    fileprivate var trainedNote: String {
        let trained = trained
        if let adapter {
            let c = adapter.configuration
            let tokens = [(" of the embedding", c.trainableTokens), (" of the output", c.trainableOutputTokens)]
            return "adapter '\(adapter.name)' of r \(c.rank), alpha \(c.alpha), dropout \(c.dropout), "
                + "\(trained.parameters.count) matrices"
                + tokens.map { $1.isEmpty ? "" : ", rows \($1)\($0)" }.joined()
        }
        let frozen = trained.parameters.filter { !trained.isTrainable[$0.index] }.map(\.name)
        guard let first = frozen.first else { return "all parameters" }
        return "all parameters but \(frozen.count): \(first)"
            + (frozen.count > 1 ? " … \(frozen[frozen.count - 1])" : "")
    }
}
