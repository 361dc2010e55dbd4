import QwenSFTCore
import Testing

/// Loss and every parameter's gradient of whole models against finite differences of the definition, where everything
/// comes together: shared beginnings (rows with several targets), weights, many tiles of the vocabulary.
@Suite(.serialized, .processWide) struct ModelGradientTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var model = RandomModel(hidden: 12, intermediate: 10, layers: 2, heads: 2, keyValueHeads: 1, headDimension: 6)
        let batch: @Sendable () throws -> Batch
        var logitBudget = LanguageModelHead.defaultLogitBudget

        static let common = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
        static func continuations(_ weights: [[Float]]? = nil) throws -> Batch {
            // The last common row has three targets: 20, 30 and 20 again with a weight of its own; every common row has four.
            try makeBatch(
                [common + [20, 21], common + [30, 31, 32], common + [20], common], weights: weights)
        }

        static let all: [Case] = [
            .init(testDescription: "one row") { try makeBatch([[3, 1, 4, 1, 5, 9, 2, 6]]) },
            .init(testDescription: "padding and partial labels") {
                try randomBatch([9, 1, 5, 12], vocabulary: 150, seed: 3)
            },
            .init(testDescription: "several targets per row", batch: { try continuations() }),
            .init(
                testDescription: "with weights",
                batch: {
                    try continuations([
                        (0..<13).map { Float($0) / 7 }, (0..<14).map { $0 % 3 == 0 ? 0 : 1.5 },
                        (0..<12).map { _ in 0.25 },
                        (0..<11).map { Float(11 - $0) },
                    ])
                }),
            .init(testDescription: "tiles of a tied head", batch: { try continuations() }, logitBudget: 64),
            .init(
                testDescription: "tiles of a head of its own",
                model: RandomModel(hidden: 12, layers: 1, heads: 3, keyValueHeads: 3, vocabulary: 201, tied: false),
                batch: { try continuations() }, logitBudget: 64),
            .init(
                testDescription: "Qwen3, several targets per row",
                model: RandomModel(
                    hidden: 12, intermediate: 10, heads: 4, keyValueHeads: 2, headDimension: 6, qkNorm: true),
                batch: { try continuations() }),
            .init(
                testDescription: "Qwen3, a head of its own",
                model: RandomModel(
                    hidden: 14, layers: 1, heads: 3, keyValueHeads: 1, headDimension: 4, tied: false, qkNorm: true),
                batch: { try randomBatch([9, 1, 5, 12], vocabulary: 150, seed: 3) }),
        ]
    }

    @Test(arguments: Case.all)
    func everyGradient(_ c: Case) throws {
        let model = try c.model.model()
        model.logitBudget = c.logitBudget
        let batch = try c.batch()
        let trainer = try Trainer(model)
        let plain = try PlainModel(model)
        #expect(abs(try trainer.evaluate(batch).loss / plain.loss(batch) - 1) < 1e-6)
        for (parameter, gradient) in zip(model.parameters, try trainer.gradients(batch)) {
            expectGradient(
                gradient, at: try model.values(of: parameter).doubles, samples: 8, tolerance: 2e-5,
                parameter.name
            ) {
                var moved = plain
                moved.weights[parameter.name] = $0
                return moved.loss(batch)
            }
        }
    }

    /// Losses of single tokens stand at their labels' places, shared rows or not.
    @Test func lossesOfTokens() throws {
        let model = try RandomModel().model()
        let batch = try Case.continuations()
        let losses = try Trainer(model).tokenLosses(batch)
        let plain = try PlainModel(model)
        for cell in batch.labels.indices {
            guard cell % batch.columns > 0, batch.labels[cell] >= 0 else {
                #expect(losses[cell].isNaN)
                continue
            }
            var one = batch.labels.map { _ in Int64(-100) }
            one[cell] = batch.labels[cell]
            let alone = try Batch(
                inputIDs: batch.inputIDs, labels: one, attentionMask: batch.attentionMask, rows: batch.rows,
                columns: batch.columns)
            #expect(abs(Double(losses[cell]) / plain.loss(alone) - 1) < 2e-6)
        }
    }
}
