import Foundation
import QwenSFTCore
import Testing

/// Steps whose numbers leave float32: refused, and never a weight that is infinite or NaN.
@Suite(.serialized, .processWide) struct OverflowTests {
    private let batch: Batch
    init() throws { batch = try randomBatch([9, 4, 12], vocabulary: 150, seed: 1) }

    private func expectFinite(_ model: Model, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let values = try model.allValues()
        #expect(values.allSatisfy { $0.allSatisfy(\.isFinite) }, sourceLocation: sourceLocation)
    }

    private func error(_ trainer: Trainer) -> QwenSFTError? {
        do throws(QwenSFTError) {
            try trainer.step(batch)
            return nil
        } catch { return error }
    }

    /// The embedding so large that the loss is finite and the gradient is not.
    @Test(arguments: StepSafetyTests.optimizers, [DType.float32, .bfloat16])
    func hugeEmbedding(_ optimizer: Optimizer, _ dtype: DType) throws {
        for tied in [true, false] {
            let model = try RandomModel(tied: tied).model(dtype: dtype) { tensors in
                let index = tensors.firstIndex { $0.name == "model.embed_tokens.weight" }!
                tensors[index].values = tensors[index].values.map { $0 * 1e36 }
            }
            let before = try model.allBits()
            let trainer = try Trainer(model, optimizer: optimizer)
            // Either the step is fine, or nothing has happened.
            if let error = error(trainer) {
                #expect(error.code == .nonFinite && error.message.hasSuffix("nothing was changed"), "\(error)")
                #expect(try model.allBits() == before)
                #expect(trainer.stepCount == 0)
            }
            try expectFinite(model)
        }
    }

    /// Rates from small to the largest there are. Where gradients are kept first, a refused step changes nothing.
    @Test(
        arguments: [
            Optimizer.sgd(SGD()), .sgd(SGD(momentum: 0.9)), .sgd(SGD(momentum: 0.9, nesterov: true)),
            .sgd(SGD(weightDecay: 2)),
            .adamW(AdamW()), .adamW(AdamW(epsilon: 0)), .adamW(AdamW(weightDecay: 3)),
        ], [DType.float32, .bfloat16])
    func hugeRates(_ optimizer: Optimizer, _ dtype: DType) throws {
        var refused = 0
        for rate in [1e-3, 1e30, 1e34, 1e35, 1e36, 3e36, 1e37, 3e37, 1e38, 3e38] {
            for clips in [false, true] {
                let model = try RandomModel().model(dtype: dtype)
                let before = try model.allBits()
                var changed = optimizer
                changed.learningRate = rate
                var options = TrainerOptions()
                options.maxGradientNorm = clips ? 1 : nil
                let trainer = try Trainer(model, optimizer: changed, options: options)
                for step in 0..<2 {
                    guard let error = error(trainer) else { continue }
                    refused += 1
                    #expect(error.code == .nonFinite, "\(error)")
                    if step == 0, error.message.hasSuffix("nothing was changed") {
                        #expect(try model.allBits() == before)
                    }
                }
                try expectFinite(model)
            }
        }
        #expect(refused > 0)
    }

    /// Plain SGD finds out in the middle that an update is too large: it says so, and what it wrote is finite.
    @Test func updatedInPart() throws {
        var isPartly = false
        for exponent in stride(from: 33.0, to: 38.5, by: 0.05) {
            let model = try RandomModel(layers: 3, tied: false).model()
            let before = try model.allBits()
            let trainer = try Trainer(model, optimizer: .sgd(SGD(learningRate: pow(10, exponent))))
            if let error = error(trainer), error.message.contains("was updated already") {
                isPartly = true
                #expect(try model.allBits() != before)
                #expect(trainer.stepCount == 0)
            }
            try expectFinite(model)
        }
        #expect(isPartly)
    }

    /// An optimizer's memory that only just is not infinite.
    @Test func secondMoments() throws {
        let model = try RandomModel(tied: false).model { tensors in
            let norm = tensors.firstIndex { $0.name == "model.norm.weight" }!
            tensors[norm].values = tensors[norm].values.map { _ in 1e18 }
        }
        let trainer = try Trainer(model, optimizer: .adamW(AdamW()))
        for _ in 0..<3 { _ = error(trainer) }
        try expectFinite(model)
    }

    /// The bounds of an ordinary run stay far from what is refused, and updates are what they were without them.
    @Test(arguments: StepSafetyTests.optimizers)
    func ordinaryRunsAreNotRefused(_ optimizer: Optimizer) throws {
        let model = try RandomModel().model()
        let trainer = try Trainer(model, optimizer: optimizer)
        for _ in 0..<50 { try trainer.step(batch) }
        #expect(trainer.stepCount == 50)
    }
}
