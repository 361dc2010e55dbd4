/// What every computation of a model needs: how many workers, and memory that is reused from step to step.
final class Compute {
    let arena = Arena(purpose: "activations")
    private(set) var threads = ThreadPool.shared.threads

    /// Runs one computation from its start to its end: takes up the thread setting and frees what the arena still holds.
    func session<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        threads = ThreadPool.shared.threads
        arena.reset()
        return try OpenBLAS.singleThreaded(body)
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
