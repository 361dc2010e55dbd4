/// What every computation of a model needs: how many workers, and memory that is reused from step to step.
package final class Compute {
    package let arena: Arena
    private let fixedThreads: Int?
    /// Whether nothing is computed: only the memory that it would take is counted.
    let isRehearsal: Bool
    package var threads: Int { fixedThreads ?? ThreadPool.shared.threads }

    /// - Parameter threads: nil: the library's.
    package init(threads: Int? = nil) {
        arena = Arena(purpose: "activations")
        fixedThreads = threads
        isRehearsal = false
    }

    private init(rehearsing threads: Int) {
        arena = .counting()
        fixedThreads = threads
        isRehearsal = true
    }

    /// The most bytes of the arena that `body` would have in use, found by running it without its work: an operation touches
    /// its memory inside of `run` or `rows` only.
    static func peakByteCount(
        threads: Int, _ body: (Compute) throws(QwenSFTError) -> Void
    ) throws(QwenSFTError) -> Int {
        let compute = Compute(rehearsing: threads)
        try body(compute)
        return compute.arena.peakByteCount
    }

    /// Runs one computation from its start to its end, with an empty arena.
    package func session<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        try ThreadPool.shared.session { () throws(QwenSFTError) in
            arena.reset()
            return try OpenBLAS.singleThreaded(body)
        }
    }

    func run(_ work: (ThreadPool.Worker) -> Void) {
        guard !isRehearsal else { return }
        ThreadPool.shared.run(threads: threads, work)
    }

    /// Splits `rows` over the workers in runs of neighbors.
    func rows(_ rows: Int, _ work: (Range<Int>) -> Void) {
        run { worker in
            let mine = worker.range(of: rows)
            if !mine.isEmpty { work(mine) }
        }
    }
}
