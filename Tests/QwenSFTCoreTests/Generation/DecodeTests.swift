import CKernels
import QwenSFTCore
import Testing

/// Decoding and prompts in pieces against one plain forward pass over the same tokens.
@Suite(.serialized, .processWide) struct DecodeTests {
    /// float32 sums in another order; bfloat16 rounds keys, values and probabilities once more.
    static let tolerances: [(DType, Double)] = [(.float32, 2e-5), (.bfloat16, 3e-2)]

    func plain(_ model: Model, _ ids: [Int32]) throws -> [Float] {
        let all = try model.forward(ids.map(Int64.init), rows: 1, columns: ids.count)
        return Array(all.suffix(model.configuration.vocabularySize))
    }

    func randomIDs(_ count: Int, _ model: Model) -> [Int32] {
        var random = RandomSource(seed: 3)
        return (0..<count).map { _ in Int32(random.below(model.configuration.vocabularySize)) }
    }

    @Test(arguments: ModelFixture.all)
    func oneTokenAtATime(_ fixture: ModelFixture) throws {
        for (dtype, tolerance) in Self.tolerances {
            let model = try fixture.model(dtype: dtype)
            let ids = randomIDs(37, model)
            let expected = try plain(model, ids)
            #expect(worst(try model.cachedLogits(ids.map { [$0] }), expected) < tolerance, "\(dtype) decoded")
            #expect(worst(try model.cachedLogits([ids]), expected) < tolerance, "\(dtype) at once")
            let pieces = [Array(ids[..<5]), [ids[5]], Array(ids[6..<20]), [ids[20]], Array(ids[21...])]
            #expect(worst(try model.cachedLogits(pieces), expected) < tolerance, "\(dtype) in pieces")
        }
    }

    /// Across the blocks of the cache (256 tokens), of attention (128 queries) and of a prompt (512 tokens).
    @Test(arguments: [255, 256, 257, 513, 700])
    func longContexts(_ count: Int) throws {
        for (dtype, tolerance) in Self.tolerances {
            let model = try Model(directory: tinyModelDirectory, dtype: dtype)
            let ids = randomIDs(count, model)
            let expected = try plain(model, ids)
            #expect(worst(try model.cachedLogits([ids]), expected) < tolerance, "\(dtype) at once")
            let decoded = [Array(ids.dropLast(6))] + ids.suffix(6).map { [$0] }
            #expect(worst(try model.cachedLogits(decoded), expected) < tolerance, "\(dtype) decoded")
            let pieces = [Array(ids[..<131]), Array(ids[131..<250]), Array(ids[250...])]
            #expect(worst(try model.cachedLogits(pieces), expected) < tolerance, "\(dtype) in pieces")
        }
    }

    @Test(arguments: [InstructionSet.plain, .avx2, .avx512])
    func otherProcessors(_ set: InstructionSet) throws {
        for (dtype, tolerance) in Self.tolerances {
            let model = try Model(directory: tinyModelDirectory, dtype: dtype)
            let ids = randomIDs(40, model)
            try withInstructionSet(set) {
                let expected = try plain(model, ids)
                let decoded = [Array(ids.dropLast(6))] + ids.suffix(6).map { [$0] }
                #expect(worst(try model.cachedLogits(decoded), expected) < tolerance, "\(dtype)")
            }
        }
    }

    /// Weights of so many magnitudes that their list of exceptions would be larger than they are.
    @Test func losslessIsRefusedWhereItIsNotWorthIt() throws {
        let directory = try TestDirectory()
        try RandomModel(hidden: 128).write(to: directory) { tensors in
            for i in tensors[0].values.indices {
                tensors[0].values[i] = Float(sign: .plus, exponent: i % 200 - 100, significand: 1)
            }
        }
        expectError(
            .unsupported,
            "model.embed_tokens.weight: more than one weight in 16 has no code of 4 bits; it does not fit into 12 bits"
        ) {
            try Model(directory: directory.path, quantization: .lossless)
        }
    }

    @Test func threadsDoNotChangeTheAnswer() throws {
        let model = try Model(directory: tinyModelDirectory, dtype: .bfloat16)
        let ids = randomIDs(40, model)
        let before = ThreadPool.shared.threads
        defer { ThreadPool.shared.threads = before }
        var answers: [[Int32]] = []
        for threads in [1, 2, 3, 5] {
            ThreadPool.shared.threads = threads
            answers.append(try model.generate(ids, options: .greedy))
        }
        #expect(Set(answers).count == 1)
    }

    /// Logits and weights in 8, 6 and 4 bits beside float32: a step is four times as large each time.
    @Test(arguments: [(Quantization.int8, 0.1, 0.501 / 127), (.int6, 0.4, 0.05), (.int4, 1.6, 0.25)]) func quantized(
        _ quantization: Quantization, _ logits: Double, _ weights: Double
    ) throws {
        let model = try Model(directory: tinyModelDirectory, quantization: quantization)
        let reference = try Model(directory: tinyModelDirectory, dtype: .float32)
        let ids = randomIDs(300, model)
        let expected = try plain(reference, ids)
        #expect(worst(try plain(model, ids), expected) < logits)
        #expect(worst(try model.cachedLogits([ids]), expected) < logits)
        #expect(worst(try model.cachedLogits([Array(ids.dropLast(5))] + ids.suffix(5).map { [$0] }), expected) < logits)
        for parameter in model.parameters {
            #expect(worst(try model.values(of: parameter), try reference.values(of: parameter)) < weights)
        }
        #expect(try model.clone().generate(ids, options: .greedy) == model.generate(ids, options: .greedy))
    }

    /// The same weights as bfloat16 in fewer bits: logits differ by the order of sums alone.
    @Test func lossless() throws {
        let model = try Model(directory: tinyModelDirectory, quantization: .lossless)
        let reference = try Model(directory: tinyModelDirectory, dtype: .bfloat16)
        let ids = randomIDs(300, model)
        #expect(worst(try plain(model, ids), try plain(reference, ids)) < 1e-5)
        let pieces = [Array(ids.dropLast(5))] + ids.suffix(5).map { [$0] }
        #expect(worst(try model.cachedLogits(pieces), try reference.cachedLogits(pieces)) < 3e-2)
        for parameter in model.parameters {
            #expect(try model.values(of: parameter) == reference.values(of: parameter), "\(parameter.name)")
        }
        let answer = try model.generate(ids, options: .greedy)
        #expect(try model.clone().generate(ids, options: .greedy) == answer)
        let before = ThreadPool.shared.threads
        defer { ThreadPool.shared.threads = before }
        for threads in [1, 3] {
            ThreadPool.shared.threads = threads
            let again = try Model(directory: tinyModelDirectory, quantization: .lossless)
            #expect(try again.generate(ids, options: .greedy) == answer)
        }
        expectError(.unsupported, "the model was opened in lossless, not with full weights; it cannot be saved") {
            try model.save(to: "/tmp/never")
        }
    }

    /// Matrices with fewer elements than a worker's share of a large one are read completely.
    @Test(arguments: Quantization.allCases) func threadsDoNotChangeWhatIsRead(_ quantization: Quantization) throws {
        let directory = try TestDirectory()
        try RandomModel().write(to: directory)
        let before = ThreadPool.shared.threads
        defer { ThreadPool.shared.threads = before }
        var all: [[[Float]]] = []
        for threads in [1, 2, 5] {
            ThreadPool.shared.threads = threads
            let model = try Model(directory: directory.path, quantization: quantization)
            all.append(try model.parameters.map { try model.values(of: $0) })
        }
        #expect(all[1] == all[0] && all[2] == all[0])
    }

    @Test func eightBitsCannotBeChanged() throws {
        let model = try Model(directory: tinyModelDirectory, quantization: .int8)
        let prefix = "the model was opened in int8, not with full weights; "
        expectError(.unsupported, prefix + "it cannot be saved") { try model.save(to: "/tmp/never") }
        let norm = try model.parameter(named: "model.norm.weight")
        let values = try model.values(of: norm)
        expectError(.unsupported, prefix + "its values cannot be replaced") { try model.setValues(values, of: norm) }
        let trainer = try Trainer(model)
        let batch = try Batch(
            inputIDs: [1, 2, 3, 4], labels: [-100, -100, 3, 4], attentionMask: [1, 1, 1, 1], tokenWeights: nil, rows: 1,
            columns: 4)
        expectError(.unsupported, prefix + "only an adapter can be trained on it") { try trainer.step(batch) }
        #expect(try trainer.evaluate(batch).loss.isFinite)
    }
}
