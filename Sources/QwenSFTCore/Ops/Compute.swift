/// What every computation of a model needs: how many workers, and memory that is reused from step to step.
package final class Compute {
    package let arena = Arena(purpose: "activations")
    private let fixedThreads: Int?
    package var threads: Int { fixedThreads ?? ThreadPool.shared.threads }

    /// - Parameter threads: nil: the library's.
    package init(threads: Int? = nil) { fixedThreads = threads }

    /// Runs one computation from its start to its end, with an empty arena.
    package func session<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        try ThreadPool.shared.session { () throws(QwenSFTError) in
            arena.reset()
            return try OpenBLAS.singleThreaded(body)
        }
    }

    func run(_ work: (ThreadPool.Worker) -> Void) { ThreadPool.shared.run(threads: threads, work) }

    /// Splits `rows` over the workers in runs of neighbours.
    func rows(_ rows: Int, _ work: (Range<Int>) -> Void) {
        run { worker in
            let mine = worker.range(of: rows)
            if !mine.isEmpty { work(mine) }
        }
    }
}
