import CKernels
import Foundation
import QwenSFTCore
import Testing

/// Whatever stops a step, weights are bit for bit what they were.
@Suite(.serialized, .processWide) struct StepSafetyTests {
    static let optimizers: [Optimizer] = [
        .sgd(SGD(learningRate: 0.1)), .sgd(SGD(learningRate: 0.1, momentum: 0.9)), .adamW(AdamW()),
    ]

    private let batch: Batch
    init() throws { batch = try randomBatch([9, 4, 12], vocabulary: 150, seed: 1) }

    /// Expects `body` to fail with `code`, the message to begin so, and the model to be unchanged.
    private func expectRefusal(
        _ model: Model, _ code: QwenSFTError.Code, _ beginning: String,
        sourceLocation: SourceLocation = #_sourceLocation,
        _ body: () throws -> Void
    ) throws {
        let before = try model.allBits()
        let error = #expect(throws: QwenSFTError.self, sourceLocation: sourceLocation) { try body() }
        #expect(
            error?.code == code && error?.message.hasPrefix(beginning) == true, "\(String(describing: error))",
            sourceLocation: sourceLocation)
        #expect(try model.allBits() == before, sourceLocation: sourceLocation)
    }

    // MARK: Numbers

    @Test(arguments: optimizers, [Float.nan, .infinity, -.infinity])
    func weightsThatAreNoNumbers(_ optimizer: Optimizer, _ value: Float) throws {
        for name in ["model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight"] {
            // Every row of the embedding, so that one that is used is among them.
            let model = try RandomModel().model()
            try model.setUnchecked(value, at: stride(from: 3, to: 1 << 20, by: 16), of: model.parameter(named: name))
            let trainer = try Trainer(model, optimizer: optimizer)
            try expectRefusal(model, .nonFinite, "the loss is") { try trainer.step(batch) }
            try expectRefusal(model, .nonFinite, "the loss is") { _ = try trainer.evaluate(batch) }
            #expect(trainer.stepCount == 0)
        }
    }

    /// The loss of one batch is fine, that of a later one is not.
    @Test func aLaterBatch() throws {
        let model = try RandomModel(tied: false).model()
        try model.setUnchecked(.nan, at: 7 * 16..<8 * 16, of: model.parameter(named: "model.embed_tokens.weight"))
        let trainer = try Trainer(model)
        let good = try makeBatch([[1, 2, 3]])
        let bad = try makeBatch([[1, 7, 3]])
        try expectRefusal(model, .nonFinite, "the loss is nan") { try trainer.step(accumulating: [good, bad]) }
        try trainer.step(good)
        #expect(trainer.stepCount == 1)
    }

    /// A finite loss whose gradient overflows: refused where gradients are formed before they are used.
    @Test(arguments: optimizers)
    func gradientsThatAreNoNumbers(_ optimizer: Optimizer) throws {
        let model = try RandomModel(tied: false).model { tensors in
            let norm = tensors.firstIndex { $0.name == "model.norm.weight" }!
            tensors[norm].values = tensors[norm].values.map { _ in 1e25 }
        }
        var options = TrainerOptions()
        options.maxGradientNorm = 1
        let trainer = try Trainer(model, optimizer: optimizer, options: options)
        #expect(try trainer.evaluate(batch).loss.isFinite)
        try expectRefusal(model, .nonFinite, "the gradient of") { try trainer.step(batch) }
        #expect(trainer.stepCount == 0)
    }

    /// Weights of tokens far outside of what their sum's reciprocal could be in float32.
    @Test(arguments: [Float(1e-42), 1e-30, 1e30, 3e38])
    func extremeTokenWeights(_ weight: Float) throws {
        let sequences = [[1, 2, 3, 4, 5], [6, 7, 8]]
        let plain = try RandomModel().model()
        let weighted = try RandomModel().model()
        let start = try plain.allValues()
        let expected = try Trainer(plain, optimizer: .sgd(SGD(learningRate: 0.5))).step(makeBatch(sequences))
        let weights = sequences.map { $0.map { _ in weight } }
        let trainer = try Trainer(weighted, optimizer: .sgd(SGD(learningRate: 0.5)))
        let metrics = try trainer.step(makeBatch(sequences, weights: weights))
        #expect(abs(metrics.loss / expected.loss - 1) < 1e-6)
        #expect(worstChange(try weighted.allValues(), try plain.allValues(), from: start) < 1e-4)
    }

    @Test func optimizerNumbers() throws {
        let model = try RandomModel().model()
        for (optimizer, name) in [
            (Optimizer.sgd(SGD(learningRate: -1)), "lr"), (.sgd(SGD(learningRate: .nan)), "lr"),
            (.sgd(SGD(learningRate: 1e300)), "lr"), (.sgd(SGD(momentum: -0.1)), "momentum"),
            (.sgd(SGD(dampening: .infinity)), "dampening"), (.sgd(SGD(weightDecay: -1)), "weight_decay"),
            (.sgd(SGD(nesterov: true)), "nesterov"),
            (.sgd(SGD(momentum: 0.9, dampening: 0.1, nesterov: true)), "nesterov"),
            (.adamW(AdamW(beta1: 1)), "beta1"), (.adamW(AdamW(beta2: -0.1)), "beta2"),
            (.adamW(AdamW(epsilon: -1)), "eps"),
            (.adamW(AdamW(weightDecay: .nan)), "weight_decay"),
        ] {
            let error = #expect(throws: QwenSFTError.self) { try Trainer(model, optimizer: optimizer) }
            #expect(error?.code == .invalidArgument && error?.message.hasPrefix(name) == true)
        }
        for norm in [0, -1, Double.nan] {
            var options = TrainerOptions()
            options.maxGradientNorm = norm
            #expect(throws: QwenSFTError.self) { try Trainer(model, options: options) }
        }
    }

    // MARK: Cancelling and concurrency

    @Test(arguments: optimizers, [false, true])
    func cancelledAnywhere(_ optimizer: Optimizer, recomputation: Bool) throws {
        let model = try RandomModel(layers: 3).model()
        var options = TrainerOptions()
        options.recomputation = recomputation
        let trainer = try Trainer(model, optimizer: optimizer, options: options)
        // Plain SGD changes weights in backward, and is not to be stopped there: forward's parts are three layers and the head.
        var isDirect = false
        if case .sgd(let sgd) = optimizer { isDirect = sgd.momentum == 0 }
        var questions = 0
        try trainer.step(batch) { done, _ in
            if !isDirect || done <= 4 { questions += 1 }
            return true
        }
        #expect(questions >= 3)
        for stop in 1...questions {
            var asked = 0
            try expectRefusal(model, .cancelled, "cancelled") {
                try trainer.step(batch) { _, _ in
                    asked += 1
                    return asked < stop
                }
            }
            #expect(asked == stop)
        }
        #expect(trainer.stepCount == 1)
    }

    @Test func secondThreadIsToldBusy() throws {
        let model = try RandomModel().model()
        let trainer = try Trainer(model)
        nonisolated(unsafe) var errors: [QwenSFTError?] = []
        @Sendable func attempt(_ body: () throws -> Void) {
            do {
                try body()
                errors.append(nil)
            } catch { errors.append(error as? QwenSFTError) }
        }
        try trainer.step(batch) { _, _ in
            guard errors.isEmpty else { return true }
            let done = DispatchSemaphore(value: 0)
            let batch = batch
            Thread {
                attempt { try trainer.step(batch) }
                attempt { _ = try trainer.evaluate(batch) }
                attempt { _ = try model.forward([1, 2], rows: 1, columns: 2) }
                attempt { _ = try model.generate([1, 2], options: .greedy) }
                attempt { try model.save(to: "/tmp/never") }
                attempt { _ = try model.values(of: model.parameters[0]) }
                attempt { try trainer.setLearningRate(1) }
                done.signal()
            }.start()
            done.wait()
            return true
        }
        #expect(errors == Array(repeating: QwenSFTError(.busy, "the model is in use on another thread"), count: 7))
        try trainer.step(batch)
    }

    /// Two models at once give what each gives alone.
    @Test func twoModelsAtOnce() throws {
        let batch = batch
        @Sendable func train(_ seed: Int) throws -> [[UInt32]] {
            let model = try RandomModel(seed: seed).model()
            let trainer = try Trainer(model, optimizer: .sgd(SGD(learningRate: 0.5)))
            for _ in 0..<30 { try trainer.step(batch) }
            return try model.allBits()
        }
        let alone = try [train(1), train(2)]
        nonisolated(unsafe) var together: [[[UInt32]]?] = [nil, nil]
        let lock = NSLock()
        let group = DispatchGroup()
        for index in 0..<2 {
            group.enter()
            Thread {
                let bits = try? train(index + 1)
                lock.withLock { together[index] = bits }
                group.leave()
            }.start()
        }
        group.wait()
        #expect(together[0] == alone[0] && together[1] == alone[1])
    }

    // MARK: Memory

    /// Where gradients go straight into the weights, backward asks the system for nothing: it could not be undone.
    @Test(arguments: [DType.float32, .bfloat16], [false, true])
    func memoryIsThereBeforeTheFirstWrite(_ dtype: DType, tied: Bool) throws {
        let specs = [
            RandomModel(vocabulary: 150, positions: 2048, tied: tied),
            RandomModel(
                hidden: 72, intermediate: 40, layers: 1, heads: 9, headDimension: 24, vocabulary: 3001, positions: 2048,
                tied: tied),
            RandomModel(
                hidden: 32, intermediate: 500, layers: 1, heads: 2, headDimension: 8, vocabulary: 40, positions: 2048,
                tied: tied),
            RandomModel(
                hidden: 24, intermediate: 20, layers: 2, heads: 4, headDimension: 16, vocabulary: 40, positions: 2048,
                tied: tied, qkNorm: true),
        ].map { spec in
            var spec = spec
            if spec.heads == 9 { spec.keyValueHeads = 3 }
            return spec
        }
        for spec in specs {
            for lengths in [[2], [100, 3], [400], [1300, 1]] {
                for recomputes in [false, true] {
                    for threads in [1, 3] {
                        try onEveryInstructionSet(upTo: .avx512BF16) { isa in
                            let model = try spec.model(dtype: dtype)
                            var options = TrainerOptions()
                            options.recomputation = recomputes
                            let trainer = try Trainer(model, options: options)
                            let batch = try randomBatch(lengths, vocabulary: spec.vocabulary, seed: 2, supervised: 100)
                            let arena = model.compute.arena
                            var held = 0
                            _ = try with(threads: threads) {
                                try trainer.step(batch) { done, _ in
                                    // The first part of backward has been done: the reservation stands.
                                    if held == 0, done > spec.layers + 1 { held = arena.byteCount }
                                    return true
                                }
                            }
                            #expect(
                                arena.byteCount == held,
                                "\(spec.hidden), \(lengths), recomputation \(recomputes), \(threads) threads, isa \(isa)"
                            )
                        }
                    }
                }
            }
        }
    }

    // MARK: Values

    @Test func valuesThatBFloat16CannotHold() throws {
        let model = try RandomModel().model(dtype: .bfloat16)
        let matrix = try model.parameter(named: "model.layers.0.mlp.up_proj.weight")
        var values = try model.values(of: matrix)
        values[5] = Float(bitPattern: 0x7F7F_7FFF)  // the largest that is rounded down
        values[6] = -values[5]
        try model.setValues(values, of: matrix)
        let largest = Float(bitPattern: 0x7F7F_0000)
        #expect(try model.values(of: matrix)[5...6] == [largest, -largest])
        values[6] = -Float.greatestFiniteMagnitude
        try expectRefusal(
            model, .nonFinite,
            "model.layers.0.mlp.up_proj.weight: element 6 is -3.4028235e+38, which bfloat16 rounds to infinity"
        ) { try model.setValues(values, of: matrix) }
        // Vectors are float32 in every model.
        let vector = try model.parameter(named: "model.norm.weight")
        try model.setValues([Float](repeating: .greatestFiniteMagnitude, count: 16), of: vector)
    }

    // MARK: Batches

    @Test func batchesThatCannotBe() throws {
        let model = try RandomModel(positions: 12).model()
        let trainer = try Trainer(model)
        func step(_ sequences: [[Int]], labels: [[Int]]? = nil, weights: [[Float]]? = nil) throws {
            try trainer.step(makeBatch(sequences, labels: labels, weights: weights))
        }
        try expectRefusal(model, .noSupervisedTokens, "no token of the batch is") {
            try step([[1, 2]], labels: [[1, -1]])
        }
        try expectRefusal(model, .noSupervisedTokens, "no token of the batch is") { try step([[1]], labels: [[1]]) }
        try expectRefusal(model, .noSupervisedTokens, "no token of the batch is") {
            try step([[1, 2]], weights: [[1, 0]])
        }
        try expectRefusal(model, .noSupervisedTokens, "no token of the batches is") {
            try trainer.step(accumulating: [])
        }
        try expectRefusal(
            model, .invalidArgument, "input_ids: row 1, position 2: 150 is not in the model's vocabulary of 150"
        ) {
            try step([[1, 2], [3, 4, 150]], labels: [[1, 2], [3, 4, -1]])
        }
        try expectRefusal(model, .invalidArgument, "labels: row 0, position 1: 2147483647 is not in") {
            try step([[1, 2]], labels: [[1, 2_147_483_647]])
        }
        try expectRefusal(model, .tooLong, "row 1: 13 tokens are more than the model's context of 12") {
            try step([[1, 2], Array(1...13)])
        }
        try step([Array(1...12)])  // the whole context is fine
    }

    @Test func arraysThatCannotBeABatch() {
        func make(
            _ ids: [Int64], _ labels: [Int64], _ mask: [Int64]? = nil, _ rows: Int, _ columns: Int,
            _ weights: [Float]? = nil
        ) throws {
            _ = try Batch(
                inputIDs: ids, labels: labels, attentionMask: mask, tokenWeights: weights, rows: rows, columns: columns)
        }
        expectError(.invalidArgument, "a batch of 0 rows and 0 columns is empty") { try make([], [], nil, 0, 0) }
        expectError(.invalidArgument, "a batch of -1 rows and -1 columns is empty") { try make([1], [1], nil, -1, -1) }
        #expect(throws: QwenSFTError.self) { try make([1], [1], nil, .max, 2) }
        expectError(.invalidArgument, "labels: 1 elements are not 1 rows of 2") { try make([1, 2], [1], nil, 1, 2) }
        expectError(.invalidArgument, "attention_mask: row 0, position 1: 2 is neither 0 nor 1") {
            try make([1, 2], [1, 2], [1, 2], 1, 2)
        }
        expectError(
            .invalidArgument,
            "attention_mask: row 0, position 2: a 1 after 1s and 0s; the real tokens of a row must be neighbors"
        ) {
            try make([1, 2, 3], [-100, -100, -100], [1, 0, 1], 1, 3)
        }
        expectError(.invalidArgument, "labels: row 0, position 1: -99 is neither -100 nor a token id") {
            try make([1, 2], [1, -99], nil, 1, 2)
        }
        expectError(.invalidArgument, "labels: row 0, position 1: padding has the label 2, not -100") {
            try make([1, 2], [1, 2], [1, 0], 1, 2)
        }
        expectError(.invalidArgument, "input_ids: row 0, position 0: -1 is not a token id") {
            try make([-1, 2], [1, 2], nil, 1, 2)
        }
        expectError(.invalidArgument, "token_weights: row 0, position 1: nan is not a finite, non-negative number") {
            try make([1, 2], [1, 2], nil, 1, 2, [1, .nan])
        }
    }

    // MARK: Frozen parameters

    @Test(arguments: [Optimizer.sgd(SGD(learningRate: 0.1, weightDecay: 0.1)), .adamW(AdamW())], [true, false])
    func frozenParametersKeepTheirBits(_ optimizer: Optimizer, tied: Bool) throws {
        // Middle parts of fused matrices, vectors, the (tied) embedding.
        for pattern in [
            "*k_proj*", "*norm.weight", "model.embed_tokens.weight", "*.up_proj.weight", "model.layers.0.*", "*",
        ] {
            let model = try RandomModel(tied: tied).model()
            try model.setTrainable(false, matching: pattern)
            let before = try model.allBits()
            try Trainer(model, optimizer: optimizer).step(batch)
            for (index, (old, new)) in zip(before, try model.allBits()).enumerated() {
                let name = model.parameters[index].name
                #expect((old == new) == !model.trainable[index], "\(name) with \(pattern) frozen")
            }
        }
    }

    /// The others move as if nothing were frozen.
    @Test func othersMoveAllTheSame() throws {
        let (all, some) = (try RandomModel().model(), try RandomModel().model())
        try some.setTrainable(false, matching: "*k_proj*")
        try some.setTrainable(false, matching: "*.gate_proj.*")
        let start = try all.allValues()
        for model in [all, some] { try Trainer(model, optimizer: .sgd(SGD(learningRate: 0.5))).step(batch) }
        let (a, b) = (try all.allValues(), try some.allValues())
        for index in start.indices where some.trainable[index] {
            #expect(worstChange([b[index]], [a[index]], from: [start[index]]) < 1e-5, "\(some.parameters[index].name)")
        }
    }
}
