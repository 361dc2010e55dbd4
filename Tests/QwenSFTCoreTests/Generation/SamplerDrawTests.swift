import QwenSFTCore
import Testing

/// Single draws against the definition of sampling, in double precision over a full sort: the generator's number decides
/// between the same ids.
@Suite struct SamplerDrawTests {
    static let settings: [SamplingSettings] = {
        var all: [SamplingSettings] = []
        for temperature: Float in [0.3, 1, 4] {
            for topK in [0, 1, 7, 50, 5000] {
                for (topP, minP) in [(1, 0), (0.8, 0), (0.999, 0), (1, 0.1), (0.6, 0.02)] as [(Float, Float)] {
                    all.append(
                        SamplingSettings(
                            doSample: true, temperature: temperature, topK: topK, topP: topP, minP: minP,
                            repetitionPenalty: 1))
                }
            }
        }
        return all
    }()

    /// Ids with their probabilities, likeliest first.
    func definition(_ logits: [Float], _ s: SamplingSettings) -> [(id: Int, probability: Double)] {
        var order = logits.indices.sorted { logits[$0] != logits[$1] ? logits[$0] > logits[$1] : $0 < $1 }
        if s.topK > 0, s.topK < order.count {
            let least = logits[order[s.topK - 1]]
            order = order.filter { logits[$0] >= least }
        }
        var weights = order.map { expOf(Double((logits[$0] - logits[order[0]]) / s.temperature)) }
        let total = weights.reduce(0, +)
        var (sum, kept) = (0.0, 0)
        for weight in weights {
            if s.topP < 1, sum >= Double(s.topP) * total { break }
            if weight < Double(s.minP) * weights[0] { break }
            sum += weight
            kept += 1
        }
        weights.removeSubrange(kept...)
        return zip(order, weights).map { ($0, $1 / sum) }
    }

    /// Random ones with ties, more than the sampler looks at together.
    func logits(_ count: Int, seed: UInt64) -> [Float] {
        var random = RandomSource(seed: seed)
        return (0..<count).map { _ in Float(Int(random.uniform() * 400)) / 40 - 5 }
    }

    /// The same uniform number falls on the same id, unless it falls on the border of two.
    @Test(arguments: settings) func drawsAreTheDefinitions(_ s: SamplingSettings) {
        var compared = 0
        for seed in 0..<60 as Range<UInt64> {
            var values = logits(3000, seed: seed / 6)
            let expected = definition(values, s)
            var random = RandomSource(seed: seed)
            let mark = random.uniform()
            var (sum, choice, margin) = (0.0, expected[expected.count - 1].id, 1.0)
            var isFound = false
            for (id, probability) in expected {
                margin = min(margin, abs(sum - mark))
                sum += probability
                if !isFound, mark < sum { (choice, isFound) = (id, true) }
            }
            guard margin > 1e-5 || expected.count == 1 else { continue }
            var sampler = Sampler(s, seed: seed, vocabulary: values.count)
            let drawn = values.withUnsafeMutableBufferPointer { sampler.next($0) }
            #expect(Int(drawn) == choice, "seed \(seed)")
            compared += 1
        }
        #expect(compared > 30)
    }
}
