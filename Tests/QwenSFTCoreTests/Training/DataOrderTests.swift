import QwenSFTCore
import Testing

@Suite struct DataOrderTests {
    private let lengths = (0..<23).map { ($0 * 7) % 19 + 1 }

    @Test func everyEpochHasEveryRowOnceInAnOrderOfItsOwn() {
        let order = DataOrder(lengths: lengths, rowsPerStep: 4, seed: 3)
        var seen: Set<[Int]> = []
        for epoch in 0..<5 {
            let steps = order.steps(ofEpoch: epoch)
            #expect(steps.count == order.stepsPerEpoch)
            #expect(steps.map(\.count) == [4, 4, 4, 4, 4, 3])
            let rows = steps.flatMap { Array($0) }
            #expect(rows.sorted() == Array(lengths.indices))
            #expect(rows == order.steps(ofEpoch: epoch).flatMap { Array($0) }, "the same every time")
            seen.insert(rows)
        }
        #expect(seen.count == 5)
        let other = DataOrder(lengths: lengths, rowsPerStep: 4, seed: 4).steps(ofEpoch: 0).flatMap { Array($0) }
        #expect(!seen.contains(other))
    }

    @Test(arguments: [1, 5, 20, 40, 57, 1000]) func tokensOfAStep(budget: Int) {
        let order = DataOrder(lengths: lengths, rowsPerStep: 8, tokensPerStep: budget, seed: 3)
        let (tokens, longest) = (lengths.reduce(0, +), 19)
        #expect(order.stepsPerEpoch == min(23, (tokens + budget - 1) / budget))
        var seen: Set<[Int]> = []
        for epoch in 0..<20 {
            let steps = order.steps(ofEpoch: epoch)
            #expect(steps.count == order.stepsPerEpoch && steps.allSatisfy { !$0.isEmpty })
            #expect(steps.flatMap { Array($0) }.sorted() == Array(lengths.indices))
            seen.insert(steps.flatMap { Array($0) })
            if order.stepsPerEpoch == 23 { continue }
            for step in steps {
                let sum = step.reduce(0) { $0 + lengths[$1] }
                #expect(abs(sum - tokens / order.stepsPerEpoch) <= longest && sum < budget + longest)
            }
        }
        #expect(seen.count == 20)
    }

    @Test func withoutSeedTheOrderIsThatOfTheData() {
        let order = DataOrder(lengths: lengths, rowsPerStep: 5, seed: nil)
        #expect(order.steps(ofEpoch: 2).flatMap { Array($0) } == Array(lengths.indices))
    }

    @Test func everyPlaceIsAboutEquallyLikely() {
        // Where row 0 ends up over many epochs: each of 4 places a quarter of the time.
        let order = DataOrder(lengths: [1, 1, 1, 1], rowsPerStep: 4, seed: 1)
        var counts = [0, 0, 0, 0]
        for epoch in 0..<4000 { counts[order.steps(ofEpoch: epoch)[0].firstIndex(of: 0)!] += 1 }
        for count in counts { #expect(abs(count - 1000) < 120) }
    }

    @Test(arguments: [1, 2, 3, 40]) func passesHoldEveryRowAndRespectTheLimit(count: Int) {
        let order = DataOrder(lengths: lengths, rowsPerStep: 23, seed: nil)
        for maxTokens in [nil, 1000, 60, 20, 3] as [Int?] {
            let passes = order.passes(0..<23, count: count, maxTokens: maxTokens)
            #expect(passes.flatMap { $0 }.sorted() == Array(0..<23))
            #expect(passes.count >= min(count, 23))
            #expect(passes.allSatisfy { !$0.isEmpty })
            for pass in passes where pass.count > 1 {
                #expect(pass.reduce(0) { $0 + lengths[$1] } <= maxTokens ?? .max)
            }
        }
    }

    @Test func thereAreNoMorePassesThanTheTokensTake() {
        let order = DataOrder(lengths: Array(repeating: 10, count: 12), rowsPerStep: 12, seed: nil)
        for (maxTokens, expected) in [(30, 4), (31, 4), (29, 6), (120, 1), (119, 2), (1, 12)] {
            #expect(order.passes(0..<12, count: 1, maxTokens: maxTokens).count == expected)
        }
    }

    @Test func passesAreAboutEquallyLong() {
        let order = DataOrder(lengths: [100, 1, 1, 1, 50, 49], rowsPerStep: 6, seed: nil)
        let tokens = order.passes(0..<6, count: 2, maxTokens: nil).map { $0.reduce(0) { $0 + order.lengths[$1] } }
        #expect(tokens.sorted() == [100, 102] || tokens.sorted() == [101, 101])
    }
}

extension DataOrder {
    fileprivate func passes(_ rows: Range<Int>, count: Int, maxTokens: Int?) -> [[Int]] {
        passes(Array(rows)[...], count: count, maxTokens: maxTokens)
    }
}

@Suite struct LearningRateScheduleTests {
    private func factors(_ shape: LearningRateSchedule.Shape, warmup: Int, of total: Int) -> [Double] {
        (0..<total).map { LearningRateSchedule(shape, warmupSteps: warmup).factor(step: $0, of: total) }
    }

    private func close(_ a: [Double], _ b: [Double]) -> Bool {
        zip(a, b).allSatisfy { abs($0 - $1) < 1e-12 } && a.count == b.count
    }

    @Test func goUpAndDownAsDefined() {
        #expect(factors(.constant, warmup: 0, of: 3) == [1, 1, 1])
        #expect(close(factors(.constant, warmup: 4, of: 6), [0, 0.25, 0.5, 0.75, 1, 1]))
        #expect(close(factors(.linear, warmup: 0, of: 4), [1, 0.75, 0.5, 0.25]))
        #expect(close(factors(.linear, warmup: 2, of: 6), [0, 0.5, 1, 0.75, 0.5, 0.25]))
        let half = 0.5.squareRoot()
        #expect(close(factors(.cosine, warmup: 0, of: 4), [1, (1 + half) / 2, 0.5, (1 - half) / 2]))
    }

    @Test func nothingIsNegativeOrAboveOne() {
        for shape in LearningRateSchedule.Shape.allCases {
            for (warmup, total) in [(0, 1), (5, 3), (3, 3), (100, 1000)] {
                for factor in factors(shape, warmup: warmup, of: total) { #expect(factor >= 0 && factor <= 1) }
                // Beyond the end, too.
                let schedule = LearningRateSchedule(shape, warmupSteps: warmup)
                #expect((0...1).contains(schedule.factor(step: 10 * total + 1, of: total)))
            }
            // No number overflows.
            for (step, warmup, total) in [(Int.max, Int.min, Int.max), (.max, .max, 1), (0, .min, .min)] {
                let schedule = LearningRateSchedule(shape, warmupSteps: warmup)
                #expect((0...1).contains(schedule.factor(step: step, of: total)))
            }
        }
    }
}
