import Foundation
import QwenSFTCore
import Testing

/// Ranks that step by themselves between averages.
@Suite(.serialized, .processWide) struct LocalStepsTests {
    private let batch: Batch
    init() throws { batch = try randomBatch([9, 4], vocabulary: 150, seed: 1) }

    /// Steps of each rank by itself, and after three of them the mean: what processes alone come to whose weights somebody averages.
    @Test(arguments: CollectiveTests.Case.all) func localSteps(_ c: CollectiveTests.Case) throws {
        let alone = try [c.trainer(nil), c.trainer(nil)]
        var losses: [[Double]] = [[], []]
        for step in 0..<6 {
            for (rank, trainer) in alone.enumerated() {
                let batches = try CollectiveTests.batches(step: step, rank: rank, of: 2)
                losses[rank].append(batches.isEmpty ? 0 : try trainer.step(accumulating: batches).loss)
            }
            guard step % 3 == 2 else { continue }
            let both = try alone.map { try CollectiveTests.values(of: $0) }
            let mean = zip(both[0], both[1]).map { zip($0, $1).map { $0 / 2 + $1 / 2 } }
            for trainer in alone {
                for (parameter, values) in zip(trainer.parameters, mean) {
                    if let adapter = trainer.adapter {
                        adapter.setValues(values, of: parameter)
                    } else {
                        try trainer.model.setValues(values, of: parameter)
                    }
                }
            }
        }
        let group = RankGroup(2)
        let place = try TestDirectory()
        let path = place.path
        let found = try group.run(localSteps: 3) { collective in
            let trainer = try c.trainer(collective)
            var (losses, refused) = ([Double](), 0)
            for step in 0..<6 {
                let batches = try CollectiveTests.batches(step: step, rank: collective.rank, of: 2)
                losses.append(try trainer.step(accumulating: batches).loss)
                do { try trainer.saveState(to: path + "/\(collective.rank)") } catch { refused += 1 }
            }
            return (values: try CollectiveTests.values(of: trainer), losses: losses, refused: refused)
        }.map { try $0.get() }
        let expected = try CollectiveTests.values(of: alone[0])
        for (rank, result) in found.enumerated() {
            #expect(result.values.map(\.bits) == found[0].values.map(\.bits))
            // Gradients of a process alone may go straight into the weights, with sums in another order: measured up to 2e-7.
            for (a, b) in zip(result.values, expected) {
                #expect(worst(a, b.doubles) < (c.dtype == .float32 ? 1e-5 : 1e-2))
            }
            for (a, b) in zip(result.losses, losses[rank]) { #expect(abs(a - b) < 1e-3 * max(1, b)) }
            #expect(result.refused == 4, "a state is saved where ranks are equal")
        }
        // One comparison at the beginning; a message, matrices and, where there are any, vectors at each average.
        #expect(group.calls == 1 + 2 * (c.lora ? 2 : 3))
    }

    /// The way from average to average as a gradient for SGD with Nesterov's momentum, by hand: what torch's would make of it. Half
    /// of the way is gone with a state that is saved and loaded.
    @Test func outerSteps() throws {
        let outer = OuterOptimizer(learningRate: 0.7, momentum: 0.9)
        let c = CollectiveTests.Case.all[2]
        func mean(_ trainers: [Trainer]) throws -> [[Double]] {
            let both = try trainers.map { try CollectiveTests.values(of: $0) }
            return zip(both[0], both[1]).map { zip($0, $1).map { (Double($0) + Double($1)) / 2 } }
        }
        let alone = try [c.trainer(nil), c.trainer(nil)]
        var weights = try mean(alone)
        var velocity = weights.map { $0.map { _ in 0.0 } }
        for step in 0..<6 {
            for (rank, trainer) in alone.enumerated() {
                let batches = try CollectiveTests.batches(step: step, rank: rank, of: 2)
                if !batches.isEmpty { try trainer.step(accumulating: batches) }
            }
            guard step % 2 == 1 else { continue }
            for (index, values) in try mean(alone).enumerated() {
                for (place, value) in values.enumerated() {
                    let gradient = weights[index][place] - value
                    velocity[index][place] = 0.9 * velocity[index][place] + gradient
                    weights[index][place] -= 0.7 * (gradient + 0.9 * velocity[index][place])
                }
                for trainer in alone {
                    try trainer.model.setValues(weights[index].map(Float.init), of: trainer.parameters[index])
                }
            }
        }
        let place = try TestDirectory()
        let path = place.path
        let found = try RankGroup(2).run(localSteps: 2, outer: outer) { collective in
            func steps(_ trainer: Trainer, _ steps: Range<Int>) throws {
                for step in steps {
                    try trainer.step(
                        accumulating: CollectiveTests.batches(step: step, rank: collective.rank, of: 2))
                }
            }
            let first = try c.trainer(collective)
            try steps(first, 0..<4)
            try first.saveState(to: path + "/\(collective.rank)")
            let snapshot = try first.snapshot()
            let second = try c.trainer(collective)
            for (parameter, values) in zip(first.parameters, try CollectiveTests.values(of: first)) {
                try second.model.setValues(values, of: parameter)
            }
            try second.loadState(from: path + "/\(collective.rank)")
            let other = try Collective(rank: collective.rank, worldSize: 2, localSteps: 2) { _ in }
            let error = #expect(throws: QwenSFTError.self) {
                try c.trainer(other).loadState(from: path + "/\(collective.rank)")
            }
            #expect(error?.message.contains("the state of AdamW and an outer optimizer, but this") == true)
            try steps(second, 4..<6)
            try steps(first, 4..<6)
            try first.restore(snapshot)
            try steps(first, 4..<6)
            return try [first, second].map { try CollectiveTests.values(of: $0) }
        }.map { try $0.get() }
        for values in found.flatMap({ $0 }) {
            #expect(values.map(\.bits) == found[0][0].map(\.bits), "every rank, resumed or not, has the same bits")
        }
        // As above; three outer steps each add up to 1.9 times what the sums differ by.
        for (a, b) in zip(found[0][0], weights) { #expect(worst(a, b) < 1e-5) }
    }

    /// A rank without the others' outer momentum would have other weights after the next average.
    @Test func outerStepsFromOtherStates() throws {
        let batch = batch
        let place = try TestDirectory()
        let path = place.path
        let messages = try RankGroup(2).run(localSteps: 2, outer: OuterOptimizer(momentum: 0.9)) { collective in
            let first = try CollectiveTests.Case.all[2].trainer(collective)
            for _ in 0..<2 { try first.step(batch) }
            try first.saveState(to: path + "/\(collective.rank)")
            let second = try CollectiveTests.Case.all[2].trainer(collective)
            for (parameter, values) in zip(first.parameters, try CollectiveTests.values(of: first)) {
                try second.model.setValues(values, of: parameter)
            }
            if collective.rank == 0 { try second.loadState(from: path + "/0") }
            return (Result { try second.step(batch) }.failure as? QwenSFTError)?.message
        }.map { try $0.get() }
        let expected = "rank 1 has other weights or another optimizer state than rank 0"
        #expect(messages.allSatisfy { $0?.hasPrefix(expected) == true }, "\(messages)")
    }

    @Test func outerStepsOutOfRange() {
        let cases: [(OuterOptimizer, Int, String)] = [
            (.init(learningRate: 0, momentum: 0.9), 2, "outer_lr must be above 0"),
            (.init(learningRate: .infinity), 2, "outer_lr must be above 0"),
            (.init(momentum: 1), 2, "outer_momentum must be at least 0 and below 1"),
            (.init(momentum: 0.9), 1, "need local_steps above 1"),
        ]
        for (outer, steps, message) in cases {
            let result = Result { try Collective(rank: 0, worldSize: 2, localSteps: steps, outer: outer) { _ in } }
            let error = result.failure as? QwenSFTError
            #expect(error?.code == .invalidArgument && error?.message.contains(message) == true, "\(result)")
        }
    }

    @Test func localStepsThatFail() throws {
        let batch = batch
        let others = try RankGroup(2).run(localSteps: 2) { collective in
            let trainer = try CollectiveTests.Case.all[2].trainer(collective)
            if collective.rank == 1 {
                let weight = try trainer.model.parameter(named: "model.norm.weight")
                try trainer.model.setValues(Array(repeating: 0.5, count: weight.count), of: weight)
            }
            return (0..<2).map { _ in Result { try trainer.step(batch) }.failure as? QwenSFTError }.map { $0?.message }
        }.map { try $0.get() }
        #expect(others.allSatisfy { $0[0]?.hasPrefix("rank 1 has other weights") == true }, "\(others)")
        let group = RankGroup(2)
        group.failing = 2
        let lost = try group.run(localSteps: 2) { collective in
            let trainer = try CollectiveTests.Case.all[2].trainer(collective)
            return (0..<3).map { _ in (Result { try trainer.step(batch) }.failure as? QwenSFTError)?.message }
        }.map { try $0.get() }
        for messages in lost {
            #expect(messages[0] == nil)
            #expect(
                messages[1]
                    == "all_reduce failed: Lost(); this rank keeps the weights of its own steps since the last average")
            #expect(messages[2]?.hasPrefix("an earlier step lost the other ranks") == true)
        }
    }

    /// A run's last step is averaged, too.
    @Test func localStepsOfARun() throws {
        let values = try RankGroup(2).run(localSteps: 4) { collective in
            let tiny = fixtures.deletingLastPathComponent().deletingLastPathComponent()
                .appending(path: "Examples/tiny-qwen2").path
            var options = TrainerOptions()
            options.collective = collective
            let trainer = try Trainer(
                Model(directory: tiny), optimizer: .sgd(SGD(learningRate: 0.01)), options: options)
            let rows = (0..<10).map { i in
                [Message(role: "user", content: "\(i)"), Message(role: "assistant", content: "\(i)!")]
            }
            var run = TrainingRunOptions()
            (run.batchSize, run.maxSteps) = (1, 5)
            let training = try TrainingRun(
                trainer, EncodedDataset(Dataset(rows), tokenizer: Tokenizer(directory: tiny)), options: run)
            while try training.next() != nil {}
            return try trainer.model.allBits()
        }.map { try $0.get() }
        #expect(values[0] == values[1])
    }
}

extension Result {
    fileprivate var failure: Failure? {
        if case .failure(let error) = self { error } else { nil }
    }
}
