import Foundation
import QwenSFTCore
import Testing

/// N ranks are one process on the rows of all of them.
@Suite(.serialized, .processWide) struct CollectiveTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let optimizer: Optimizer
        var lora = false
        var clips = false
        var dtype = DType.float32

        static let all: [Case] = [
            .init(testDescription: "SGD", optimizer: .sgd(SGD(learningRate: 0.1))),
            .init(testDescription: "SGD, clipped", optimizer: .sgd(SGD(learningRate: 0.1)), clips: true),
            .init(testDescription: "AdamW", optimizer: .adamW(AdamW(learningRate: 1e-3, epsilon: 1e-4))),
            .init(testDescription: "SGD, LoRA", optimizer: .sgd(SGD(learningRate: 0.02)), lora: true),
            .init(
                testDescription: "AdamW, LoRA", optimizer: .adamW(AdamW(learningRate: 1e-2, epsilon: 1e-4)),
                lora: true),
            .init(
                testDescription: "AdamW, bfloat16", optimizer: .adamW(AdamW(learningRate: 1e-3)), clips: true,
                dtype: .bfloat16),
        ]

        func trainer(_ collective: Collective?) throws -> Trainer {
            let model = try RandomModel().model(dtype: dtype)
            if lora {
                var configuration = LoRAConfiguration()
                configuration.rank = 4
                let adapter = try model.addAdapter(configuration)
                var noise = Noise(5)
                for parameter in adapter.parameters where parameter.name.hasSuffix("lora_B.weight") {
                    adapter.setValues(noise.floats(parameter.count, scale: 0.2), of: parameter)
                }
            }
            var options = TrainerOptions()
            options.maxGradientNorm = clips ? 0.5 : nil
            options.collective = collective
            return try Trainer(model, optimizer: optimizer, options: options)
        }
    }

    static func values(of trainer: Trainer) throws -> [[Float]] {
        if let adapter = trainer.adapter { return adapter.parameters.map { adapter.values(of: $0) } }
        return try trainer.model.allValues()
    }

    /// Unequal: rank 0 has one short row, the next ones more and longer rows, in two batches or one, and the last one in every
    /// other step none.
    static func batches(step: Int, rank: Int, of size: Int) throws -> [Batch] {
        if rank > 0, rank == size - 1, step % 2 == 1 { return [] }
        let lengths = rank == 0 ? [3 + step] : [9, 4 + rank, 12 + step]
        var batches = [
            try randomBatch(lengths, vocabulary: 150, seed: 100 * step + rank, supervised: rank == 0 ? 100 : 40)
        ]
        if rank == 1 { batches.append(try randomBatch([6], vocabulary: 150, seed: 7 * step)) }
        return batches
    }

    @Test(arguments: Case.all, [2, 4])
    func ranksAreOneProcess(_ c: Case, ranks: Int) throws {
        let steps = 10
        let alone = try c.trainer(nil)
        let start = try Self.values(of: alone)
        var expected: [StepMetrics] = []
        for step in 0..<steps {
            let all = try (0..<ranks).flatMap { try Self.batches(step: step, rank: $0, of: ranks) }
            expected.append(try alone.step(accumulating: all))
        }
        let results = RankGroup(ranks).run(checkInterval: 3) { collective in
            let trainer = try c.trainer(collective)
            let metrics = try (0..<steps).map {
                try trainer.step(accumulating: Self.batches(step: $0, rank: collective.rank, of: ranks))
            }
            return (values: try Self.values(of: trainer), metrics: metrics)
        }
        let found = try results.map { try $0.get() }
        for rank in found {
            #expect(rank.values.map(\.bits) == found[0].values.map(\.bits))
            #expect(rank.metrics.map(\.loss) == found[0].metrics.map(\.loss))
            #expect(rank.metrics.map(\.gradientNorm) == found[0].metrics.map(\.gradientNorm))
            for (mine, joint) in zip(rank.metrics, expected) {
                #expect(mine.supervisedTokens == joint.supervisedTokens && mine.gradientNorm != nil)
                // bfloat16 rounds at random: a difference in the last bits of a gradient is one of a whole step of some weights.
                #expect(abs(mine.loss / joint.loss - 1) < (c.dtype == .float32 ? 1e-5 : 1e-3))
            }
        }
        guard c.dtype == .float32 else { return }
        // Of the largest weight of each parameter after ten steps; measured up to 7e-7.
        let after = try Self.values(of: alone)
        for (a, b) in zip(found[0].values, after) { #expect(worst(a, b.doubles) < 1e-5) }
        #expect(worstChange(found[0].values, after, from: start) < 1e-3)
    }

    /// What becomes of `trainer.step` on every rank, and of its weights.
    private func outcomes(
        _ ranks: Int, _ optimizer: Optimizer = .sgd(SGD()), group: RankGroup? = nil,
        prepare: @escaping @Sendable (Trainer) throws -> Void = { _ in },
        _ step: @escaping @Sendable (Trainer, Int) throws -> Void
    ) throws -> [QwenSFTError?] {
        let group = group ?? RankGroup(ranks)
        return try group.run { collective in
            let trainer = try Case(testDescription: "", optimizer: optimizer).trainer(collective)
            try prepare(trainer)
            let before = try trainer.model.allBits()
            do {
                try step(trainer, collective.rank)
                return nil
            } catch {
                #expect(try trainer.model.allBits() == before && trainer.stepCount == 0)
                return error as? QwenSFTError
            }
        }.map { try $0.get() }
    }

    private let batch: Batch
    init() throws { batch = try randomBatch([9, 4], vocabulary: 150, seed: 1) }

    @Test func nothingToLearn() throws {
        let batch = batch
        // One rank without targets, one without rows.
        let some = try outcomes(3) { trainer, rank in
            let own = rank == 0 ? [batch] : rank == 1 ? [try makeBatch([[1, 2]], labels: [[1, -1]])] : []
            try trainer.step(accumulating: own)
        }
        #expect(some == [nil, nil, nil])
        let none = try outcomes(2) { trainer, rank in try trainer.step(makeBatch([[1, 2]], labels: [[1, -1]])) }
        #expect(none.map { $0?.code } == [.noSupervisedTokens, .noSupervisedTokens])
    }

    @Test func oneRankIsCancelled() throws {
        let batch = batch
        for stop in [1, 2, 5] {
            let errors = try outcomes(3) { trainer, rank in
                var asked = 0
                try trainer.step(batch) { _, _ in
                    asked += 1
                    return rank != 1 || asked < stop
                }
            }
            #expect(errors.map { $0?.code } == [.cancelled, .cancelled, .cancelled])
            #expect(errors[0]?.message == "rank 1 of 3 left the step (cancelled), so all did; nothing was changed")
            #expect(errors[1]?.message == "cancelled before the model was changed")
        }
    }

    @Test func oneRankFails() throws {
        let batch = batch
        let ids = try outcomes(2, .adamW(AdamW())) { trainer, rank in
            try trainer.step(rank == 1 ? makeBatch([[1, 150]]) : batch)
        }
        #expect(ids.map { $0?.code } == [.invalidArgument, .invalidArgument])
        #expect(ids[1]?.message.hasPrefix("input_ids: row 0, position 1: 150 is not in") == true)
        // Made within the step.
        let making = try outcomes(2) { trainer, rank in
            _ = try trainer.step { () throws(QwenSFTError) in
                if rank == 0 { throw QwenSFTError(.io, "no data") }
                return [batch]
            }
        }
        #expect(making.map { $0?.code } == [.io, .io] && making[0]?.message == "no data")
        // Another adapter is set than the one that is trained.
        let adapters = try outcomes(2) { trainer, rank in
            if rank == 1 { try trainer.model.addAdapter() }
            try trainer.step(batch)
        }
        #expect(adapters.map { $0?.code } == [.invalidArgument, .invalidArgument])
        // The next step of the same trainers works.
        let again = try outcomes(2) { trainer, rank in
            do { try trainer.step(rank == 1 ? makeBatch([[1, 150]]) : batch) } catch { try trainer.step(batch) }
        }
        #expect(again == [nil, nil])
    }

    @Test func ranksThatDiffer() throws {
        let batch = batch
        let rates = try outcomes(2) { trainer, rank in
            if rank == 1 { try trainer.setLearningRate(0.5) }
            try trainer.step(batch)
        }
        #expect(rates.allSatisfy { $0?.message.hasPrefix("rank 1 has another optimizer, learning rate") == true })
        let weights = try outcomes(
            2,
            prepare: { trainer in
                if trainer.options.collective?.rank == 1 {
                    let norm = try trainer.model.parameter(named: "model.norm.weight")
                    var values = try trainer.model.values(of: norm)
                    values[3] = values[3].nextUp
                    try trainer.model.setValues(values, of: norm)
                }
            }, { trainer, _ in try trainer.step(batch) })
        #expect(weights.allSatisfy { $0?.message.hasPrefix("rank 1 has other weights") == true })
    }

    /// Sums whose bits are not the same on all ranks are noticed at the next comparison.
    @Test func differentBits() throws {
        let batch = batch
        let group = RankGroup(2)
        group.damages = (1, 4)
        let results = group.run(checkInterval: 4) { collective in
            let trainer = try Case.all[2].trainer(collective)
            for _ in 0..<8 { try trainer.step(batch) }
        }
        for result in results {
            let error = #expect(throws: QwenSFTError.self) { try result.get() }
            let beginning = "rank 1 has other weights or another optimizer state than rank 0 after 4 steps"
            #expect(error?.message.hasPrefix(beginning) == true)
        }
    }

    /// An engine that fails: an error, nothing changed, and no step afterwards, whose sums could be of other numbers.
    @Test(arguments: 1...4)
    func engineFails(_ call: Int) throws {
        let batch = batch
        let group = RankGroup(2)
        group.failing = call
        let errors = try outcomes(2, group: group) { trainer, _ in
            let error = #expect(throws: QwenSFTError.self) { try trainer.step(batch) }
            #expect(error?.code == .io && error?.message == "all_reduce failed: Lost(); nothing was changed")
            try trainer.step(batch)
        }
        for error in errors {
            #expect(error?.code == .io && error?.message.hasPrefix("an earlier step lost the other ranks") == true)
        }
    }

    /// Functions that are no sums.
    @Test func noSum() throws {
        for (factor, message) in [
            (1 as Float, "all_reduce does not add up over 2 ranks: nothing arrived from rank 1"),
            (0.5, "all_reduce does not add up over ranks of"),
        ] {
            var options = TrainerOptions()
            options.collective = try Collective(rank: 0, worldSize: 2) { values in
                for index in values.indices { values[index] *= factor }
            }
            let trainer = try Trainer(try RandomModel().model(), options: options)
            let error = #expect(throws: QwenSFTError.self) { try trainer.step(batch) }
            #expect(error?.code == .invalidArgument && error?.message.hasPrefix(message) == true)
        }
        for (rank, size) in [(0, 0), (2, 2), (-1, 2), (0, 1 << 20)] {
            #expect(throws: QwenSFTError.self) { try Collective(rank: rank, worldSize: size) { _ in } }
        }
    }

    /// One rank is a process alone, and is never asked to communicate.
    @Test func aWorldOfOne() throws {
        var options = TrainerOptions()
        options.collective = try Collective(rank: 0, worldSize: 1) { _ in throw RankGroup.Lost() }
        let trainer = try Trainer(try RandomModel().model(), options: options)
        #expect(try trainer.step(batch).gradientNorm == nil)
    }

    /// Dropout is drawn anew on every rank; the world's size belongs to the state.
    @Test func stateAndDropout() throws {
        let (batch, directory) = (batch, try TestDirectory())
        let path = directory.path + "/state"
        @Sendable func trainer(_ collective: Collective?) throws -> Trainer {
            let model = try RandomModel().model()
            var configuration = LoRAConfiguration()
            (configuration.rank, configuration.dropout) = (4, 0.5)
            try model.addAdapter(configuration)
            var options = TrainerOptions()
            options.collective = collective
            return try Trainer(model, optimizer: .adamW(AdamW()), options: options)
        }
        let losses = RankGroup(2).run { collective in
            let trainer = try trainer(collective)
            let losses = try (0..<3).map { _ in try trainer.step(batch).loss }
            if collective.rank == 0 { try trainer.saveState(to: path) }
            return losses
        }.map { try? $0.get() }
        #expect(losses[0] == losses[1] && losses[0] != nil)
        let alone = try trainer(nil)
        let aloneLosses = try (0..<3).map { _ in try alone.step(batch).loss }
        #expect(losses[0]?[0] == aloneLosses[0] && losses[0]?[2] != aloneLosses[2])
        let error = #expect(throws: QwenSFTError.self) { try alone.loadState(from: path) }
        #expect(error?.message == "state: was saved with world_size 2, and this trainer's is 1")
    }
}
