/// How fast a run goes, and for how long it has been going.
struct RunClock {
    private var start: ContinuousClock.Instant?
    /// The first step takes memory from the system, which the others do not.
    private var first: (tokens: Double, seconds: Double)?
    /// Of the last answer.
    var answerSeconds = 0.0
    private var rest = (tokens: 0.0, seconds: 0.0)

    mutating func begin() { start = start ?? ContinuousClock.now }

    /// Seconds since it began.
    var elapsed: Double { start.map { (ContinuousClock.now - $0) / .seconds(1) } ?? 0 }

    mutating func add(tokens: Int, seconds: Double) {
        if first == nil {
            first = (Double(tokens), seconds)
        } else {
            rest.tokens += Double(tokens)
            rest.seconds += seconds
        }
    }

    /// What so many tokens will take; nil before the first step.
    func seconds(forTokens tokens: Double) -> Double? {
        let known = rest.tokens > 0 ? rest : first
        return known.flatMap { $0.tokens > 0 ? $0.seconds / $0.tokens * tokens : nil }
    }

    static func timed<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> (T, Double) {
        let start = ContinuousClock.now
        let result = try body()
        return (result, (ContinuousClock.now - start) / .seconds(1))
    }
}
