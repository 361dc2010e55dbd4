import Libc

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
        try check(
            "temperature", temperature, temperature > 0 || temperature == 0 && !doSample,
            "above 0 (for greedy decoding turn do_sample off)")
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

    private struct Candidate {
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

    /// Values looked at together: the largest of a piece tells whether any of them matters.
    private static let piece = 1024

    private static func forEachPiece(
        _ logits: UnsafeBufferPointer<Float>, _ body: (_ values: UnsafeBufferPointer<Float>, _ first: Int) -> Void
    ) {
        for first in stride(from: 0, to: logits.count, by: piece) {
            body(UnsafeBufferPointer(rebasing: logits[first..<min(first + piece, logits.count)]), first)
        }
    }

    static func argmax(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        var best = 0
        forEachPiece(logits) { values, first in
            guard values.largest > logits[best] || logits[best].isNaN else { return }
            for index in values.indices where !values[index].isNaN {
                if values[index] > logits[best] || logits[best].isNaN { best = first + index }
            }
        }
        return Int32(best)
    }

    /// ln Σ exp(logit): what a logit is to be lessened by to be the logarithm of a probability.
    package static func logSumExp(_ logits: UnsafeBufferPointer<Float>) -> Float {
        let top = logits.largest
        var sum = 0.0
        forEachPiece(logits) { values, _ in sum += Double(values.sumOfExponentials(subtracting: top)) }
        return top + Float(log(sum))
    }

    private mutating func draw(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        let top = logits[Int(Self.argmax(logits))]
        guard top.isFinite else { return Self.argmax(logits) }
        let uniform = random.uniform()
        if settings.topK > 0, settings.topK < logits.count {
            let candidates = Self.candidates(logits, from: Self.largest(settings.topK, of: logits))
            let total = candidates.reduce(0) { $0 + weight($1, top) }
            return draw(candidates, top, total: total, uniform, isAll: true) ?? Self.argmax(logits)
        }
        // All ids take part, but the draw nearly always ends among the likeliest: only these are sorted.
        let total = totalWeight(logits, top)
        for reach: Float in [12, 24, 48] {
            let candidates = Self.candidates(logits, from: top - reach * settings.temperature)
            if let id = draw(candidates, top, total: total, uniform, isAll: false) { return id }
        }
        return draw(Self.candidates(logits, from: -.infinity), top, total: total, uniform, isAll: true)
            ?? Self.argmax(logits)
    }

    /// Probability relative to that of the likeliest token.
    private func weight(_ candidate: Candidate, _ top: Float) -> Double {
        exp(Double((candidate.logit - top) / settings.temperature))
    }

    /// The draw, of candidates in order of their probability; nil where it ends behind the last of them.
    /// - Parameter total: Σ weights before top_p and min_p, of candidates that are not listed too.
    private func draw(
        _ candidates: [Candidate], _ top: Float, total: Double, _ uniform: Double, isAll: Bool
    ) -> Int32? {
        var (kept, sum) = (0, 0.0)
        var sums: [Double] = []
        sums.reserveCapacity(candidates.count)
        let enough = settings.topP < 1 ? Double(settings.topP) * total : .infinity
        var isCut = false
        for candidate in candidates {
            let weight = weight(candidate, top)
            // The likeliest token has weight 1, and stays.
            if sum >= enough || weight < Double(settings.minP) {
                isCut = true
                break
            }
            sum += weight
            sums.append(sum)
            kept += 1
        }
        isCut = isCut || sum >= enough
        guard isCut || isAll || settings.topP == 1 && settings.minP == 0 else { return nil }
        let mark = uniform * (isCut || isAll ? sum : total)
        if let index = sums.firstIndex(where: { mark < $0 }) { return candidates[index].id }
        return kept > 0 && (isCut || isAll) ? candidates[kept - 1].id : nil
    }

    private func totalWeight(_ logits: UnsafeBufferPointer<Float>, _ top: Float) -> Double {
        var total = 0.0
        withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.piece) { scaled in
            guard let scaled = scaled.baseAddress else { return }
            Self.forEachPiece(logits) { values, _ in
                for index in values.indices { scaled[index] = (values[index] - top) / settings.temperature }
                let piece = UnsafeBufferPointer(start: scaled, count: values.count)
                total += Double(piece.sumOfExponentials(subtracting: 0))
            }
        }
        return total
    }

    /// All ids with at least this logit, likeliest first; of equal ones the lower id.
    private static func candidates(_ logits: UnsafeBufferPointer<Float>, from least: Float) -> [Candidate] {
        var candidates: [Candidate] = []
        forEachPiece(logits) { values, first in
            guard values.largest >= least else { return }
            for index in values.indices where values[index] >= least {
                candidates.append(Candidate(id: Int32(first + index), logit: values[index]))
            }
        }
        candidates.sort { $0.logit != $1.logit ? $0.logit > $1.logit : $0.id < $1.id }
        return candidates
    }

    /// The k-th largest logit.
    private static func largest(_ k: Int, of logits: UnsafeBufferPointer<Float>) -> Float {
        // A heap of the k largest with the smallest on top: most pieces are turned away by one comparison.
        var heap: [Float] = []
        heap.reserveCapacity(k)
        forEachPiece(logits) { values, _ in
            if heap.count == k, values.largest <= heap[0] { return }
            for logit in values {
                if heap.count < k {
                    heap.append(logit)
                    if heap.count == k { heap.sort() }
                } else if logit > heap[0] {
                    replaceTop(&heap, with: logit)
                }
            }
        }
        return heap.first ?? -.infinity
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
