import QwenSFTCore
import Testing

/// What must not matter to a step does not: losses and new weights change by rounding only, or not at all.
///
/// Rounding: over three steps weights differ by up to 9e-6 of the largest change of their parameter, losses by 1e-7
/// (measured; biases of keys apart, whose gradients are nothing but rounding). Tolerances leave a factor of five.
@Suite(.serialized, .processWide) struct InvarianceTests {
    struct Outcome {
        let start: [[Float]]
        let losses: [Double]
        let weights: [[Float]]
    }

    /// Three steps of `optimizer`, each on all of `batches`.
    private func train(
        _ batches: [Batch], _ optimizer: Optimizer = .sgd(SGD(learningRate: 0.5)),
        model spec: RandomModel = RandomModel(),
        logitBudget: Int? = nil, _ change: (inout TrainerOptions) -> Void = { _ in }
    ) throws -> Outcome {
        // Without key biases: softmax does not see them, so that their gradients are rounding alone.
        let model = try spec.model()
        if !spec.qkNorm { try model.setTrainable(false, matching: "*k_proj.bias") }
        if let logitBudget { model.logitBudget = logitBudget }
        var options = TrainerOptions()
        change(&options)
        let start = try model.allValues()
        let trainer = try Trainer(model, optimizer: optimizer, options: options)
        let losses = try (0..<3).map { _ in try trainer.step(accumulating: batches).loss }
        return Outcome(start: start, losses: losses, weights: try model.allValues())
    }

    private func expectSame(
        _ a: Outcome, _ b: Outcome, to tolerance: Double = 4.5e-5, _ what: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for (a, b) in zip(a.losses, b.losses) {
            #expect(abs(a / b - 1) < 5e-7, "\(what)", sourceLocation: sourceLocation)
        }
        #expect(worstChange(a.weights, b.weights, from: b.start) < tolerance, "\(what)", sourceLocation: sourceLocation)
    }

    private func expectEqualBits(_ a: Outcome, _ b: Outcome, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(a.losses == b.losses, sourceLocation: sourceLocation)
        #expect(a.weights.map(\.bits) == b.weights.map(\.bits), sourceLocation: sourceLocation)
    }

    // MARK: The batch

    @Test func paddingColumns() throws {
        let narrow = try randomBatch([9, 4, 12], vocabulary: 150, seed: 1)
        let wide = try randomBatch([9, 4, 12], vocabulary: 150, seed: 1, columns: 40)
        expectEqualBits(try train([narrow]), try train([wide]))
    }

    @Test func paddingContent() throws {
        let batch = try randomBatch([9, 4, 12], vocabulary: 150, seed: 1)
        let ids = zip(batch.inputIDs, batch.attentionMask).map { $1 == 1 ? $0 : -7 }
        let other = try Batch(
            inputIDs: ids, labels: batch.labels, attentionMask: batch.attentionMask, rows: batch.rows,
            columns: batch.columns)
        expectEqualBits(try train([batch]), try train([other]))
    }

    /// Tokens after the last supervised one, and rows without any.
    @Test func unsupervisedEnds() throws {
        let short = try makeBatch([[1, 2, 3, 4], [9, 8, 7]], labels: [[-1, -1, 3, 4], [-1, 8, 7]])
        let long = try makeBatch(
            [[1, 2, 3, 4, 50, 60, 70, 80], [9, 8, 7, 6], [5, 5, 5]],
            labels: [[-1, -1, 3, 4, -1, -1, -1, -1], [-1, 8, 7, -1], [5, -1, -1]])
        expectEqualBits(try train([short]), try train([long]))
    }

    @Test func orderOfRows() throws {
        let sequences = [[1, 2, 3, 4, 5, 6], [7, 8, 9], [20, 30, 40, 50, 60], [1, 2, 3, 90]]
        let batch = try makeBatch(sequences)
        let turned = try makeBatch(sequences.reversed())
        expectSame(try train([batch]), try train([turned]))
    }

    @Test(arguments: [
        Optimizer.sgd(SGD(learningRate: 0.5)), .sgd(SGD(learningRate: 0.2, momentum: 0.9, weightDecay: 0.01)),
        .adamW(AdamW(learningRate: 0.01, epsilon: 1e-3)),
    ])
    func accumulation(_ optimizer: Optimizer) throws {
        // Rows of very different numbers of targets: the mean is over all of them, not over batches.
        let whole = try randomBatch([3, 20, 5, 9, 2, 14, 7, 30], vocabulary: 150, seed: 5)
        let pieces = try (0..<8).map { row in
            let cells = row * whole.columns..<(row + 1) * whole.columns
            return try Batch(
                inputIDs: Array(whole.inputIDs[cells]), labels: Array(whole.labels[cells]),
                attentionMask: Array(whole.attentionMask[cells]), rows: 1, columns: whole.columns)
        }
        expectSame(try train([whole], optimizer), try train(pieces, optimizer))
    }

    // MARK: The way it is computed

    @Test(arguments: [
        ("equal conversations", [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]),
        ("a system prompt", [Array(1...20) + [30, 31], Array(1...20) + [40], Array(1...20) + [50, 51, 52]]),
        ("one a beginning of another", [Array(1...10), Array(1...18), Array(1...14)]),
        (
            "turns",
            [Array(1...9) + [30, 31, 32, 33], Array(1...9) + [30, 31, 40], Array(1...9) + [30, 31, 40, 41], [2, 1]]
        ),
        ("long", [(0..<200).map { $0 % 90 } + [5], (0..<200).map { $0 % 90 } + [6, 7]]),
    ])
    func sharedBeginnings(name: String, sequences: [[Int]]) throws {
        let batch = try makeBatch(sequences)
        expectSame(try train([batch]), try train([batch]) { $0.sharesPrefixes = false })
        // Different targets and weights at the same rows.
        var noise = Noise(3)
        let labels = sequences.map { $0.map { _ in noise.below(150) } }
        let weights = sequences.map { $0.map { _ in Float(noise.below(5)) / 4 } }
        let other = try makeBatch(sequences, labels: labels, weights: weights)
        expectSame(try train([other]), try train([other]) { $0.sharesPrefixes = false })
    }

    /// Ten turns with thinking under Qwen3's template are ten rows; together they cost little more than the conversation written
    /// out once, and teach what they teach one by one.
    @Test func rowsOfAConversationWithThinking() throws {
        let tokenizer = try qwen2Tokenizer()
        let path = fixtureDirectory + "/chat-templates/qwen3.jinja"
        let template = try FileContents(path).withBytes { (bytes) throws(QwenSFTError) in
            ChatTemplate(String(decoding: bytes, as: UTF8.self), name: path)
        }
        let thought = "First the tens, then the ones, then both together, and once more to be sure of it: that is"
        let conversation = (1...10).flatMap { i in
            [
                Message(role: "user", content: "And how much is \(i) and \(i)?"),
                Message(
                    role: "assistant", content: "It is \(2 * i).",
                    fields: #"{"reasoning_content": "\#(thought) \#(2 * i)"}"#),
            ]
        }
        let batch = try Batch(
            [conversation], tokenizer: tokenizer, options: .init(labelPolicy: .assistant, template: template))
        #expect(batch.rows == 10)
        // The same rows with ids that a small model has.
        var small: [Int64: Int] = [:]
        for id in batch.inputIDs where small[id] == nil { small[id] = small.count }
        #expect(small.count <= 150)
        let cells = (0..<batch.rows).map { row in
            (row * batch.columns..<(row + 1) * batch.columns).filter { batch.attentionMask[$0] == 1 }
        }
        let sequences = cells.map { $0.map { small[batch.inputIDs[$0]] ?? 0 } }
        let labels = cells.map { $0.map { batch.labels[$0] < 0 ? -1 : small[batch.labels[$0]] ?? 0 } }
        let text = (1...10).map { i in
            "<|im_start|>user\nAnd how much is \(i) and \(i)?<|im_end|>\n<|im_start|>assistant\n"
                + "<think>\n\(thought) \(2 * i)\n</think>\n\nIt is \(2 * i).<|im_end|>\n"
        }
        let written = try tokenizer.encode(text.joined()).count
        let computed = RowLayout(sequences.map { $0.map(Int32.init) }, sharing: true).ids.count
        #expect(Double(computed) <= 1.3 * Double(written), "\(computed) tokens computed, \(written) written")
        let rows = try makeBatch(sequences, labels: labels)
        expectSame(try train([rows]), try train([rows]) { $0.sharesPrefixes = false })
    }

    @Test(arguments: [Optimizer.sgd(SGD(learningRate: 0.5)), .adamW(AdamW(learningRate: 0.01))], [false, true])
    func recomputation(_ optimizer: Optimizer, qkNorm: Bool) throws {
        let batch = try randomBatch([30, 140, 12], vocabulary: 150, seed: 6)
        let spec = RandomModel(layers: 3, qkNorm: qkNorm)
        expectEqualBits(
            try train([batch], optimizer, model: spec),
            try train([batch], optimizer, model: spec) { $0.recomputation = true })
    }

    /// The head's matrix is written tile by tile, each after its last use: with more supervised rows than fit into the
    /// budget the step is that of one tile.
    @Test(arguments: [true, false], [0, 0.02])
    func tilesOfTheVocabulary(tied: Bool, decay: Double) throws {
        let batch = try randomBatch([60, 90], vocabulary: 150, seed: 7, supervised: 90)
        let spec = RandomModel(tied: tied)
        let optimizer = Optimizer.sgd(SGD(learningRate: 0.5, weightDecay: decay))
        let whole = try train([batch], optimizer, model: spec)
        for budget in [1, 128 * 135] {  // tiles of 64, and of 128
            expectSame(try train([batch], optimizer, model: spec, logitBudget: budget), whole, "budget \(budget)")
        }
        // And that of gradients which were buffered until nothing needed the weights any more.
        expectSame(
            try train([batch], optimizer, model: spec, logitBudget: 1) { $0.maxGradientNorm = 1e30 }, whole, "buffered")
    }

    @Test(arguments: [(true, false), (false, false), (true, true)], [0, 0.02])
    func updatesInPlace(_ form: (tied: Bool, qkNorm: Bool), decay: Double) throws {
        let batch = try randomBatch([20, 3, 11], vocabulary: 150, seed: 8)
        let spec = RandomModel(heads: 2, keyValueHeads: 2, tied: form.tied, qkNorm: form.qkNorm)
        let optimizer = Optimizer.sgd(SGD(learningRate: 0.5, weightDecay: decay))
        for decaysVectors in [true, false] {
            let direct = try train([batch], optimizer, model: spec) { $0.decaysVectors = decaysVectors }
            let buffered = try train([batch], optimizer, model: spec) {
                $0.decaysVectors = decaysVectors
                $0.maxGradientNorm = 1e30
            }
            expectSame(direct, buffered)
        }
    }

    @Test(arguments: [Optimizer.sgd(SGD(learningRate: 0.5)), .adamW(AdamW(learningRate: 0.01, epsilon: 1e-3))])
    func threads(_ optimizer: Optimizer) throws {
        let batch = try randomBatch([30, 140, 12], vocabulary: 150, seed: 9)
        let outcomes = try (1...3).map { threads in
            try with(threads: threads) {
                let first = try train([batch], optimizer)
                expectEqualBits(first, try train([batch], optimizer))
                return first
            }
        }
        expectSame(outcomes[1], outcomes[0])
        expectSame(outcomes[2], outcomes[0])
    }

    // MARK: Clipping

    @Test func clippingScalesTheWholeGradient() throws {
        let batch = try randomBatch([20, 9], vocabulary: 150, seed: 10)
        let model = try RandomModel().model()
        let start = try model.allValues()
        let trainer = try Trainer(model, optimizer: .sgd(SGD(learningRate: 1)))
        let norms = try trainer.gradientNorms(batch)
        let norm = norms.reduce(0) { $0 + $1 * $1 }.squareRoot()
        var options = TrainerOptions()
        options.maxGradientNorm = norm / 4
        let clipped = try Trainer(model, optimizer: .sgd(SGD(learningRate: 1)), options: options)
        let metrics = try clipped.step(batch)
        #expect(abs(try #require(metrics.gradientNorm) / norm - 1) < 1e-6)
        let moved = zip(try model.allValues(), start).reduce(0.0) { sum, pair in
            zip(pair.0, pair.1).reduce(sum) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
        }
        #expect(abs(moved.squareRoot() / (norm / 4) - 1) < 1e-4)
    }
}
