import Foundation
import Testing

@testable import QwenSFTCore

/// Runs watched over, with the embedded checkpoint.
@Suite(.serialized, .processWide) struct FineTuningTests {
    private static let checkpoint = fixtures.deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Examples/tiny-qwen2").path

    /// Sums that are wrong by `error`.
    private static func data(_ range: Range<Int>, error: Int = 1) throws -> EncodedDataset {
        let conversations = range.map { i in
            let (a, b) = (i % 5, i / 5 % 5)
            return [
                Message(role: "user", content: "\(a)+\(b)等于几"),
                Message(role: "assistant", content: "\(a)+\(b)等于\(a + b + error)。"),
            ]
        }
        return try EncodedDataset(
            Dataset(conversations), tokenizer: Tokenizer(directory: checkpoint),
            options: PreprocessOptions(labelPolicy: .assistant))
    }

    private enum Kind {
        case full, bfloat16, adapter, tokens

        var isAdapter: Bool { self == .adapter || self == .tokens }
    }

    private static func tuning(
        _ kind: Kind = .full, _ data: EncodedDataset? = nil, base: String = checkpoint,
        validation: EncodedDataset? = nil, rate: Double = 1e-3,
        checkpoints: RunCheckpoints? = nil, stopped: FineTuning.Resumption = .refuse,
        change: (inout FineTuningOptions) -> Void = { _ in }
    ) throws -> FineTuning {
        var options = FineTuningOptions()
        options.run.batchSize = 4
        options.run.epochs = 3
        options.run.schedule = .init(.cosine, warmupRatio: 0.1)
        change(&options)
        let model: Model
        switch kind {
        case .full: model = try Model(directory: base)
        case .bfloat16: model = try Model(directory: base, dtype: .bfloat16)
        case .adapter, .tokens:
            model = try Model(directory: base, quantization: .int8)
            var configuration = LoRAConfiguration()
            configuration.dropout = 0.1
            if kind == .tokens { configuration.trainableTokens = [try Int(Self.data(0..<1).endOfTurnID), 7] }
            try model.addAdapter(configuration)
        }
        let trainer = try Trainer(
            model, optimizer: .adamW(AdamW(learningRate: kind.isAdapter ? 1e-2 : rate)),
            options: FineTuning.trainerOptions)
        return try FineTuning(
            trainer, data ?? Self.data(0..<12), validation: validation,
            tokenizer: Tokenizer(directory: checkpoint), options: options, checkpoints: checkpoints, stopped: stopped)
    }

    @discardableResult
    private static func finish(_ tuning: FineTuning) throws -> [FineTuningEvent] {
        var events: [FineTuningEvent] = []
        while let event = try tuning.next() { events.append(event) }
        return events
    }

    private static func weights(_ tuning: FineTuning) throws -> [[Float]] {
        let trainer = tuning.run.trainer
        return try trainer.adapter == nil
            ? trainer.model.parameters.map { try trainer.model.values(of: $0) }
            : (trainer.adapter?.parameters ?? []).compactMap { trainer.adapter?.values(of: $0) }
    }

    @Test func theRecipe() {
        #expect(FineTuning.adamW(trainsAdapter: false) == AdamW(learningRate: 1e-5, weightDecay: 0.01))
        #expect(FineTuning.adamW(trainsAdapter: true).learningRate == 2e-4)
        #expect(FineTuning.trainerOptions.maxGradientNorm == 1 && !FineTuning.trainerOptions.decaysVectors)
    }

    @Test func eventsComeInOrder() throws {
        let tuning = try Self.tuning(validation: Self.data(12..<16)) {
            $0.run.epochs = 2
            $0.prompts = ["1+2等于几", "hi"]
            $0.probesForgetting = true
        }
        #expect(tuning.secondsLeft == nil)
        let events = try Self.finish(tuning)
        let names = events.map { event in
            switch event {
            case .step(let step): "step \(step.step)"
            case .evaluation(let evaluation): "\(evaluation.kind.rawValue) \(evaluation.step)"
            case .answer(let answer): "answer \(answer.step)"
            case .warning: "warning"
            case .saved: "saved"
            case .ended(let end): "\(end.reason.rawValue) \(end.weightsStep)"
            }
        }
        #expect(
            names == [
                "validation 0", "general 0", "answer 0", "answer 0", "step 1", "step 2", "step 3", "validation 3",
                "answer 3", "answer 3", "step 4", "step 5", "step 6", "validation 6", "answer 6", "answer 6",
                "general 6",
                "completed 6",
            ], "\(names)")
        #expect(tuning.run.history.answers.first?.text == "1+2等于3。")
        #expect(tuning.end?.reason == .completed && tuning.secondsLeft == 0)
        let evaluation = try #require(tuning.run.history.start)
        // Made to end its turns, and asked about sums it gets wrong here: the end is what is certain.
        #expect(try #require(evaluation.endOfTurnProbability) > 0.5)
        #expect(evaluation.worstRows.count == 4)
        #expect(zip(evaluation.worstRows, evaluation.worstRows.dropFirst()).allSatisfy { $0.loss >= $1.loss })
        #expect(try tuning.next() == nil)
        // All of it is the same after JSON.
        let text = Array(tuning.run.history.json.utf8)
        let value = try text.withUnsafeBytes { (bytes) throws in
            try JSONValue(parsing: UnsafeRawBufferPointer(bytes), file: "history")
        }
        #expect(try RunHistory(JSONFields(value, file: "history")) == tuning.run.history)
    }

    /// Eight rows and thirty epochs: what is written is the best, not what was memorized at the end.
    @Test(arguments: [false, true]) func overfittingIsSaidAndTheBestIsTheResult(onDisk: Bool) throws {
        let place = try TestDirectory()
        // The rows to learn are wrong by one, those to judge by right: what is learned from the first helps nobody for long.
        let checkpoints = onDisk ? RunCheckpoints(of: place.path + "/out") : nil
        let tuning = try Self.tuning(
            .full, Self.data(0..<8, error: 1), validation: Self.data(8..<20, error: 0), rate: 3e-4,
            checkpoints: checkpoints
        ) { $0.run.epochs = 30 }
        var bestWeights: [[Float]] = []
        var warnings: [String] = []
        while let event = try tuning.next() {
            if case .evaluation(let evaluation) = event, evaluation.step > 0, tuning.run.history.best == evaluation {
                bestWeights = try Self.weights(tuning)
            }
            if case .warning(let text) = event { warnings.append(text) }
        }
        let best = try #require(tuning.run.history.best)
        let last = try #require(tuning.run.history.evaluations.last)
        #expect(last.step == 60 && last.loss > 1.2 * best.loss && best.step < 60)
        #expect(
            warnings.contains { $0.hasPrefix("over-fitting: since step \(best.step) the training loss has fallen") },
            "\(warnings)")
        #expect(tuning.end?.weightsStep == best.step)
        #expect(try Self.weights(tuning) == bestWeights)
        #expect(try tuning.run.trainer.evaluate(#require(tuning.validation), tuning.run.options).loss == best.loss)
        // What is saved is that, with a card that says so.
        try tuning.save(to: place.path + "/out")
        let saved = try Model(directory: place.path + "/out")
        let card = try String(contentsOfFile: place.path + "/out/README.md", encoding: .utf8)
        #expect(card.contains("The weights are those after step \(best.step) of 60."))
        #expect(card.contains("over-fitting"))
        #expect(card.contains("base_model: \"tiny-qwen2\""))
        #expect(saved.parameters.count == tuning.run.trainer.model.parameters.count)
        #expect(!FileManager.default.fileExists(atPath: place.path + "/out.partial"))
    }

    @Test func theLastWeightsAreTheResultWhereThatIsAskedFor() throws {
        let tuning = try Self.tuning(
            .full, Self.data(0..<8, error: 1), validation: Self.data(8..<20, error: 0), rate: 3e-4
        ) {
            $0.run.epochs = 12
            $0.writesLast = true
        }
        try Self.finish(tuning)
        #expect(tuning.end?.weightsStep == 24)
        #expect(
            tuning.run.history.warnings.contains {
                $0.text.hasSuffix("the last weights will be the result all the same")
            })
    }

    @Test func patienceEndsTheRun() throws {
        let tuning = try Self.tuning(
            .full, Self.data(0..<8, error: 1), validation: Self.data(8..<20, error: 0), rate: 3e-4
        ) {
            $0.run.epochs = 100
            $0.patience = 3
            $0.evaluateEvery = 1
        }
        try Self.finish(tuning)
        let best = try #require(tuning.run.history.best)
        #expect(tuning.end == .init(reason: .patience, weightsStep: best.step))
        #expect(tuning.run.stepCount == best.step + 3)
    }

    @Test func aBudgetOfTimeEndsTheRunWithAResult() throws {
        let tuning = try Self.tuning(validation: Self.data(12..<16)) {
            $0.run.epochs = 1_000_000
            $0.maxSeconds = 0.05
        }
        try Self.finish(tuning)
        #expect(tuning.end?.reason == .budget)
        #expect(tuning.run.history.evaluations.last?.step == tuning.run.stepCount)
        #expect(tuning.run.stepCount > 0)
    }

    @Test func theHostMayEndItAndCancelWithoutHarm() throws {
        let tuning = try Self.tuning { $0.prompts = ["hi"] }
        var seen = 0
        while let event = try tuning.next() {
            guard case .step = event else { continue }
            seen += 1
            let before = try Self.weights(tuning)
            // What is cancelled is done again by the next call.
            for _ in 0..<3 {
                let error = #expect(throws: QwenSFTError.self) { try tuning.next(onProgress: { _, _ in false }) }
                #expect(error?.code == .cancelled)
            }
            #expect(try Self.weights(tuning) == before && tuning.run.stepCount == seen)
            if seen == 2 { tuning.stop() }
        }
        #expect(tuning.end == .init(reason: .stopped, weightsStep: 2))
        #expect(tuning.run.history.answers.map(\.step) == [0, 2])
        #expect(
            tuning.run.history.warnings.map(\.text) == [
                "no validation data: nothing will tell whether more training makes it worse"
            ])
    }

    /// A base model: the rows that end turns are like those that belong to no token.
    @Test func anEndThatWasNeverLearned() throws {
        let tokenizer = try Tokenizer(directory: Self.checkpoint)
        let (end, other) = try (Self.data(0..<1).endOfTurnID, Int32(5))
        let place = try TestDirectory()
        try RandomModel(vocabulary: 768).write(to: place)
        let model = try Model(directory: place.path)
        #expect(model.hasLearned(end, tokens: tokenizer.rowCount), "rows at random say nothing")
        let embedding = try #require(model.parameters.first)
        var values = try model.values(of: embedding)
        let width = embedding.shape[1]
        for row in [Int(end)] + Array(tokenizer.rowCount..<768) {
            for column in 0..<width { values[row * width + column] = 0.5 + 1e-5 * Float((row + column) % 3) }
        }
        try model.setValues(values, of: embedding)
        #expect(
            !model.hasLearned(end, tokens: tokenizer.rowCount) && model.hasLearned(other, tokens: tokenizer.rowCount))
        #expect(model.hasLearned(end, tokens: 768), "no row to compare with")
        let base = place.path + "/base"
        try model.save(to: base)
        func warnings(_ kind: Kind) throws -> [String] {
            let tuning = try Self.tuning(kind, base: base) { $0.run.maxSteps = 1 }
            try Self.finish(tuning)
            return tuning.run.history.warnings.map(\.text).filter { $0.contains("never learned <|im_end|>") }
        }
        #expect(try warnings(.full).isEmpty && warnings(.tokens).isEmpty)
        #expect(
            try warnings(.adapter).count == 1 && warnings(.adapter)[0].contains("trainable_token_indices: [\(end)]"))
    }

    // MARK: Going on

    /// Stopped after each of its steps, by what is on the disk alone.
    @Test(arguments: [Kind.full, .bfloat16, .adapter, .tokens]) private func everyStepCanBeGoneOnFrom(_ kind: Kind)
        throws
    {
        let place = try TestDirectory()
        let validation = try Self.data(12..<16)
        let whole = try Self.tuning(kind, validation: validation)
        let steps = try Self.finish(whole)
        let checkpoints = RunCheckpoints(of: place.path + "/out")
        let first = try Self.tuning(kind, validation: validation, checkpoints: checkpoints)
        var sinceThen = first
        while true {
            var isOver = true
            while let event = try sinceThen.next() {
                guard case .step = event else { continue }
                isOver = false
                break
            }
            if isOver { break }
            try sinceThen.saveCheckpoint()
            sinceThen = try Self.tuning(
                kind, validation: validation, checkpoints: checkpoints, stopped: .resume(force: false))
        }
        #expect(sinceThen.end == whole.end && !steps.isEmpty)
        #expect(try Self.weights(sinceThen) == Self.weights(whole))
        #expect(sinceThen.run.curve == whole.run.curve)
        #expect(
            sinceThen.run.history.steps.map(\.learningRate) == whole.run.history.steps.map(\.learningRate))
    }

    @Test func aStoppedRunIsNotOverwrittenUnasked() throws {
        let place = try TestDirectory()
        let checkpoints = RunCheckpoints(of: place.path + "/out")
        #expect(checkpoints.directory == place.path + "/out.partial")
        let stopped = try Self.tuning(checkpoints: checkpoints)
        while let event = try stopped.next() { if case .step = event { break } }
        try stopped.saveCheckpoint()
        expectError(
            .invalidArgument,
            "\(checkpoints.directory): holds a run that was stopped after step 1; resume it, or have it overwritten"
        ) { try Self.tuning(checkpoints: checkpoints) }
        let error = #expect(throws: QwenSFTError.self) {
            try Self.tuning(checkpoints: checkpoints, stopped: .resume(force: false)) { $0.run.seed = 3 }
        }
        #expect(error?.message.hasPrefix("step-1.safetensors: was saved by another run: order was") == true)
        let (_, warnings) = try catchingWarnings {
            let forced = try Self.tuning(checkpoints: checkpoints, stopped: .resume(force: true)) { $0.run.seed = 3 }
            #expect(forced.run.stepCount == 1)
        }
        #expect(warnings.count == 1)
        #expect(checkpoints.saved.map(\.step) == [1])
        _ = try Self.tuning(checkpoints: checkpoints, stopped: .overwrite)
        #expect(!FileManager.default.fileExists(atPath: checkpoints.directory))
        expectError(.notFound, "\(checkpoints.directory): holds nothing to resume") {
            try Self.tuning(checkpoints: checkpoints, stopped: .resume(force: false))
        }
    }

    /// What a checkpoint does not hold has to be what it was: here the weights below the adapter.
    @Test func anotherBaseIsRefused() throws {
        let place = try TestDirectory()
        let checkpoints = RunCheckpoints(of: place.path + "/out")
        let stopped = try Self.tuning(.adapter, checkpoints: checkpoints)
        while let event = try stopped.next() { if case .step = event { break } }
        try stopped.saveCheckpoint()
        let other = try Model(directory: Self.checkpoint)
        let norm = try other.parameter(named: "model.norm.weight")
        try other.setValues(try other.values(of: norm).map { 2 * $0 }, of: norm)
        try other.save(to: place.path + "/other")
        let error = #expect(throws: QwenSFTError.self) {
            try Self.tuning(
                .adapter, base: place.path + "/other", checkpoints: checkpoints, stopped: .resume(force: false))
        }
        #expect(error?.message.contains("by another run: base was ") == true, "\(error?.message ?? "")")
        _ = try Self.tuning(.adapter, checkpoints: checkpoints, stopped: .resume(force: false))
    }

    @Test func theLastSavedStepsAreKept() throws {
        let place = try TestDirectory()
        let checkpoints = RunCheckpoints(of: place.path + "/out")
        let tuning = try Self.tuning(checkpoints: checkpoints) {
            $0.saveEvery = 2
            $0.keepLast = 3
        }
        var saved: [Int] = []
        while let event = try tuning.next() {
            if case .saved(let one) = event { saved.append(one.step) }
        }
        #expect(saved == [2, 4, 6, 8] && checkpoints.saved.map(\.step) == [4, 6, 8])
        // A file that is broken is passed over for the one before it.
        try Data("no".utf8).write(to: URL(filePath: checkpoints.saved[2].path))
        let (_, warnings) = try catchingWarnings {
            let again = try Self.tuning(checkpoints: checkpoints, stopped: .resume(force: false))
            #expect(again.run.stepCount == 6)
        }
        #expect(warnings.first?.hasSuffix("going on with step 6") == true, "\(warnings)")
        checkpoints.remove()
        #expect(!FileManager.default.fileExists(atPath: checkpoints.directory))
    }

    @Test func snapshotsAreGoneBackTo() throws {
        let tuning = try Self.tuning(validation: Self.data(12..<16)) { $0.evaluateEvery = 2 }
        for _ in 0..<5 { _ = try tuning.next() }
        let (snapshot, before) = (try tuning.snapshot(), try Self.weights(tuning))
        let history = tuning.run.history
        try Self.finish(tuning)
        let (after, end) = (try Self.weights(tuning), tuning.end)
        #expect(after != before)
        for _ in 0..<2 {
            try tuning.rollBack(to: snapshot)
            #expect(try Self.weights(tuning) == before && tuning.run.history == history && tuning.end == nil)
            try Self.finish(tuning)
            #expect(try Self.weights(tuning) == after && tuning.end == end)
        }
        let other = try Self.tuning(.adapter)
        expectError(.invalidArgument, "the snapshot is of another model or adapter") {
            try other.rollBack(to: snapshot)
        }
    }

    @Test func aForeignModelCardStays() throws {
        let place = try TestDirectory()
        let out = place.path + "/out"
        try FileManager.default.createDirectory(atPath: out, withIntermediateDirectories: true)
        try Data("mine".utf8).write(to: URL(filePath: out + "/README.md"))
        let tuning = try Self.tuning { $0.run.maxSteps = 1 }
        try Self.finish(tuning)
        let (_, warnings) = try catchingWarnings { try tuning.save(to: out) }
        #expect(warnings.contains { $0.contains("README.md: is somebody else's and stays") }, "\(warnings)")
        #expect(try String(contentsOfFile: out + "/README.md", encoding: .utf8) == "mine")
        // Its own is replaced, and so is what came with the base.
        for _ in 0..<2 {
            try tuning.save(to: place.path + "/new")
            let card = try String(contentsOfFile: place.path + "/new/README.md", encoding: .utf8)
            #expect(card.hasPrefix("---\nbase_model: "))
        }
    }

    @Test func optionsOutOfRangeAreNamed() throws {
        for (name, change) in [
            ("patience", { $0.patience = 0 }), ("save_every", { $0.saveEvery = -1 }),
            ("evaluate_every", { $0.evaluateEvery = 0 }), ("keep_last", { $0.keepLast = 0 }),
            ("max_seconds", { $0.maxSeconds = 0 }), ("max_answer_tokens", { $0.maxAnswerTokens = 0 }),
        ] as [(String, (inout FineTuningOptions) -> Void)] {
            let error = #expect(throws: QwenSFTError.self) { try Self.tuning(change: change) }
            #expect(error?.code == .invalidArgument && error?.message.hasPrefix(name) == true)
        }
    }
}
