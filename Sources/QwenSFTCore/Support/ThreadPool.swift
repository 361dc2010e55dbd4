import CSystem
import Libc
import Synchronization

/// The library's threads. Work is a closure that every worker runs once with its own index: who does what is decided by
/// a static partition, so that equal thread counts give equal bits.
///
/// The calling thread is worker 0. Between two pieces of work the others spin for a moment (a step is hundreds of short
/// pieces) and then sleep. One piece runs at a time; callers on several host threads take turns, and no code of the host runs
/// within one. A fork waits for the piece under way, and the child begins with a pool of its own.
package final class ThreadPool: @unchecked Sendable {
    package static let shared = ThreadPool()

    /// One participant of a piece of work.
    package struct Worker {
        package let index: Int
        package let count: Int
        fileprivate let pool: ThreadPool

        /// Waits until every worker of this piece has come here; what they wrote before is visible afterwards.
        package func barrier() { pool.wait(count) }

        /// This worker's share of `0..<n` in units of `unit` (the last unit may be cut short).
        package func range(of n: Int, unit: Int = 1) -> Range<Int> {
            let units = (n + unit - 1) / unit
            return min(n, units * index / count * unit)..<min(n, units * (index + 1) / count * unit)
        }
    }

    let turn = Lock()
    /// Where workers wait for work, those that have no part for being needed again, the caller for the last worker, and
    /// workers for each other.
    private let pause = WaitingPlace()
    private let bench = WaitingPlace()
    private let join = WaitingPlace()
    private let gate = WaitingPlace()
    /// The number of the piece of work and, in the lowest bits, how many take part in it: one word, so that a worker without
    /// a part looks at nothing else.
    private let generation = Atomic<Int>(0)
    private static let countBits = 16
    private let running = Atomic<Int>(0)
    private let arrived = Atomic<Int>(0)
    private let phase = Atomic<Int>(0)
    private let configured = Atomic<Int>(0)
    private var started = 0  // with `turn` held
    private var hasWorked = false  // with `turn` held
    // Written before `generation` moves, read after it was seen to move.
    private var body: ((Worker) -> Void)?

    /// How long a wait for other workers gives the processor away before it sleeps: they are nearly always about equally far.
    private static let yielding = 2_000_000

    private init() { _ = Forking.isHandled }

    /// A forked child has none of its parent's threads, and none of the computations they were in.
    func beginAsChild() {
        turn.renew()
        for place in [pause, bench, join, gate] { place.renew() }
        (started, body) = (0, nil)
        running.store(0, ordering: .relaxed)
        arrived.store(0, ordering: .relaxed)
    }

    /// How many workers a computation uses: the number that the call under way on this thread began with, else the one that
    /// was set, else `Processors.count`. At least 1.
    package var threads: Int {
        get {
            let own = HostThread.current.workers
            if own > 0 { return own }
            let configured = configured.load(ordering: .relaxed)
            return configured > 0 ? configured : Processors.count
        }
        set { configured.store(max(1, min(newValue, 256)), ordering: .relaxed) }
    }

    /// Runs a computation of this thread, during which `threads` does not change.
    package func session<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        try HostThread.call { () throws(QwenSFTError) in
            let thread = HostThread.current
            guard thread.workers == 0 else { return try body() }
            thread.workers = threads
            defer { thread.workers = 0 }
            return try body()
        }
    }

    /// Runs `work` once on each of `threads` workers and returns when all are done. Within a piece of work, where every
    /// worker is taken, it runs on the one that asks.
    package func run(threads: Int? = nil, _ work: (Worker) -> Void) {
        let thread = HostThread.current
        guard !thread.isWorking else { return work(Worker(index: 0, count: 1, pool: self)) }
        let wanted = threads ?? self.threads
        turn.lock()
        thread.isWorking = true
        hasWorked = true
        defer {
            thread.isWorking = false
            turn.unlock()
        }
        let workers = start(wanted)
        guard workers > 1 else { return work(Worker(index: 0, count: 1, pool: self)) }
        withoutActuallyEscaping(work) { escaping in
            body = escaping
            running.store(workers - 1, ordering: .relaxed)
            let last = generation.load(ordering: .relaxed)
            let number = (last >> Self.countBits) &+ 1
            generation.store(number << Self.countBits | workers, ordering: .sequentiallyConsistent)
            if workers > Self.count(last) { bench.wakeAll() }
            pause.wakeAll()
            escaping(Worker(index: 0, count: workers, pool: self))
            join.wait(yielding: Self.yielding) { running.load(ordering: .sequentiallyConsistent) == 0 }
            body = nil
        }
    }

    /// Runs `body` if there was no piece of work yet, and none begins meanwhile; returns whether it did.
    func beforeFirstWork(_ body: () -> Void) -> Bool {
        turn.lock()
        defer { turn.unlock() }
        guard !hasWorked else { return false }
        body()
        return true
    }

    /// Starts what is missing of `wanted` workers; returns how many there are (fewer where the system refuses threads).
    private func start(_ wanted: Int) -> Int {
        guard started < wanted - 1 else { return wanted }
        // The host's signal handlers should run on the host's threads.
        var all = sigset_t()
        var old = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &old)
        defer { pthread_sigmask(SIG_SETMASK, &old, nil) }
        while started < wanted - 1 {
            let (index, seen) = (started + 1, generation.load(ordering: .relaxed))
            guard startThread({ self.work(index: index, seen: seen) }) == 0 else { break }
            started += 1
        }
        return min(wanted, started + 1)
    }

    private func work(index: Int, seen first: Int) {
        HostThread.current.isWorking = true
        // A new thread inherits its creator's floating-point environment, which is the host's affair.
        _ = qk_take_floating_point()
        var seen = first
        while true {
            pause.wait { generation.load(ordering: .sequentiallyConsistent) != seen }
            let now = generation.load(ordering: .acquiring)
            let count = Self.count(now)
            // Workers that have no part any more, because fewer threads are asked for, neither spin nor are woken for every piece.
            guard index < count else {
                bench.sleep { Self.count(generation.load(ordering: .sequentiallyConsistent)) > index }
                continue
            }
            seen = now
            body?(Worker(index: index, count: count, pool: self))
            if running.subtract(1, ordering: .sequentiallyConsistent).newValue == 0 { join.wakeAll() }
        }
    }

    private static func count(_ generation: Int) -> Int { generation & (1 << countBits - 1) }

    private func wait(_ count: Int) {
        guard count > 1 else { return }
        let seen = phase.load(ordering: .acquiring)
        if arrived.add(1, ordering: .acquiringAndReleasing).newValue == count {
            arrived.store(0, ordering: .relaxed)
            phase.add(1, ordering: .sequentiallyConsistent)
            gate.wakeAll()
            return
        }
        gate.wait(yielding: Self.yielding) { phase.load(ordering: .sequentiallyConsistent) != seen }
    }
}
