import ArgumentParser
import QwenSFTCore

/// What is trained, the weights or an adapter, and how.
struct TrainedArguments: ParsableArguments {
    enum OptimizerName: String, CaseIterable, ExpressibleByArgument { case sgd, adamw, adamw8bit }

    @OptionGroup(title: "Adapter") var lora: LoRAArguments
    @OptionGroup(title: "Adapter") var quantization: QuantizationArguments

    @Option(help: ArgumentHelp("sgd, adamw, or adamw8bit with a quarter of its memory.", valueName: "name"))
    var optimizer: OptimizerName = .adamw

    @Option(
        help: ArgumentHelp(
            "Learning rate. (default: 1e-5 for adamw, 2e-4 with --lora, 1e-3 for sgd)", valueName: "rate"))
    var lr: Double?

    @Option(help: ArgumentHelp("Momentum of sgd.", valueName: "m"))
    var momentum = 0.0

    @Option(help: ArgumentHelp("Weight decay of matrices. (default: 0.01 for adamw, 0 for sgd)", valueName: "d"))
    var weightDecay: Double?

    @Option(help: ArgumentHelp("Scale gradients down to this norm; 0: do not. (default: 1)", valueName: "norm"))
    var maxGradNorm: Double?

    @Flag(help: "Keep less between forward and backward, and compute it twice: slower, and smaller.")
    var recomputation = false

    var isAdapter: Bool { lora.lora }

    func check(_ checkpoint: CheckpointArguments) throws {
        try quantization.check(checkpoint)
        if quantization.form != nil, !isAdapter {
            throw ValidationError("--quantization needs --lora: weights in fewer bits cannot be trained themselves")
        }
        if let ratio = lora.loraplusLrRatio, !(ratio > 0 && ratio.isFinite) {
            throw ValidationError("--loraplus-lr-ratio must be above 0 and finite, not \(ratio)")
        }
        if momentum != 0, optimizer != .sgd { throw ValidationError("--momentum is for --optimizer sgd") }
        if let maxGradNorm, !(maxGradNorm >= 0) {
            throw ValidationError("--max-grad-norm must be at least 0, not \(maxGradNorm)")
        }
    }

    func setup(_ checkpoint: CheckpointArguments, seed: UInt64) throws -> TrainingSetup {
        var setup = TrainingSetup()
        setup.dtype = try checkpoint.memoryDType()
        setup.quantization = quantization.form
        setup.adapter = try lora.configuration(checkpoint, seed: seed)
        setup.optimizer = chosenOptimizer
        setup.options = FineTuning.trainerOptions
        if let maxGradNorm { setup.options.maxGradientNorm = maxGradNorm > 0 ? maxGradNorm : nil }
        if let ratio = lora.loraplusLrRatio { setup.options.loraPlusRatio = ratio }
        setup.options.recomputation = recomputation
        setup.options.seed = seed
        return setup
    }

    private var chosenOptimizer: QwenSFTCore.Optimizer {
        switch optimizer {
        case .sgd:
            var sgd = FineTuning.sgd
            sgd.momentum = momentum
            if let lr { sgd.learningRate = lr }
            if let weightDecay { sgd.weightDecay = weightDecay }
            return .sgd(sgd)
        case .adamw, .adamw8bit:
            var adamW = FineTuning.adamW(trainsAdapter: isAdapter)
            if optimizer == .adamw8bit { adamW.stateBits = 8 }
            if let lr { adamW.learningRate = lr }
            if let weightDecay { adamW.weightDecay = weightDecay }
            return .adamW(adamW)
        }
    }
}

extension TrainingPlan {
    /// Names and texts, for people.
    var rows: [(name: String, text: String)] {
        let available = availableMemory.map { "; \(Format.bytes($0)) available" } ?? ""
        return [
            ("steps", "\(Format.count(steps)), \(Format.epochs(ofSteps: steps, stepsPerEpoch: stepsPerEpoch))"),
            ("memory", memory.text + " for \(Format.count(longestBatch)) tokens at once" + available),
            ("to compute", String(format: "%.3g TFLOP", operations / 1e12)),
        ]
    }
}

extension TrainingMemory {
    /// The whole and its parts, for people.
    var text: String {
        var parts = ["weights \(Format.bytes(weights))"]
        if gradients > 0 { parts.append("gradients \(Format.bytes(gradients))") }
        if optimizer > 0 { parts.append("optimizer \(Format.bytes(optimizer))") }
        parts.append("activations \(Format.bytes(activations))")
        return "\(Format.bytes(total))  (\(parts.joined(separator: ", ")))"
    }
}
