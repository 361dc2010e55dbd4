import Glibc

/// How the next token is chosen from logits, with every choice made.
///
/// Defined as in transformers, in this order: repetition penalty; then, when sampling, temperature, top_k, top_p, min_p,
/// and a draw. Equal logits are ordered by id, the lower one first.
package struct SamplingSettings: Sendable, Equatable {
    package var doSample: Bool
    /// Logits are divided by it.
    package var temperature: Float
    /// Only the k likeliest, and what equals the last of them; 0: all.
    package var topK: Int
    /// Only the likeliest that together reach this probability, the one that reaches it included; 1: all.
    package var topP: Float
    /// Only tokens at least this many times as likely as the likeliest; 0: all.
    package var minP: Float
    /// Logits of ids that occurred are divided by it where positive, multiplied where negative; 1: left alone.
    package var repetitionPenalty: Float

    package static let greedy = SamplingSettings(
        doSample: false, temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1)

    package init(doSample: Bool, temperature: Float, topK: Int, topP: Float, minP: Float, repetitionPenalty: Float) {
        self.doSample = doSample
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.repetitionPenalty = repetitionPenalty
    }

    /// - Throws: `invalidArgument` naming the value that is out of range.
    func validate() throws(QwenSFTError) {
        func check(_ name: String, _ value: Float, _ condition: Bool, _ expected: String) throws(QwenSFTError) {
            guard condition, value.isFinite else {
                throw QwenSFTError(.invalidArgument, "\(name) must be \(expected), not \(value)")
            }
        }
        try check("temperature", temperature, temperature > 0 || !doSample, "above 0 (for greedy decoding turn do_sample off)")
        try check("top_k", Float(topK), topK >= 0, "at least 0")
        try check("top_p", topP, topP > 0 && topP <= 1, "above 0 and at most 1")
        try check("min_p", minP, minP >= 0 && minP <= 1, "at least 0 and at most 1")
        try check("repetition_penalty", repetitionPenalty, repetitionPenalty > 0, "above 0")
    }
}

/// Chooses tokens one after the other; remembers which ids have occurred.
package struct Sampler {
    private let settings: SamplingSettings
    private var random: RandomSource
    private var hasOccurred: [Bool]
    private var occurred: [Int32] = []

    struct Candidate {
        let id: Int32
        let logit: Float
    }

    package init(_ settings: SamplingSettings, seed: UInt64, vocabulary: Int) {
        self.settings = settings
        random = RandomSource(seed: seed)
        hasOccurred = Array(repeating: false, count: vocabulary)
    }

    /// Notes an id of the prompt, or one that was chosen elsewhere.
    package mutating func note(_ id: Int32) {
        guard hasOccurred.indices.contains(Int(id)), !hasOccurred[Int(id)] else { return }
        hasOccurred[Int(id)] = true
        occurred.append(id)
    }

    /// The next token; `logits` (vocabulary) are changed by the repetition penalty.
    package mutating func next(_ logits: UnsafeMutableBufferPointer<Float>) -> Int32 {
        if settings.repetitionPenalty != 1 {
            for id in occurred {
                let logit = logits[Int(id)]
                logits[Int(id)] = logit < 0 ? logit * settings.repetitionPenalty : logit / settings.repetitionPenalty
            }
        }
        let id = settings.doSample ? draw(UnsafeBufferPointer(logits)) : Self.argmax(UnsafeBufferPointer(logits))
        note(id)
        return id
    }

    static func argmax(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        var best = 0
        for index in logits.indices where logits[index] > logits[best] { best = index }
        return Int32(best)
    }

    private mutating func draw(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        let candidates = candidates(logits)
        guard let top = candidates.first else { return Self.argmax(logits) }
        var weights = candidates.map { exp(Double(($0.logit - top.logit) / settings.temperature)) }
        if settings.topP < 1 {
            let enough = Double(settings.topP) * weights.reduce(0, +)
            var sum = 0.0
            let end = weights.firstIndex { weight in
                sum += weight
                return sum >= enough
            }
            if let end { weights.removeSubrange((end + 1)...) }
        }
        if settings.minP > 0 {
            // Weights fall, and the first is 1: relative probabilities.
            weights.removeSubrange((weights.firstIndex { $0 < Double(settings.minP) } ?? weights.count)...)
        }
        var left = random.uniform() * weights.reduce(0, +)
        for (candidate, weight) in zip(candidates, weights) {
            left -= weight
            if left < 0 { return candidate.id }
        }
        return candidates[weights.count - 1].id
    }

    /// What top_k leaves, likeliest first.
    private func candidates(_ logits: UnsafeBufferPointer<Float>) -> [Candidate] {
        func precedes(_ a: Candidate, _ b: Candidate) -> Bool { a.logit != b.logit ? a.logit > b.logit : a.id < b.id }
        guard settings.topK > 0, settings.topK < logits.count else {
            return logits.indices.map { Candidate(id: Int32($0), logit: logits[$0]) }.sorted(by: precedes)
        }
        // A heap of the k largest with the smallest on top: most logits are turned away by one comparison.
        var heap: [Float] = []
        heap.reserveCapacity(settings.topK)
        for logit in logits {
            if heap.count < settings.topK {
                heap.append(logit)
                if heap.count == settings.topK { heap.sort() }
            } else if logit > heap[0] {
                Self.replaceTop(&heap, with: logit)
            }
        }
        let threshold = heap.first ?? -.infinity
        return logits.indices.lazy.filter { logits[$0] >= threshold }
            .map { Candidate(id: Int32($0), logit: logits[$0]) }.sorted(by: precedes)
    }

    /// `heap[0]` is the smallest; puts `value` in its place.
    private static func replaceTop(_ heap: inout [Float], with value: Float) {
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
            guard heap[child] < value else { break }
            heap[parent] = heap[child]
            parent = child
        }
        heap[parent] = value
    }
}
