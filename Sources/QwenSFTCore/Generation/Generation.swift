/// One answer of the model.
public struct Generation: Sendable, Equatable {
    /// Why an answer ends.
    public enum FinishReason: String, Sendable, CaseIterable {
        /// At a stop id, the last of `ids`.
        case stopID = "stop_id"
        /// At a stop string; `text` ends before it.
        case stopString = "stop_string"
        /// `maxNewTokens` were generated.
        case length
        /// The model's context is full.
        case context
        /// A callback or another thread ended it.
        case cancelled
    }

    /// The new ids; a stop id at the end included.
    public var ids: [Int32] = []
    /// What they say, without special tokens; "" without a tokenizer.
    public var text = ""
    public var finishReason = FinishReason.length
    /// Natural logarithm of the probability that the model gave each of `ids`, before penalty, temperature and choice; nil
    /// unless asked for.
    public var logProbabilities: [Float]?
    /// Ids the answer continues, and how many of them were computed now (a session keeps what it has computed).
    public var promptTokens = 0
    public var computedPromptTokens = 0
    /// Whether the prompt ends within `<think>`, so that the answer begins with reasoning.
    public var beginsInReasoning = false
}

/// What one more token adds to an answer.
public struct GenerationPiece: Sendable, Equatable {
    /// Which of several answers.
    public let sample: Int
    public let id: Int32
    /// Characters that are certain now; all pieces' texts put together are the answer's.
    public let text: String
    /// As in `Generation`.
    public let logProbability: Float?
    /// Whether it belongs to the model's reasoning (`<think>` … `</think>`, the marks included), where the vocabulary has these
    /// tokens.
    public let isReasoning: Bool
}

/// The text of an answer under way: whole characters, cut before the first stop string.
package struct AnswerText {
    private var decoder: StreamingDecoder
    private let stopStrings: [[UInt8]]
    /// Text that could still turn out to begin a stop string.
    private var held: [UInt8] = []
    package private(set) var isStopped = false

    package init(_ tokenizer: Tokenizer, stopStrings: [String]) {
        decoder = StreamingDecoder(tokenizer, skipSpecialTokens: true)
        self.stopStrings = stopStrings.map { Array($0.utf8) }
    }

    /// What `id` makes certain.
    package mutating func append(_ id: Int32) -> String { take(decoder.append(id)) }

    /// The rest, when no more ids follow.
    package mutating func finish() -> String {
        let text = take(decoder.finish())
        defer { held.removeAll() }
        return text + String(decoding: held, as: UTF8.self)
    }

    private mutating func take(_ text: String) -> String {
        guard !isStopped else { return "" }
        guard !stopStrings.isEmpty else { return text }
        held += text.utf8
        // The stop string that is complete first, as if text came letter by letter.
        var found: Range<Int>?
        for stop in stopStrings {
            guard let start = held.indices.first(where: { held[$0...].starts(with: stop) }) else { continue }
            let range = start..<start + stop.count
            if let best = found, (best.upperBound, best.lowerBound) <= (range.upperBound, range.lowerBound) { continue }
            found = range
        }
        isStopped = found != nil
        let certain =
            found?.lowerBound
            ?? held.indices.first { start in stopStrings.contains { $0.starts(with: held[start...]) } } ?? held.count
        defer { held.removeSubrange(..<(isStopped ? held.count : certain)) }
        return String(decoding: held[..<certain], as: UTF8.self)
    }
}
