/// Processes that train together, each on rows of its own: data-parallel training. The library does not
/// communicate: it asks for one thing, a sum over all ranks, which the host's engine (MPI, torch.distributed, …) computes.
///
/// Unless `localSteps` is above 1, a step on N ranks is the step that one process takes on the batches of all of them. Every rank
/// ends it with the same bits in its weights, and with the same error where one of them cannot take it.
public final class Collective: Sendable, Equatable {
    /// Adds up `values` over all ranks, in place, such that every rank gets the same bits. It is called on the thread that
    /// called the library, in the same order and with the same counts on every rank. What it throws ends the step.
    public typealias AllReduce = @Sendable (_ values: UnsafeMutableBufferPointer<Float>) throws -> Void

    /// This process's number, from 0.
    public let rank: Int
    /// How many processes there are.
    public let worldSize: Int
    /// Ranks compare their weights and the optimizer's memory at a trainer's first step and every so many steps; with local steps
    /// the weights at the first.
    public let checkInterval: Int
    /// 1: ranks take every step together. More: each takes that many steps by itself, as a single process does; then every rank's
    /// weights are replaced by the mean of all. One sum for that many steps, for slow links. The result is not that of one process.
    public let localSteps: Int
    /// What happens to the mean after local steps; nil: it replaces the weights.
    public let outer: OuterOptimizer?
    private let allReduce: AllReduce

    /// - Throws: `invalidArgument` for numbers out of range.
    public init(
        rank: Int, worldSize: Int, checkInterval: Int = 100, localSteps: Int = 1, outer: OuterOptimizer? = nil,
        allReduce: @escaping AllReduce
    ) throws(QwenSFTError) {
        guard (1...Self.mostRanks).contains(worldSize) else {
            throw QwenSFTError(
                .invalidArgument, "world_size must be from 1 to \(Self.mostRanks), not \(worldSize)")
        }
        guard (0..<worldSize).contains(rank) else {
            throw QwenSFTError(.invalidArgument, "rank must be from 0 to \(worldSize - 1), not \(rank)")
        }
        for (name, value) in [("check_interval", checkInterval), ("local_steps", localSteps)] where value < 1 {
            throw QwenSFTError(.invalidArgument, "\(name) must be at least 1, not \(value)")
        }
        if let outer {
            guard localSteps > 1 else {
                throw QwenSFTError(.invalidArgument, "outer_lr and outer_momentum need local_steps above 1")
            }
            try outer.validate()
        }
        self.outer = outer
        (self.rank, self.worldSize, self.checkInterval, self.localSteps) = (rank, worldSize, checkInterval, localSteps)
        self.allReduce = allReduce
    }

    public static func == (a: Collective, b: Collective) -> Bool { a === b }

    static let mostRanks = 1 << 16
    /// Numbers of one call: 25 MB, so that an engine's buffers stay small and its latency does not count.
    static let bucket = 25 << 18

    /// Adds up numbers over all ranks, a bucket at a time.
    func sum(_ values: UnsafeMutableBufferPointer<Float>) throws(QwenSFTError) {
        for start in stride(from: 0, to: values.count, by: Self.bucket) {
            let bucket = UnsafeMutableBufferPointer(rebasing: values[start..<min(start + Self.bucket, values.count)])
            do { try allReduce(bucket) } catch {
                let known = error as? QwenSFTError
                throw QwenSFTError(known?.code ?? .io, known?.message ?? "all_reduce failed: \(error)")
            }
        }
    }

    /// Tells every rank the same as every other one, by rank. Each has a place of its own in the sum, where it writes its
    /// numbers in pieces of 16 bits, so that nothing is rounded and the order of additions does not matter.
    func exchange(_ mine: RankReport, at stage: RankReport.Stage) throws(QwenSFTError) -> [RankReport] {
        let words = mine.words(stage)
        let size = words.count * 4
        var floats = [Float](repeating: 0, count: worldSize * size)
        for (index, word) in words.enumerated() {
            for piece in 0..<4 {
                floats[rank * size + index * 4 + piece] = Float(UInt16(truncatingIfNeeded: word >> (16 * piece)))
            }
        }
        var failure: QwenSFTError?
        floats.withUnsafeMutableBufferPointer { buffer in
            do throws(QwenSFTError) { try sum(buffer) } catch { failure = error }
        }
        if let failure { throw failure }
        var reports: [RankReport] = []
        for other in 0..<worldSize {
            var words: [UInt64] = []
            for index in 0..<size / 4 {
                var word: UInt64 = 0
                for piece in 0..<4 {
                    let value = floats[other * size + index * 4 + piece]
                    guard let bits = UInt16(exactly: value) else {
                        throw QwenSFTError(
                            .invalidArgument,
                            "all_reduce does not add up over ranks of different numbers: \(value) arrived from rank \(other)"
                        )
                    }
                    word |= UInt64(bits) << (16 * piece)
                }
                words.append(word)
            }
            guard let report = RankReport(words, at: stage) else {
                throw QwenSFTError(
                    .invalidArgument,
                    words.allSatisfy { $0 == 0 }
                        ? "all_reduce does not add up over \(worldSize) ranks: nothing arrived from rank \(other)"
                        : "rank \(other) does something else than rank \(rank): all ranks have to make the same steps"
                )
            }
            reports.append(report)
        }
        return reports
    }
}

/// What a rank tells the others within a step.
struct RankReport: Equatable {
    /// A place in a step; the raw values are such that no sum of some is another.
    enum Stage: UInt64 {
        case start = 0x51
        case passes = 0x1052
        case norm = 0x20_1053
        case average = 0x4000_2054
    }

    /// Why this rank cannot go on.
    var failure: QwenSFTError.Code?
    /// Σ weights of its targets.
    var weight = 0.0
    /// Its part of the step's loss, and of how many targets.
    var loss = 0.0
    var tokens = 0
    /// Of the reduced gradients.
    var norm = 0.0
    /// That it has taken.
    var steps = 0
    /// The id that its rows end turns with.
    var stopID: Int32?
    /// Of optimizer, options and steps taken.
    var settings: UInt64 = 0
    /// Of weights and the optimizer's memory; 0: not looked at.
    var values: UInt64 = 0

    fileprivate func words(_ stage: Stage) -> [UInt64] {
        [
            stage.rawValue, UInt64(failure?.rawValue ?? 0), weight.bitPattern, loss.bitPattern, UInt64(tokens),
            norm.bitPattern, stopID.map { UInt64(UInt32(bitPattern: $0)) + 1 } ?? 0, settings, values,
            UInt64(steps),
        ]
    }

    init() {}

    /// nil where that is not what a rank says at this stage.
    fileprivate init?(_ words: [UInt64], at stage: Stage) {
        guard words.count == 10, words[0] == stage.rawValue, let tokens = Int(exactly: words[4]),
            let steps = Int(exactly: words[9])
        else { return nil }
        if words[1] != 0 {
            guard let code = Int32(exactly: words[1]).flatMap(QwenSFTError.Code.init(rawValue:)) else { return nil }
            failure = code
        }
        weight = Double(bitPattern: words[2])
        loss = Double(bitPattern: words[3])
        (self.tokens, self.steps) = (tokens, steps)
        norm = Double(bitPattern: words[5])
        if words[6] != 0 { stopID = Int32(bitPattern: UInt32(truncatingIfNeeded: words[6] - 1)) }
        (settings, values) = (words[7], words[8])
    }
}
