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

    enum OptimizerName: String, CaseIterable, ExpressibleByArgument { case sgd, adamw }

    @OptionGroup var checkpoint: CheckpointArguments

    @Argument(help: ArgumentHelp("Conversations, JSON Lines.", valueName: "DATA"), completion: .file())
    var path: String

    @Option(
        name: .shortAndLong, help: ArgumentHelp("Where the fine-tuned checkpoint goes.", valueName: "OUTPUT"),
        completion: .directory)
    var output: String

    @OptionGroup var overwriting: OverwriteArguments

    @OptionGroup(title: "Adapter") var lora: LoRAArguments
    @OptionGroup(title: "Adapter") var quantization: QuantizationArguments

    @OptionGroup(title: "Data") var data: DataArguments

    @Option(
        help: ArgumentHelp(
            "Conversations to measure the loss on, before, after each epoch and after.", valueName: "DATA"),
        completion: .file())
    var evaluation: String?

    @Option(help: ArgumentHelp("How often every conversation is seen.", valueName: "n"))
    var epochs = 1

    @Option(help: ArgumentHelp("Conversations that are computed together.", valueName: "n"))
    var batchSize = 8

    @Option(help: ArgumentHelp("Batches that make up one step.", valueName: "n"))
    var accumulation = 1

    @Option(
        help: ArgumentHelp(
            "Compute batches of more tokens in smaller parts; only memory and rounding change.", valueName: "n"))
    var maxBatchTokens = 4096

    @Flag(help: "Take the conversations in the order of the file.")
    var noShuffle = false

    @Option(help: ArgumentHelp("Seed of the order, and of stochastic rounding.", valueName: "n"))
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("sgd or adamw.", valueName: "name"))
    var optimizer: OptimizerName = .adamw

    @Option(
        help: ArgumentHelp(
            "Learning rate. (default: 1e-5 for adamw, 2e-4 with --lora, 1e-3 for sgd)", valueName: "rate"))
    var lr: Double?

    @Option(help: ArgumentHelp("How the rate goes over the run: constant, linear or cosine.", valueName: "shape"))
    var schedule: LearningRateSchedule.Shape = .constant

    @Option(help: ArgumentHelp("Steps over which the rate rises at the beginning.", valueName: "n"))
    var warmupSteps = 0

    @Option(help: ArgumentHelp("Momentum of sgd.", valueName: "m"))
    var momentum = 0.0

    @Option(help: ArgumentHelp("Weight decay of matrices. (default: 0.01 for adamw, 0 for sgd)", valueName: "d"))
    var weightDecay: Double?

    @Option(help: ArgumentHelp("Scale gradients down to this norm; 0: do not.", valueName: "norm"))
    var maxGradNorm = 1.0

    @Option(
        help: ArgumentHelp(
            "Leave parameters as they are whose names match; * is any text. May be repeated.", valueName: "pattern"))
    var freeze: [String] = []

    @Flag(help: "Keep less between forward and backward, and compute it twice: slower, and smaller.")
    var recomputation = false

    @Option(
        help: ArgumentHelp(
            "How weights are written: float32, bfloat16 or float16. (default: as DIR has them)", valueName: "dtype"))
    var saveDtype: DType?

    @Option(help: ArgumentHelp("Save what --resume needs every n steps.", valueName: "n"))
    var saveEvery: Int?

    @Flag(help: "Go on where OUTPUT.partial stopped.")
    var resume = false

    @Option(help: ArgumentHelp("Draw the losses.", valueName: "FILE.svg"), completion: .file())
    var curve: String?

    @Option(
        help: ArgumentHelp(
            "Where standard error is no terminal, a line every n steps. (default: 50 lines in all)", valueName: "n"))
    var logEvery: Int?

    func validate() throws {
        for (name, value) in [("--save-every", saveEvery), ("--log-every", logEvery)] {
            if let value, value < 1 { throw ValidationError("\(name) must be above 0, not \(value)") }
        }
        try quantization.check(checkpoint)
        if quantization.quantization != .none, !lora.lora {
            throw ValidationError("--quantization needs --lora: weights in fewer bits cannot be trained themselves")
        }
        if lora.lora, saveDtype != nil { throw ValidationError("--save-dtype is for weights; adapters are float32") }
        if momentum != 0, optimizer == .adamw { throw ValidationError("--momentum is for --optimizer sgd") }
        guard maxGradNorm >= 0 else { throw ValidationError("--max-grad-norm must be at least 0, not \(maxGradNorm)") }
    }

    func execute() throws {
        Interrupt.ignoreClosedPipes()
        // Everything that can be wrong is found before the first step.
        try overwriting.check(output, base: checkpoint.directory)
        let tokenizer = try checkpoint.openTokenizer()
        let training = try read(path, tokenizer)
        let evaluation = try self.evaluation.map { try read($0, tokenizer) }
        if let curve { try writing(curve) { try write(LossCurve(), to: curve) } }

        let partial = PartialRun(output: output)
        let stopped = partial.latest()
        if resume, stopped == nil {
            throw Failure(.noInput, "\(partial.directory): holds nothing to resume", advice: "start without --resume")
        }
        if !resume, stopped != nil {
            Terminal.note(
                "warning: \(partial.directory) holds a run that was stopped; it is overwritten (--resume goes on with it)"
            )
        }
        let source = (resume ? stopped?.checkpoint : nil) ?? checkpoint.directory
        let model: Model
        var saveDtype = saveDtype
        if let adapter = lora.configuration(seed: seed) {
            model = try checkpoint.openModel(quantization.quantization.quantization)
            if resume { try model.loadAdapter(source) } else { try model.addAdapter(adapter) }
        } else {
            model = try Model(directory: source, dtype: checkpoint.dtype ?? .float32)
            if resume, saveDtype == nil { saveDtype = try Configuration(directory: checkpoint.directory).dtype }
            try writing(output) { try model.checkDestination(output, dtype: saveDtype) }
        }
        for pattern in freeze { try model.setTrainable(false, matching: pattern) }

        let trainer = try Trainer(model, optimizer: chosenOptimizer, options: trainerOptions)
        let run = try TrainingRun(trainer, training, options: runOptions)
        if let evaluation { try run.check(evaluation) }
        if resume, let stopped { try run.loadState(from: stopped.state) }

        let progress = TrainingProgress(run, logEvery: logEvery)
        progress.begin()
        Interrupt.catchAllSignals()
        let rescue = Rescue(run: run, output: output, partial: partial)
        let savedStep = resume ? run.stepCount : nil
        do { try train(run, evaluation, progress, partial) } catch {
            progress.end()
            let isCancelled = (error as? QwenSFTError)?.code == .cancelled && Interrupt.take()
            if run.stepCount != savedStep { rescue.save() }
            guard isCancelled else { throw error }
            Terminal.note("Stopped after step \(run.stepCount) of \(run.totalSteps).")
            throw ExitCode(Interrupt.exitCode)
        }
        progress.end()
        do {
            // Somebody else may have put something there since.
            try overwriting.check(output, base: checkpoint.directory)
            try writing(output) { try trainer.save(to: output, dtype: saveDtype) }
        } catch {
            rescue.save()
            throw error
        }
        partial.remove()
        if let curve { try writing(curve) { try write(run.curve, to: curve) } }
        Terminal.put("\(output)\n")
        let chat = lora.lora ? "\(checkpoint.directory) --adapter \(output)" : output
        if Terminal.errorIsTerminal { Terminal.note("Try it: qwen-sft chat \(chat)") }
    }

    private func train(
        _ run: TrainingRun, _ evaluation: EncodedDataset?, _ progress: TrainingProgress, _ partial: PartialRun
    ) throws {
        func evaluate() throws {
            guard let evaluation else { return }
            progress.show(evaluation: try run.evaluate(evaluation, onProgress: { _, _ in !Interrupt.isPending }))
        }
        if run.stepCount == 0 { try evaluate() }
        while let step = try run.next(onProgress: { _, _ in !Interrupt.isPending }) {
            progress.show(step)
            if run.stepCount % run.stepsPerEpoch == 0 { try evaluate() }
            guard let saveEvery, run.stepCount % saveEvery == 0, run.stepCount < run.totalSteps else { continue }
            // An older one is still there, and room may be found until the end.
            do { try partial.save(run) } catch {
                progress.show(warning: "step \(run.stepCount) cannot be saved: \(error)")
            }
        }
    }

    private func read(_ path: String, _ tokenizer: Tokenizer) throws -> EncodedDataset {
        let dataset = try data.read(path)
        let encoded = try data.encode(dataset, tokenizer, checkpoint)
        for line in data.report(dataset, encoded) { Terminal.note(line) }
        return encoded
    }

    private func write(_ curve: LossCurve, to path: String) throws {
        do { try Data(curve.svg(title: "Loss of \(output)").utf8).write(to: URL(fileURLWithPath: path)) } catch {
            throw Failure(
                .cannotCreate, "cannot write \(path)", advice: "choose another place, or make this one writable")
        }
    }

    private var chosenOptimizer: QwenSFTCore.Optimizer {
        switch optimizer {
        case .sgd: .sgd(SGD(learningRate: lr ?? 1e-3, momentum: momentum, weightDecay: weightDecay ?? 0))
        case .adamw: .adamW(AdamW(learningRate: lr ?? (lora.lora ? 2e-4 : 1e-5), weightDecay: weightDecay ?? 1e-2))
        }
    }

    private var trainerOptions: TrainerOptions {
        var options = TrainerOptions()
        options.maxGradientNorm = maxGradNorm > 0 ? maxGradNorm : nil
        options.recomputation = recomputation
        options.decaysVectors = false
        options.seed = seed
        return options
    }

    private var runOptions: TrainingRunOptions {
        var options = TrainingRunOptions()
        options.epochs = epochs
        options.batchSize = batchSize
        options.accumulation = accumulation
        options.maxBatchTokens = maxBatchTokens
        options.schedule = LearningRateSchedule(schedule, warmupSteps: warmupSteps)
        options.shuffles = !noShuffle
        options.seed = seed
        return options
    }
}
