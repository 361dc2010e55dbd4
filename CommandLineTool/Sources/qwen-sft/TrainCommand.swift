import ArgumentParser
import Foundation
import QwenSFTCore

struct TrainCommand: ToolCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Fine-tune a model on conversations.",
        discussion: """
            Ctrl-C and whatever else ends a run early (an error, a signal, a full disk) save what --resume needs to go on, in \
            OUTPUT.partial; --save-every does so along the way. With the same data and options, a run that was stopped and \
            resumed ends with the same bits as one that was not.
            """)

    @OptionGroup var checkpoint: CheckpointArguments

    @Argument(help: ArgumentHelp("Conversations, JSON Lines or a JSON array.", valueName: "DATA"), completion: .file())
    var path: String

    @Option(
        name: .shortAndLong, help: ArgumentHelp("Where the fine-tuned checkpoint goes.", valueName: "OUTPUT"),
        completion: .directory)
    var output: String

    @OptionGroup var overwriting: OverwriteArguments

    @OptionGroup var trained: TrainedArguments

    @OptionGroup(title: "Data") var data: DataArguments

    @OptionGroup(title: "Run") var runArguments: RunArguments
    @OptionGroup(title: "Judging") var validation: ValidationArguments
    @OptionGroup(title: "Judging") var judging: JudgingArguments

    @Option(
        help: ArgumentHelp(
            "Leave parameters as they are whose names match; * is any text. May be repeated.", valueName: "pattern"))
    var freeze: [String] = []

    @Option(
        help: ArgumentHelp(
            "How weights are written: float32, bfloat16 or float16. (default: as DIR has them)", valueName: "dtype"))
    var saveDtype: DType?

    @Option(help: ArgumentHelp("Save what --resume needs every n steps.", valueName: "n"))
    var saveEvery: Int?

    @Option(help: ArgumentHelp("Keep the last n of what was saved.", valueName: "n"))
    var keepLast = FineTuningOptions().keepLast

    @Flag(help: "Go on where OUTPUT.partial stopped.")
    var resume = false

    @Flag(help: "Go on although data or options are others than those of the run that was stopped.")
    var force = false

    @Flag(help: "Start although there seems to be too little memory.")
    var ignoreMemory = false

    @Option(help: ArgumentHelp("Leave the processor to others: 0 to 19, as nice has it.", valueName: "n"))
    var nice: Int32?

    @Option(help: ArgumentHelp("Draw the losses.", valueName: "FILE.svg"), completion: .file())
    var curve: String?

    @Option(
        help: ArgumentHelp("A page about the run: curves, data, answers, settings.", valueName: "FILE.html"),
        completion: .file())
    var report: String?

    @Option(
        help: ArgumentHelp(
            "Write the numbers as they come: metrics.jsonl, and a file that TensorBoard shows.", valueName: "dir"),
        completion: .directory)
    var logDir: String?

    @Option(
        help: ArgumentHelp(
            "Where standard error is no terminal, a line every n steps. (default: 50 lines in all)", valueName: "n"))
    var logEvery: Int?

    func validate() throws {
        for (name, value) in [("--save-every", saveEvery), ("--log-every", logEvery)] {
            if let value, value < 1 { throw ValidationError("\(name) must be above 0, not \(value)") }
        }
        try trained.check(checkpoint)
        if trained.isAdapter, saveDtype != nil {
            throw ValidationError("--save-dtype is for weights; adapters are float32")
        }
        if force, !resume { throw ValidationError("--force is for --resume") }
        if let nice, !(0...19).contains(nice) { throw ValidationError("--nice must be from 0 to 19, not \(nice)") }
    }

    func execute() throws {
        Interrupt.ignoreClosedPipes()
        if let nice { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, nice) }
        // Everything that can be wrong is found before the first step.
        try overwriting.check(output, base: checkpoint.directory)
        let setup = try trained.setup(checkpoint, seed: runArguments.seed)
        try setup.optimizer.validate()
        try setup.adapter?.validate()
        try tuningOptions.validate()
        let partial = RunCheckpoints(of: output)
        let stopped = try stoppedRun(partial)
        let tokenizer = try checkpoint.openTokenizer()
        let (training, validation) = try validation.divide(
            data.read(path, tokenizer, checkpoint), seed: runArguments.seed
        ) { try data.read($0, tokenizer, checkpoint) }
        for path in [curve, report].compactMap({ $0 }) { try checkWritable(path) }

        try plan(setup, training)
        let model = try Model(
            directory: checkpoint.directory, dtype: setup.dtype, quantization: setup.quantization)
        if let adapter = setup.adapter { try model.addAdapter(adapter) }
        for pattern in freeze { try model.setTrainable(false, matching: pattern) }

        let trainer = try Trainer(model, optimizer: setup.optimizer, options: setup.options)
        try writing(output) { try trainer.checkDestination(output, dtype: saveDtype) }
        let tuning = try FineTuning(
            trainer, training, validation: validation, tokenizer: tokenizer, options: tuningOptions,
            checkpoints: partial, stopped: stopped)

        let progress = TrainingProgress(tuning, logEvery: logEvery)
        progress.begin()
        Interrupt.catchAllSignals()
        let rescue = Rescue(tuning: tuning, output: output)
        do {
            while let event = try tuning.next(onProgress: { _, _ in !Interrupt.isPending }) { progress.show(event) }
        } catch {
            progress.end()
            let isCancelled = error.code == .cancelled && Interrupt.take()
            rescue.save()
            try? describe(tuning)
            guard isCancelled else { throw error }
            Terminal.note("Stopped after step \(tuning.run.stepCount) of \(tuning.run.totalSteps).")
            throw ExitCode(Interrupt.exitCode)
        }
        progress.end()
        do {
            // Somebody else may have put something there since.
            try overwriting.check(output, base: checkpoint.directory)
            try writing(output) { try tuning.save(to: output, dtype: saveDtype) }
        } catch {
            rescue.save()
            throw error
        }
        try describe(tuning)
        Terminal.put("\(output)\n")
        let chat = trained.isAdapter ? "\(checkpoint.directory) --adapter \(output)" : output
        if Terminal.errorIsTerminal { Terminal.note("Try it: qwen-sft chat \(chat)") }
    }

    /// Draws the curve and writes the report, as far as the run has come.
    private func describe(_ tuning: FineTuning) throws {
        if let curve { try writing(curve) { try write(tuning.run.curve, to: curve) } }
        if let report { try writing(report) { try RunReport(tuning).write(to: report, title: title) } }
    }

    /// Whether a file can be written there; one that is there stays as it is.
    private func checkWritable(_ path: String) throws {
        let isThere = access(path, F_OK) == 0
        guard let file = fopen(path, "a") else {
            throw Failure(
                .cannotCreate, "cannot write \(path): \(String(cString: strerror(errno)))",
                advice: "choose another place, or make this one writable")
        }
        fclose(file)
        if !isThere { unlink(path) }
    }

    /// Says what the run will take, and refuses what there is no memory for.
    private func plan(_ setup: TrainingSetup, _ data: EncodedDataset) throws {
        let plan = try TrainingPlan(
            Configuration(directory: checkpoint.directory), setup, data, run: runArguments.options)
        for (name, text) in plan.rows { Terminal.note("  \(name): \(text)") }
        // What is frozen takes less than the plan says.
        guard freeze.isEmpty, !plan.fits, !ignoreMemory, let available = plan.availableMemory else { return }
        throw Failure(
            .noMemory,
            "the run takes about \(Format.bytes(plan.memory.total)) of memory, and \(Format.bytes(available)) are available",
            advice: (trained.isAdapter ? "--quantization int8" : "--lora, --dtype bfloat16, --optimizer adamw8bit")
                + ", --recomputation and a smaller --max-batch-tokens take less; --ignore-memory starts all the same")
    }

    /// What becomes of a run that was stopped: nothing that nobody has asked for.
    private func stoppedRun(_ partial: RunCheckpoints) throws -> FineTuning.Resumption {
        let last = partial.saved.last
        if resume {
            if last == nil {
                throw Failure(
                    .noInput, "\(partial.directory): holds nothing to resume", advice: "start without --resume")
            }
            return .resume(force: force)
        }
        guard let last, !overwriting.overwrite else { return .overwrite }
        throw Failure(
            .cannotCreate, "\(partial.directory) holds a run that was stopped after step \(last.step)",
            advice: "--resume goes on with it, --overwrite removes it")
    }

    /// Of the report.
    private var title: String {
        "\(URL(fileURLWithPath: checkpoint.directory).lastPathComponent), fine-tuned on \(URL(fileURLWithPath: path).lastPathComponent)"
    }

    private func write(_ curve: LossCurve, to path: String) throws {
        do { try Data(curve.svg(title: "Loss of \(output)").utf8).write(to: URL(fileURLWithPath: path)) } catch {
            throw Failure(
                .cannotCreate, "cannot write \(path)", advice: "choose another place, or make this one writable")
        }
    }

    private var tuningOptions: FineTuningOptions {
        var options = FineTuningOptions()
        options.run = runArguments.options
        options.evaluateEvery = judging.evaluateEvery
        options.patience = judging.patience
        options.writesLast = judging.writeLast
        options.prompts = judging.prompt
        options.maxAnswerTokens = judging.answerTokens
        options.probesForgetting = !judging.noGeneralQuestions
        options.maxSeconds = judging.maxSeconds
        options.saveEvery = saveEvery
        options.keepLast = keepLast
        options.command = CommandLineText.whole
        options.logDirectory = logDir
        return options
    }
}
