import CKernels
import Glibc
import QwenSFTCore
import Testing

/// Models kept in bfloat16 beside float32 ones of the same weights.
///
/// Where the processor multiplies bfloat16, activations are rounded on their way into every product: 2⁻⁹ relative each, at
/// random, some thirty of them one after the other. Measured: logits off by 0.6 % of the largest, losses by 0.07 %, gradients
/// by 1.2 % in norm. Tolerances are three times that.
@Suite(.serialized, .processWide) struct BFloat16TrainingTests {
    static let fixtures = [
        "untied-bf16", "new-spelling-bf16", "redundant-head-bf16", "qwen3-untied-bf16", "qwen3-yarn-bf16",
    ].map(ModelFixture.init)

    /// ‖a − b‖ ÷ ‖b‖.
    private func distance(_ a: [Float], _ b: [Float]) -> Double {
        let (difference, size) = zip(a, b).reduce((0.0, 0.0)) {
            ($0.0 + pow(Double($1.0) - Double($1.1), 2), $0.1 + pow(Double($1.1), 2))
        }
        return (difference / size).squareRoot()
    }

    @Test(arguments: fixtures, [InstructionSet.avx512BF16, .avx512, .plain])
    func forwardAndBackward(_ fixture: ModelFixture, isa: InstructionSet) throws {
        // Without bfloat16 instructions only the weights are in bfloat16: float32's own tolerances hold.
        let isRounded = isa == .avx512BF16 && isa.isHere
        let batch = try fixture.expected().batch
        try withInstructionSet(isa) {
            let (exact, model) = (try fixture.model(), try fixture.model(dtype: .bfloat16))
            #expect(try model.allBits() == exact.allBits())
            func logits(_ model: Model) throws -> [Float] {
                try model.forward(
                    batch.inputIDs, rows: batch.rows, columns: batch.columns, attentionMask: batch.attentionMask)
            }
            #expect(worst(try logits(model), try logits(exact)) < (isRounded ? 0.02 : 4e-6))
            let (a, b) = (try Trainer(model), try Trainer(exact))
            #expect(abs(try a.evaluate(batch).loss / b.evaluate(batch).loss - 1) < (isRounded ? 2e-3 : 2e-6))
            let gradients = zip(try a.gradients(batch), try b.gradients(batch))
            for (parameter, (rounded, exact)) in zip(model.parameters, gradients)
            where !parameter.name.hasSuffix("k_proj.bias") {
                let error = distance(rounded, exact)
                #expect(error < (isRounded ? 0.04 : 6e-6), "\(parameter.name)")
            }
        }
    }

    // MARK: Updates far below an ulp

    private static let spec = RandomModel(
        hidden: 64, intermediate: 96, layers: 1, heads: 4, keyValueHeads: 2, headDimension: 16, vocabulary: 512,
        tied: false,
        scale: 0.1)

    /// One step from the same weights.
    private func step(
        _ spec: RandomModel = spec, isStochastic: Bool, seed: UInt64 = 0, buffered: Bool = false, rate: Double = 0.02,
        decay: Double = 0
    ) throws -> (model: Model, before: [[Float]], gradients: [[Float]]) {
        let batch = try randomBatch([40, 50, 60], vocabulary: 512, seed: 4)
        let model = try spec.model(dtype: .bfloat16)
        let before = try model.allValues()
        var options = TrainerOptions()
        options.roundsStochastically = isStochastic
        options.seed = seed
        if buffered { options.maxGradientNorm = 1e30 }
        let trainer = try Trainer(
            model, optimizer: .sgd(SGD(learningRate: rate, weightDecay: decay)), options: options)
        let gradients = try trainer.gradients(batch)
        try trainer.step(batch)
        return (model, before, gradients)
    }

    /// Movement in the direction of the updates over all matrices: what it was, should be, and its standard deviation.
    private func movement(
        _ model: Model, _ before: [[Float]], _ gradients: [[Float]], rate: Double, decay: Double = 0
    ) throws -> (actual: Double, expected: Double, deviation: Double) {
        var (actual, expected, variance) = (0.0, 0.0, 0.0)
        for (index, parameter) in model.parameters.enumerated()
        where parameter.name.hasSuffix("weight") && parameter.shape.count == 2 {
            let after = try model.values(of: parameter)
            for i in after.indices {
                let old = Double(before[index][i])
                let update = -rate * (Double(gradients[index][i]) + decay * old)
                let sign = update < 0 ? -1.0 : 1.0
                actual += sign * (Double(after[i]) - old)
                expected += abs(update)
                let target = old + update
                let ulp = target == 0 ? 0 : exp2(floor(log2(abs(target))) - 7)
                let part = ulp == 0 ? 0 : abs(target) / ulp - floor(abs(target) / ulp)
                variance += part * (1 - part) * ulp * ulp
            }
        }
        return (actual, expected, variance.squareRoot())
    }

    @Test(arguments: [
        (false, 0.0, false), (false, 0.05, false), (true, 0.0, false), (true, 0.05, false), (false, 0.0, true),
    ])
    func stochasticRoundingMovesByTheRightAmount(tied: Bool, decay: Double, buffered: Bool) throws {
        var spec = Self.spec
        spec.tied = tied
        let result = try step(spec, isStochastic: true, buffered: buffered, decay: decay)
        let m = try movement(result.model, result.before, result.gradients, rate: 0.02, decay: decay)
        // A tied matrix is rounded twice: once for the head, once for the lookup.
        #expect(abs(m.actual - m.expected) < 5 * (tied ? 1.5 : 1) * m.deviation, "\(m)")
        #expect(m.expected > 20 * m.deviation, "the test would see it if nothing moved: \(m)")
    }

    @Test func plainRoundingLosesSmallUpdates() throws {
        let result = try step(isStochastic: false)
        let m = try movement(result.model, result.before, result.gradients, rate: 0.02)
        #expect(m.actual < m.expected - 10 * m.deviation, "\(m)")
    }

    /// Norms and biases are float32: no update of theirs is rounded.
    @Test func vectorsMoveExactly() throws {
        let result = try step(isStochastic: true, rate: 1e-4)
        for (index, parameter) in result.model.parameters.enumerated() where parameter.shape.count == 1 {
            let after = try result.model.values(of: parameter)
            let expected = zip(result.before[index], result.gradients[index]).map { Double($0) - 1e-4 * Double($1) }
            #expect(worst(after, expected) < 1.2e-7, "\(parameter.name)")
        }
    }

    @Test func theSeedDecidesAndNothingElse() throws {
        let bits = try step(isStochastic: true, seed: 5).model.allBits()
        #expect(try step(isStochastic: true, seed: 5).model.allBits() == bits)
        #expect(try step(isStochastic: true, seed: 6).model.allBits() != bits)
    }
}
