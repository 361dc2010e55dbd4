import Foundation
import QwenSFTCore
import Testing

/// Runs over a small dataset with the embedded checkpoint.
@Suite(.serialized, .processWide) struct TrainingRunTests {
    private static let checkpoint = fixtures.deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Examples/tiny-qwen2").path

    private static func data(
        _ count: Int = 11, _ options: PreprocessOptions = .init(), change: (inout [String]) -> Void = { _ in }
    ) throws -> EncodedDataset {
        var lines = (0..<count).map { i in
            let answer = String(repeating: "\(i)", count: i % 4 + 1)
            return
                "{\"messages\": [{\"role\": \"user\", \"content\": \"\(i)?\"}, {\"role\": \"assistant\", \"content\": \"\(answer)\"}]}"
        }
        change(&lines)
        let dataset = Dataset(bytes: Array(lines.joined(separator: "\n").utf8), name: "test.jsonl")
        return try EncodedDataset(dataset, tokenizer: Tokenizer(directory: checkpoint), options: options)
    }

    private static func run(
        _ directory: String = checkpoint, dtype: DType = .float32, data count: Int = 11, norm: Double? = 1,
        rate: Double = 1e-3, collective: Collective? = nil, change: (inout TrainingRunOptions) -> Void = { _ in }
    ) throws -> TrainingRun {
        var options = TrainingRunOptions()
        options.batchSize = 4
        options.epochs = 2
        options.schedule = .init(.cosine, warmupSteps: 2)
        options.seed = 5
        change(&options)
        var trainerOptions = TrainerOptions()
        trainerOptions.maxGradientNorm = norm
        trainerOptions.collective = collective
        let model = try Model(directory: directory, dtype: dtype)
        let trainer = try Trainer(model, optimizer: .adamW(AdamW(learningRate: rate)), options: trainerOptions)
        return try TrainingRun(trainer, try data(count), options: options)
    }

    private static func finish(_ run: TrainingRun) throws -> [TrainingRunStep] {
        var steps: [TrainingRunStep] = []
        while let step = try run.next() { steps.append(step) }
        return steps
    }

    private static func weights(_ model: Model) throws -> [[Float]] {
        try model.parameters.map { try model.values(of: $0) }
    }

    @Test func goesThroughAllEpochsAndLearns() throws {
        let run = try Self.run()
        #expect(run.stepsPerEpoch == 3)
        #expect(run.totalSteps == 6)
        let before = try run.evaluate(run.data).loss
        let steps = try Self.finish(run)
        #expect(steps.map(\.step) == Array(1...6))
        #expect(steps.map(\.epoch) == [0, 0, 0, 1, 1, 1])
        #expect(steps.map(\.rows) == [4, 4, 3, 4, 4, 3])
        #expect(steps.reduce(0) { $0 + $1.tokens } == 2 * run.data.report.tokens)
        #expect(try run.evaluate(run.data).loss < before * 0.8)
        #expect(run.curve.training.count == 6)
        #expect(run.curve.evaluation.map(\.step) == [0, 6])
        #expect(try run.next() == nil)
    }

    /// Ranks divide the rows of every step; the last step of an epoch has fewer rows than ranks.
    @Test func aRunOfSeveralRanks() throws {
        let alone = try Self.run(data: 13) { $0.batchSize = 6 }
        let expected = try Self.finish(alone)
        let place = try TestDirectory()
        let state = place.path + "/state"
        let found = try RankGroup(3).run { collective in
            let run = try Self.run(data: 13, collective: collective) { $0.batchSize = 2 }
            let steps = try Self.finish(run)
            if collective.rank == 0 { try run.saveState(to: state) }
            return (steps: steps, weights: try Self.weights(run.trainer.model))
        }.map { try $0.get() }
        for rank in found {
            #expect(rank.weights.map(\.bits) == found[0].weights.map(\.bits))
            #expect(rank.steps.map(\.rows) == [6, 6, 1, 6, 6, 1] && rank.steps.map(\.tokens) == expected.map(\.tokens))
            for (mine, joint) in zip(rank.steps, expected) {
                // AdamW divides small gradients by their own size: rounding shows in the weights, and later in the loss.
                #expect(abs((mine.metrics?.loss ?? 0) / (joint.metrics?.loss ?? 1) - 1) < 1e-4)
                #expect(mine.metrics?.supervisedTokens == joint.metrics?.supervisedTokens)
            }
        }
        let other = try Self.run(data: 13) { $0.batchSize = 6 }
        let error = #expect(throws: QwenSFTError.self) { try other.loadState(from: state) }
        #expect(error?.message == "state: was saved with world_size 3, and this trainer's is 1")
        let fewer = RankGroup(2).run { collective in
            try Self.run(data: 13, collective: collective) { $0.batchSize = 3 }.loadState(from: state)
        }
        for result in fewer { #expect(throws: QwenSFTError.self) { try result.get() } }
    }

    /// As transformers counts: a part of an epoch is rounded up to whole steps, and max_steps is what it says.
    @Test func epochsMayBePartsAndStepsBeGiven() throws {
        for (epochs, steps, total) in [(0.5, nil, 2), (0.01, nil, 1), (2.4, nil, 8), (1, 7, 7), (3, 2, 2)]
            as [(Double, Int?, Int)]
        {
            let run = try Self.run {
                $0.epochs = epochs
                $0.maxSteps = steps
            }
            #expect(run.totalSteps == total)
        }
        let run = try Self.run { $0.maxSteps = 4 }
        #expect(try Self.finish(run).map(\.epoch) == [0, 0, 0, 1])
    }

    @Test func aRateThatWasChangedHoldsAndIsSaved() throws {
        let place = try TestDirectory()
        let path = place.path + "/state.safetensors"
        let run = try Self.run { $0.schedule = .init() }
        #expect(try run.next()?.learningRate == 1e-3)
        try run.setLearningRate(5e-4)
        #expect(try run.next()?.learningRate == 5e-4)
        try run.saveState(to: path)
        let again = try Self.run { $0.schedule = .init() }
        try again.loadState(from: path)
        #expect(try again.next()?.learningRate == 5e-4)
    }

    @Test(arguments: [DType.float32, .bfloat16]) func aResumedRunGivesTheSameBits(dtype: DType) throws {
        let whole = try Self.run(dtype: dtype)
        let steps = try Self.finish(whole)

        let place = try TestDirectory()
        let first = try Self.run(dtype: dtype)
        for _ in 0..<4 { _ = try first.next() }
        try first.trainer.model.save(to: place.path + "/checkpoint", dtype: .float32)
        try first.saveState(to: place.path + "/state.safetensors")

        let second = try Self.run(place.path + "/checkpoint", dtype: dtype)
        try second.loadState(from: place.path + "/state.safetensors")
        #expect(second.stepCount == 4)
        let rest = try Self.finish(second)
        #expect(rest.map(\.step) == [5, 6])
        #expect(rest.map(\.learningRate) == steps[4...].map(\.learningRate))
        #expect(rest.map { $0.metrics?.loss } == steps[4...].map { $0.metrics?.loss })
        #expect(second.curve == whole.curve)
        #expect(try Self.weights(second.trainer.model) == Self.weights(whole.trainer.model))
    }

    @Test func otherDataOrAnotherOrderIsRefused() throws {
        let place = try TestDirectory()
        let path = place.path + "/state.safetensors"
        let run = try Self.run()
        _ = try run.next()
        try run.saveState(to: path)
        let wrong: [(TrainingRun, String)] = [
            (try Self.run(data: 10), "data was 11 conversations"),
            (try Self.run { $0.seed = 6 }, "order was shuffled with seed 5 and is shuffled with seed 6"),
            (try Self.run { $0.batchSize = 3 }, "batch_size was 4 and is 3"),
            (try Self.run { $0.shuffles = false }, "and is that of the data"),
            (try Self.run { $0.schedule.shape = .linear }, "schedule was cosine and is linear"),
            (try Self.run { $0.epochs = 5 }, "steps was 6 and is 15"),
            (try Self.run(norm: nil), "max_grad_norm was 1.0 and is none"),
            (try Self.run(rate: 2e-3), "lr was 0.001 and is 0.002"),
        ]
        for (other, part) in wrong {
            let before = try Self.weights(other.trainer.model)
            let error = #expect(throws: QwenSFTError.self) { try other.loadState(from: path) }
            #expect(error?.code == .invalidArgument)
            #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
            #expect(other.stepCount == 0)
            #expect(try Self.weights(other.trainer.model) == before)
        }
        // Forced, it goes on, and says so.
        let forced = try Self.run(rate: 2e-3) { $0.epochs = 5 }
        let (_, warnings) = try catchingWarnings { try forced.loadState(from: path, force: true) }
        #expect(
            warnings == [
                "state.safetensors: was saved by another run: steps was 6 and is 15, lr was 0.001 and is 0.002"
            ])
        #expect(forced.history.warnings.map(\.text) == warnings)
        #expect(forced.stepCount == 1 && forced.fullRate == 2e-3)
        // Where no rate depends on the length, more epochs change nothing of what has been.
        let short = try Self.run { $0.schedule = .init() }
        _ = try short.next()
        try short.saveState(to: path)
        let longer = try Self.run {
            $0.schedule = .init()
            $0.epochs = 5
        }
        try longer.loadState(from: path)
        #expect(longer.stepCount == 1)
    }

    /// The same counts of conversations, tokens and targets, and yet other data.
    @Test func dataThatOnlyCountsTheSameIsRefused() throws {
        let place = try TestDirectory()
        let path = place.path + "/state.safetensors"
        let run = try Self.run()
        _ = try run.next()
        try run.saveState(to: path)
        let changes: [(String, (inout [String]) -> Void)] = [
            ("reordered", { $0.swapAt(0, 4) }),
            ("edited", { $0[3] = $0[3].replacingOccurrences(of: "3333", with: "3334") }),
            ("weighted", { $0[2] = $0[2].replacingOccurrences(of: "\"222\"", with: "\"222\", \"weight\": 0.5") }),
        ]
        for (name, change) in changes {
            let data = try Self.data(change: change)
            #expect(data.report.tokens == run.data.report.tokens && data.report.targets == run.data.report.targets)
            let other = try TrainingRun(run.trainer, data, options: run.options)
            let error = #expect(throws: QwenSFTError.self, "\(name)") { try other.loadState(from: path) }
            #expect(error?.code == .invalidArgument && error?.message.contains("fingerprint") == true)
        }
        try TrainingRun(run.trainer, Self.data(), options: run.options).loadState(from: path)
    }

    // MARK: The loss of a dataset

    @Test func evaluation() throws {
        let run = try Self.run()
        let loss = try run.evaluate(run.data).loss
        #expect(try run.trainer.evaluate(run.data, run.options).loss == loss)
        // However it is divided, up to rounding: float32 sums over some twenty tokens, 1e-7 measured.
        for (size, tokens) in [(1, nil), (11, nil), (11, 30), (100, nil)] as [(Int, Int?)] {
            var how = TrainingRunOptions()
            how.batchSize = size
            how.maxBatchTokens = tokens
            let other = try run.trainer.evaluate(run.data, how)
            #expect(abs(other.loss / loss - 1) < 1e-6 && other.supervisedTokens == run.data.report.targets)
        }
        #expect(run.curve.evaluation.count == 1)
        var how = TrainingRunOptions()
        how.batchSize = 0
        expectError(.invalidArgument, "batch_size must be at least 1 and below 2^31, not 0") {
            try run.trainer.evaluate(run.data, how)
        }
    }

    /// A batch is made when its turn comes, and between two layers somebody is asked.
    @Test func evaluationIsCancelledAtOnce() throws {
        let run = try Self.run { $0.batchSize = 1 }
        var all = 0
        _ = try run.trainer.evaluate(run.data, run.options) { _, _ in
            all += 1
            return true
        }
        #expect(all > 11 * run.trainer.model.configuration.layers)
        for last in [1, 2, all / 2, all] {
            var asked = 0
            let error = #expect(throws: QwenSFTError.self) {
                try run.evaluate(run.data) { _, _ in
                    asked += 1
                    return asked < last
                }
            }
            #expect(error?.code == .cancelled && asked == last)
        }
        #expect(run.curve.evaluation.isEmpty)
    }

    @Test(arguments: ["nan", "-1"]) func aStateWithAnImpossibleRateIsRefused(rate: String) throws {
        let place = try TestDirectory()
        let path = place.path + "/state.safetensors"
        let run = try Self.run()
        try run.trainer.setLearningRate(0.125)
        try run.saveState(to: path)
        let text = try FileContents(path).withBytes { Array($0) }
        let (old, new) = (Array("\"lr\":\"0.125\"".utf8), Array("\"lr\":\"\(rate)\"".utf8))
        let start = try #require(text.indices.first { text[$0...].starts(with: old) })
        let changed = text[..<start] + new + Array(repeating: UInt8(ascii: " "), count: old.count - new.count)
        try place.write("changed.safetensors", Array(changed + text[(start + old.count)...]))
        expectError(.invalidFile, "changed.safetensors: lr must be at least 0, not \(Double(rate) ?? 0)") {
            try run.loadState(from: place.path + "/changed.safetensors")
        }
        #expect(run.trainer.learningRate == 0.125)
    }

    /// What the tokenizer allows and the model does not is found before the first step.
    @Test func rowsThatTheModelCannotTakeAreRefused() throws {
        let data = try Self.data()
        let longest = (0..<data.count).map { data.length(ofRow: $0) }.max() ?? 0
        let line = try #require((0..<data.count).first { data.length(ofRow: $0) == longest })
        func run(positions: Int, vocabulary: Int) throws -> TrainingRun {
            let model = try RandomModel(vocabulary: vocabulary, positions: positions).model()
            return try TrainingRun(Trainer(model), data)
        }
        expectError(
            .tooLong,
            "test.jsonl:\(line + 1): \(longest) tokens are more than the model's context of \(longest - 1); max_length cuts them"
        ) { try run(positions: longest - 1, vocabulary: 704) }
        let error = #expect(throws: QwenSFTError.self) { try run(positions: longest, vocabulary: 300) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.hasPrefix("test.jsonl:1: the id 70") == true, "\(error?.message ?? "")")
        let fine = try run(positions: longest, vocabulary: 704)
        #expect(try fine.next() != nil)
        try fine.check(try Self.data(9))
        #expect(throws: QwenSFTError.self) { try fine.check(try Self.data(12)) }
    }

    @Test func smallerPassesChangeNothingButRounding() throws {
        let reference = try Self.finish(try Self.run())
        for change in [
            { $0.maxBatchTokens = 20 },
            {
                $0.batchSize = 2
                $0.accumulation = 2
            },
        ] as [(inout TrainingRunOptions) -> Void] {
            let steps = try Self.finish(try Self.run(change: change))
            #expect(steps.map(\.rows) == reference.map(\.rows))
            for (a, b) in zip(steps, reference) {
                let (x, y) = (try #require(a.metrics), try #require(b.metrics))
                #expect(abs(x.loss - y.loss) < 1e-4 * y.loss)
                #expect(x.supervisedTokens == y.supervisedTokens)
            }
        }
    }

    @Test func stepsThatAreNotFiniteAreLeftOutAndAtLastEndTheRun() throws {
        let run = try Self.run { $0.epochs = 20 }
        let model = run.trainer.model
        let name = "model.norm.weight"
        let good = try model.values(of: model.parameter(named: name))
        try model.setValues(good.map { _ in 3e38 }, of: model.parameter(named: name))
        let before = try Self.weights(model)
        let step = try #require(try run.next())
        #expect(step.metrics == nil)
        #expect(run.refusedSteps == 1)
        #expect(try Self.weights(model) == before)
        try model.setValues(good, of: model.parameter(named: name))
        #expect(try run.next()?.metrics != nil)
        try model.setValues(good.map { _ in 3e38 }, of: model.parameter(named: name))
        for _ in 0..<4 { #expect(try run.next()?.metrics == nil) }
        let error = #expect(throws: QwenSFTError.self) { try run.next() }
        #expect(error?.code == .nonFinite)
    }

    @Test func aCancelledStepIsAsIfItHadNotBegun() throws {
        let run = try Self.run()
        _ = try run.next()
        let before = try Self.weights(run.trainer.model)
        let error = #expect(throws: QwenSFTError.self) { try run.next(onProgress: { _, _ in false }) }
        #expect(error?.code == .cancelled)
        #expect(run.stepCount == 1)
        #expect(run.curve.training.count == 1)
        #expect(try Self.weights(run.trainer.model) == before)
    }

    @Test func badOptionsAreNamed() throws {
        let wrong: [(String, (inout TrainingRunOptions) -> Void)] = [
            ("epochs", { $0.epochs = 0 }), ("batch_size", { $0.batchSize = -1 }),
            ("accumulation", { $0.accumulation = .max }),
            ("max_batch_tokens", { $0.maxBatchTokens = 0 }), ("warmup_steps", { $0.schedule.warmupSteps = -1 }),
        ]
        for (name, change) in wrong + [
            ("epochs", { $0.epochs = .nan }), ("max_steps", { $0.maxSteps = 0 }),
            ("warmup_ratio", { $0.schedule.warmupRatio = 1.5 }), ("max_refused_steps", { $0.maxRefusedSteps = 0 }),
        ] {
            let error = #expect(throws: QwenSFTError.self) { try Self.run(change: change) }
            #expect(error?.code == .invalidArgument)
            #expect(error?.message.hasPrefix(name) == true)
        }
    }

    @Test func memoryCountsWhatIsKept() throws {
        let c = try Configuration(directory: Self.checkpoint)
        let direct = try TrainingMemory(c, tokens: 100)
        #expect(direct.gradients == 0 && direct.optimizer == 0)
        // Rows of matrices begin at multiples of 64 elements: a little more than the parameters themselves.
        #expect((c.parameterCount * 4..<c.parameterCount * 4 + 100_000).contains(direct.weights))
        var clipped = TrainingSetup()
        clipped.options.maxGradientNorm = 1
        var bfloat16 = clipped
        (bfloat16.dtype, bfloat16.optimizer) = (.bfloat16, .adamW(AdamW()))
        let adam = try TrainingMemory(c, bfloat16, tokens: 100)
        #expect(adam.gradients == direct.weights && adam.optimizer == 2 * direct.weights)
        #expect(adam.weights < direct.weights * 51 / 100)
        clipped.options.recomputation = true
        #expect(
            try TrainingMemory(c, clipped, tokens: 4000).activations < TrainingMemory(c, tokens: 4000).activations)
        #expect(try TrainingMemory(c, tokens: .max).activations > 1 << 50, "no overflow")
    }

    /// What is told before a run is what the run then does.
    @Test func thePlanIsTheRun() throws {
        let data = try Self.data()
        var run = TrainingRunOptions()
        (run.batchSize, run.accumulation, run.epochs) = (3, 2, 1.5)
        let c = try Configuration(directory: Self.checkpoint)
        let plan = try TrainingPlan(c, TrainingSetup(), data, run: run)
        let made = try TrainingRun(Trainer(Model(directory: Self.checkpoint)), data, options: run)
        #expect(plan.steps == made.totalSteps && plan.stepsPerEpoch == made.stepsPerEpoch)
        #expect(plan.tokens == data.report.tokens)
        let first = made.order.steps(ofEpoch: 0).flatMap { made.order.passes($0, count: 2, maxTokens: 4096) }
        #expect(plan.longestBatch == first.map { $0.reduce(0) { $0 + data.length(ofRow: $1) } }.max())
        #expect(try plan.memory == TrainingMemory(c, tokens: plan.longestBatch, accumulation: 2))
        // 6 operations for every weight and token, where the embedding is no product, and the head one of what is supervised.
        let embedding = c.vocabularySize * c.hiddenSize
        let products = Double(plan.tokens * (c.parameterCount - embedding) + data.report.targets * embedding)
        let expected = 6 * products * Double(plan.steps) / Double(plan.stepsPerEpoch)
        // And attention, 2 × 6 for each pair: little at these lengths.
        #expect((1..<1.1).contains(plan.operations / expected), "\(plan.operations / expected)")
        var lora = TrainingSetup()
        lora.adapter = LoRAConfiguration()
        let share = try TrainingPlan(c, lora, data, run: run).operations / plan.operations
        #expect(abs(share - 2 / 3) < 1e-9)
        run.batchSize = 0
        #expect(throws: QwenSFTError.self) { try TrainingPlan(c, lora, data, run: run) }
    }
}
