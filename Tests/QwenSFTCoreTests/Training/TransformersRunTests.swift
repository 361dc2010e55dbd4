import Foundation
import QwenSFTCore
import Testing

/// Runs beside transformers and torch (Tests/Fixtures/make_training_fixtures.py).
@Suite(.serialized, .processWide) struct TransformersRunTests {
    private static func fixture<T: Decodable>(_ name: String, _ type: T.Type) throws -> T {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(type, from: Data(contentsOf: fixtures.appending(path: "training/\(name).json")))
    }

    private struct Schedule: Decodable {
        let shape: String
        let warmupSteps: Int
        let warmupRatio: Double
        let total: Int
        let factors: [Double]
    }

    @Test func schedulesAreTheirsStepForStep() throws {
        let cases = try Self.fixture("schedules", [Schedule].self)
        #expect(cases.count == 24)
        for expected in cases {
            let shape = try #require(LearningRateSchedule.Shape(rawValue: expected.shape))
            let schedule = LearningRateSchedule(
                shape, warmupSteps: expected.warmupSteps, warmupRatio: expected.warmupRatio)
            let factors = (0..<expected.total).map { schedule.factor(step: $0, of: expected.total) }
            // The same double arithmetic; the cosine of two libraries may differ in its last bit.
            for (mine, theirs) in zip(factors, expected.factors) { #expect(abs(mine - theirs) < 1e-15) }
            #expect(factors.count == expected.factors.count)
        }
    }

    private struct FiftySteps: Decodable {
        struct Settings: Decodable {
            let lr: Double
            let betas: [Double]
            let eps: Double
            let weightDecay: Double
            let maxGradNorm: Double
            let batchSize: Int
            let accumulation: Int
            let warmupSteps: Int
            let epochs: Double
        }
        struct Row: Decodable {
            let question: String
            let answer: String
            let ids: [Int32]
            let labels: [Int32]
        }
        struct Step: Decodable {
            let loss: Double
            let gradNorm: Double
            let lr: Double
            let targets: Int
        }
        let settings: Settings
        let rows: [Row]
        let steps: [Step]
    }

    /// Accumulation over unequal rows, cosine, warm-up, clipping, decay on matrices only.
    @Test func fiftyStepsBesideTorch() throws {
        let expected = try Self.fixture("fifty-steps", FiftySteps.self)
        let s = expected.settings
        let directory = Tests.checkpoint
        let conversations = expected.rows.map {
            [Message(role: "user", content: $0.question), Message(role: "assistant", content: $0.answer)]
        }
        let data = try EncodedDataset(
            Dataset(conversations), tokenizer: Tokenizer(directory: directory),
            options: PreprocessOptions(labelPolicy: .assistant, addDefaultSystem: true))
        for (row, theirs) in expected.rows.enumerated() {
            let sequence = try data.batch([row]).sequences
            #expect(Array(sequence.ids.buffer) == theirs.ids)
            #expect(Array(sequence.labels.buffer) == theirs.labels)
        }
        var trainerOptions = FineTuning.trainerOptions
        trainerOptions.maxGradientNorm = s.maxGradNorm
        let adamW = AdamW(
            learningRate: s.lr, beta1: s.betas[0], beta2: s.betas[1], epsilon: s.eps, weightDecay: s.weightDecay)
        let trainer = try Trainer(Model(directory: directory), optimizer: .adamW(adamW), options: trainerOptions)
        var options = TrainingRunOptions()
        (options.batchSize, options.accumulation, options.epochs) = (s.batchSize, s.accumulation, s.epochs)
        options.schedule = LearningRateSchedule(.cosine, warmupSteps: s.warmupSteps)
        options.shuffles = false
        let run = try TrainingRun(trainer, data, options: options)
        #expect(run.totalSteps == 50 && expected.steps.count == 50)
        var worst = (loss: 0.0, norm: 0.0)
        for theirs in expected.steps {
            let step = try #require(try run.next())
            let metrics = try #require(step.metrics)
            #expect(abs(step.learningRate - theirs.lr) < 1e-18)
            #expect(metrics.supervisedTokens == theirs.targets)
            worst.loss = max(worst.loss, abs(metrics.loss - theirs.loss))
            worst.norm = max(worst.norm, abs(try #require(metrics.gradientNorm) / theirs.gradNorm - 1))
        }
        // Float32 sums in another order, carried on for fifty steps: 2.2e-5 and 9e-5 measured.
        #expect(worst.loss < 1e-4, "\(worst)")
        #expect(worst.norm < 1e-3, "\(worst)")
    }

    /// One row computed at a time, or eight together: the loss is that of the whole step either way, not a mean of means.
    @Test func eightTimesOneIsOneTimesEight() throws {
        let expected = try Self.fixture("fifty-steps", FiftySteps.self)
        let conversations = expected.rows.prefix(16).map {
            [Message(role: "user", content: $0.question), Message(role: "assistant", content: $0.answer)]
        }
        let data = try EncodedDataset(
            Dataset(conversations), tokenizer: Tokenizer(directory: Tests.checkpoint),
            options: PreprocessOptions(labelPolicy: .assistant))
        #expect(Set((0..<8).map { data.length(ofRow: $0) }).count > 4)
        func losses(_ batch: Int, _ accumulation: Int) throws -> ([TrainingRunStep], [[Float]]) {
            let trainer = try Trainer(
                Model(directory: Tests.checkpoint), optimizer: .sgd(SGD(learningRate: 1e-2)),
                options: FineTuning.trainerOptions)
            var options = TrainingRunOptions()
            (options.batchSize, options.accumulation, options.epochs) = (batch, accumulation, 3)
            let run = try TrainingRun(trainer, data, options: options)
            var steps: [TrainingRunStep] = []
            while let step = try run.next() { steps.append(step) }
            return (steps, try trainer.model.parameters.map { try trainer.model.values(of: $0) })
        }
        let (together, apart) = (try losses(8, 1), try losses(1, 8))
        #expect(together.0.map(\.step) == Array(1...6) && apart.0.map(\.rows) == together.0.map(\.rows))
        for (a, b) in zip(together.0, apart.0) {
            let (x, y) = (try #require(a.metrics), try #require(b.metrics))
            #expect(x.supervisedTokens == y.supervisedTokens)
            // A mean of the rows' means would be several percent away; rounding is 1e-6.
            #expect(abs(x.loss / y.loss - 1) < 1e-5)
            #expect(abs(try #require(x.gradientNorm) / #require(y.gradientNorm) - 1) < 1e-4)
        }
        for (a, b) in zip(together.1, apart.1) { #expect(zip(a, b).allSatisfy { abs($0 - $1) < 1e-5 }) }
    }
}

private enum Tests {
    static let checkpoint = fixtures.deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Examples/tiny-qwen2").path
}
