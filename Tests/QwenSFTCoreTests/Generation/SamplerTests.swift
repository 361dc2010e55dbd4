import Glibc
import QwenSFTCore
import Testing

/// The sampler against transformers' definition, written down plainly here.
@Suite struct SamplerTests {
    private static let wide = (0..<2000).map { Float(sin(Double($0) * 1.7) * 3) }
    private static let small: [Float] = [1.5, -0.3, 2.2, 2.2, 0.1, -4, 0.9, 1.5, -1, 0]

    private static func settings(
        temperature: Float = 1, topK: Int = 0, topP: Float = 1, minP: Float = 0, penalty: Float = 1
    ) -> SamplingSettings {
        SamplingSettings(
            doSample: true, temperature: temperature, topK: topK, topP: topP, minP: minP, repetitionPenalty: penalty)
    }

    /// Probabilities after every filter, each as transformers' logits processors define it.
    private func probabilities(_ logits: [Float], _ settings: SamplingSettings) -> [Double] {
        var x = logits.map { Double($0) / Double(settings.temperature) }
        func softmax() -> [Double] {
            let top = x.max() ?? 0
            let sum = x.reduce(0) { $0 + exp($1 - top) }
            return x.map { exp($0 - top) / sum }
        }
        if settings.topK > 0 {
            // What is less than the k-th largest goes; what equals it stays.
            let least = x.sorted(by: >)[min(settings.topK, x.count) - 1]
            x = x.map { $0 < least ? -.infinity : $0 }
        }
        if settings.topP < 1 {
            // From the least likely on, as long as together they have no more than 1 − top_p; never the likeliest.
            let p = softmax()
            let order = x.indices.sorted { x[$0] != x[$1] ? x[$0] < x[$1] : $0 > $1 }
            var sum = 0.0
            for index in order.dropLast() {
                sum += p[index]
                if sum <= 1 - Double(settings.topP) + 1e-12 { x[index] = -.infinity }
            }
        }
        if settings.minP > 0 {
            let p = softmax()
            let least = (p.max() ?? 0) * Double(settings.minP)
            x = zip(x, p).map { $1 < least ? -.infinity : $0 }
        }
        return softmax()
    }

    private func draws(_ logits: [Float], _ settings: SamplingSettings, count: Int, seed: UInt64 = 7) -> [Int] {
        var sampler = Sampler(settings, seed: seed, vocabulary: logits.count)
        var counts = [Int](repeating: 0, count: logits.count)
        for _ in 0..<count {
            var copy = logits
            let id = copy.withUnsafeMutableBufferPointer { sampler.next($0) }
            counts[Int(id)] += 1
        }
        return counts
    }

    @Test(arguments: [
        settings(), settings(temperature: 0.5), settings(temperature: 3), settings(topK: 3), settings(topK: 1),
        settings(topK: 2), settings(topP: 0.6), settings(topP: 0.95), settings(minP: 0.2), settings(topK: 5, topP: 0.8),
        settings(temperature: 2, topK: 6, topP: 0.9, minP: 0.3), settings(topK: 10), settings(topK: 1000),
        settings(minP: 1),
    ])
    func frequencies(_ settings: SamplingSettings) {
        for logits in [Self.small, Self.wide] {
            let expected = probabilities(logits, settings)
            let count = logits.count == 10 ? 40_000 : 3000
            let counts = draws(logits, settings, count: count)
            for (seen, p) in zip(counts, expected) where p == 0 {
                #expect(seen == 0, "outside of what the filters leave")
            }
            // Pearson's χ² over ids with enough expected draws, the rest as one; 5 standard deviations of its distribution.
            var (statistic, cells) = (0.0, 0)
            var rest = (seen: 0.0, expected: 0.0)
            for (seen, p) in zip(counts, expected) {
                let mean = p * Double(count)
                if mean >= 5 {
                    statistic += (Double(seen) - mean) * (Double(seen) - mean) / mean
                    cells += 1
                } else {
                    rest = (rest.seen + Double(seen), rest.expected + mean)
                }
            }
            if rest.expected >= 5 {
                statistic += (rest.seen - rest.expected) * (rest.seen - rest.expected) / rest.expected
                cells += 1
            }
            let freedom = Double(max(cells - 1, 0))
            #expect(statistic <= freedom + 5 * (2 * freedom).squareRoot() + 1e-9, "\(settings)")
        }
    }

    @Test func seedsDecide() {
        let settings = Self.settings(temperature: 2)
        func ids(_ seed: UInt64) -> [Int32] {
            var sampler = Sampler(settings, seed: seed, vocabulary: Self.wide.count)
            return (0..<50).map { _ in
                var copy = Self.wide
                return copy.withUnsafeMutableBufferPointer { sampler.next($0) }
            }
        }
        #expect(ids(1) == ids(1))
        #expect(ids(1) != ids(2))
    }

    @Test func greedyTakesTheFirstOfTheLikeliest() {
        for (logits, expected) in [
            (Self.small, 2), ([0], 0), ([-.infinity, -.infinity, -5], 2), ([-.infinity, -.infinity], 0),
            ([.nan, 1, 2], 2),
            ([3, .nan, 1], 0), ([.nan, .nan], 0), ([1, .infinity, .infinity], 1),
            ([Float](repeating: 1, count: 3000), 0),
            ([Float](repeating: -1, count: 1024) + [0, 1, 1], 1025),
        ] as [([Float], Int32)] {
            var logits = logits
            var sampler = Sampler(.greedy, seed: 0, vocabulary: logits.count)
            #expect(logits.withUnsafeMutableBufferPointer { sampler.next($0) } == expected)
        }
    }

    /// Whatever the numbers, an id comes out.
    @Test func strangeLogits() {
        let strange: [[Float]] = [
            [.nan, .nan, .nan], [.infinity, 1, .infinity], [-.infinity, -.infinity, -.infinity], [.nan, 1, -.infinity],
            [.greatestFiniteMagnitude, -.greatestFiniteMagnitude, 0], [0],
        ]
        for logits in strange {
            for settings in [
                Self.settings(), Self.settings(topK: 2), Self.settings(topP: 1e-9),
                Self.settings(topK: 1, topP: 0.5, minP: 1),
                Self.settings(temperature: 1e-30, minP: 0.5), Self.settings(temperature: 1e30, penalty: 1e-30),
                Self.settings(penalty: 1e30),
            ] {
                let counts = draws(logits, settings, count: 20)
                #expect(counts.reduce(0, +) == 20)
            }
        }
        // A tiny temperature is greedy, a tiny top_p too.
        #expect(draws(Self.wide, Self.settings(temperature: 1e-6), count: 50).max() == 50)
        #expect(draws([1, 5, 2], Self.settings(topP: 1e-6), count: 50) == [0, 50, 0])
    }

    @Test func repetitionPenalty() {
        var sampler = Sampler(
            SamplingSettings(doSample: false, temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 2), seed: 0,
            vocabulary: 4)
        func next(_ logits: [Float]) -> (Int32, [Float]) {
            var copy = logits
            let id = copy.withUnsafeMutableBufferPointer { sampler.next($0) }
            return (id, copy)
        }
        sampler.note(0)
        sampler.note(1)
        sampler.note(0)  // once is enough
        sampler.note(99)  // outside of the vocabulary
        sampler.note(-1)
        // Positive ones are divided, negative ones multiplied; what was chosen counts from then on.
        var (id, logits) = next([3, -1, 2, 0.5])
        #expect(id == 2 && logits == [1.5, -2, 2, 0.5])
        (id, logits) = next([3, -1, 2, 0.5])
        #expect(id == 0 && logits == [1.5, -2, 1, 0.5])
    }

    @Test func settingsOutOfRange() throws {
        let model = try RandomModel().model()
        func refused(_ name: String, _ change: (inout GenerationOptions) -> Void) {
            var options = GenerationOptions()
            options.doSample = true
            change(&options)
            let error = #expect(throws: QwenSFTError.self) { try model.generate([1, 2], options: options) }
            #expect(error?.code == .invalidArgument && error?.message.hasPrefix(name + " must be ") == true)
        }
        for value: Float in [0, -1, .nan, .infinity] { refused("temperature") { $0.temperature = value } }
        for value: Float in [0, -0.5, 1.001, .nan] { refused("top_p") { $0.topP = value } }
        for value: Float in [-0.1, 1.1, .nan] { refused("min_p") { $0.minP = value } }
        for value: Float in [0, -1, .infinity, .nan] { refused("repetition_penalty") { $0.repetitionPenalty = value } }
        refused("top_k") { $0.topK = -1 }
        refused("max_new_tokens") { $0.maxNewTokens = -1 }
    }
}
