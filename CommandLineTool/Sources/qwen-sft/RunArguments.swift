import ArgumentParser
import QwenSFTCore

/// How a run goes through its data.
struct RunArguments: ParsableArguments {
    @Option(help: ArgumentHelp("How often every conversation is seen; 0.5 is half of them.", valueName: "n"))
    var epochs = 1.0

    @Option(help: ArgumentHelp("Steps of the run, whatever --epochs says.", valueName: "n"))
    var maxSteps: Int?

    @Option(help: ArgumentHelp("Conversations that are computed together.", valueName: "n"))
    var batchSize = 8

    @Option(help: ArgumentHelp("Batches that make up one step.", valueName: "n"))
    var accumulation = 1

    @Option(
        help: ArgumentHelp(
            "Make steps of conversations with about n tokens together, whatever --batch-size says.", valueName: "n"))
    var tokensPerStep: Int?

    @Option(
        help: ArgumentHelp(
            "Compute batches of more tokens in smaller parts; only memory and rounding change.", valueName: "n"))
    var maxBatchTokens = 4096

    @Flag(help: "Take the conversations in the order of the file.")
    var noShuffle = false

    @Option(help: ArgumentHelp("Seed of the order, and of stochastic rounding.", valueName: "n"))
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("How the rate goes over the run: constant, linear or cosine.", valueName: "shape"))
    var schedule: LearningRateSchedule.Shape = .constant

    @Option(help: ArgumentHelp("Steps over which the rate rises from 0 at the beginning.", valueName: "n"))
    var warmupSteps = 0

    @Option(help: ArgumentHelp("The same as a share of all steps, rounded up.", valueName: "share"))
    var warmupRatio = 0.0

    @Option(
        help: ArgumentHelp(
            "Steps refused one after another, for a loss that is not finite, that end the run.", valueName: "n"))
    var maxRefusedSteps = TrainingRunOptions().maxRefusedSteps

    var options: TrainingRunOptions {
        var options = TrainingRunOptions()
        options.epochs = epochs
        options.maxSteps = maxSteps
        options.batchSize = batchSize
        options.accumulation = accumulation
        options.tokensPerStep = tokensPerStep
        options.maxBatchTokens = maxBatchTokens
        options.schedule = LearningRateSchedule(schedule, warmupSteps: warmupSteps, warmupRatio: warmupRatio)
        options.shuffles = !noShuffle
        options.seed = seed
        options.maxRefusedSteps = maxRefusedSteps
        return options
    }
}

/// What the loss is measured on.
struct ValidationArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Conversations to measure the loss on, before, after each epoch and after; the weights with the lowest loss are the result.",
            valueName: "DATA"),
        completion: .file())
    var validation: String?

    @Option(
        help: ArgumentHelp(
            "Hold this share of DATA back for that; 0: none. (default: one in twenty of \(EncodedDataset.leastToHoldOut) conversations and more, at most 500)",
            valueName: "share"))
    var validationShare: Double?

    func validate() throws {
        guard let validationShare else { return }
        if validation != nil { throw ValidationError("--validation and --validation-share exclude each other") }
        guard (0..<1).contains(validationShare) else {
            throw ValidationError("--validation-share must be at least 0 and less than 1, not \(validationShare)")
        }
    }

    /// The conversations to learn from and those to measure the loss on, if there are any.
    func divide(
        _ all: EncodedDataset, seed: UInt64, read: (String) throws -> EncodedDataset
    ) throws -> (training: EncodedDataset, validation: EncodedDataset?) {
        if let validation { return (all, try read(validation)) }
        var halves: (training: EncodedDataset, validation: EncodedDataset?) = (all, nil)
        if let validationShare {
            if validationShare > 0 { halves = try all.split(share: validationShare, seed: seed) }
        } else {
            halves = try all.holdOut(seed: seed)
        }
        if let validation = halves.validation {
            Terminal.note("  held back to measure the loss on: \(Format.count(validation.conversationCount)) of them")
        }
        return halves
    }
}

/// How a run is judged while it goes, and when it ends.
struct JudgingArguments: ParsableArguments {
    @Option(help: ArgumentHelp("Evaluate every n steps instead of after each epoch.", valueName: "n"))
    var evaluateEvery: Int?

    @Option(help: ArgumentHelp("End after n evaluations that are no better than the best.", valueName: "n"))
    var patience: Int?

    @Flag(help: "Write the last weights rather than the best.")
    var writeLast = false

    @Option(
        help: ArgumentHelp(
            "Ask the model this before, at each evaluation and after. May be repeated.", valueName: "text"))
    var prompt: [String] = []

    @Option(help: ArgumentHelp("Longest answer to --prompt, in tokens.", valueName: "n"))
    var answerTokens = FineTuningOptions().maxAnswerTokens

    @Flag(help: "Do not measure the loss on a few general questions before and after.")
    var noGeneralQuestions = false

    @Option(
        help: ArgumentHelp("Begin no step after so many seconds; what is there by then is the result.", valueName: "s"))
    var maxSeconds: Double?
}
