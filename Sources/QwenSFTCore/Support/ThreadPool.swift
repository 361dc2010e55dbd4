import CKernels
import Glibc
import Synchronization

/// The library's threads. Work is a closure that every worker runs once with its own index: who does what is decided by
/// a static partition, so that equal thread counts give equal bits.
///
/// The calling thread is worker 0. Between two pieces of work the others spin for a moment (a step is hundreds of short
/// pieces) and then sleep. One piece runs at a time; callers on several host threads take turns. A fork waits for the piece
/// under way, and the child begins with a pool of its own.
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

    private let turn = Lock()
    private let sleep = Lock()
    private let bench = Lock()
    /// The number of the piece of work and, in the lowest bits, how many take part in it: one word, so that a worker without
    /// a part looks at nothing else.
    private let generation = Atomic<Int>(0)
    private static let countBits = 16
    private let running = Atomic<Int>(0)
    private let sleepers = Atomic<Int>(0)
    private let arrived = Atomic<Int>(0)
    private let phase = Atomic<Int>(0)
    private let configured = Atomic<Int>(0)
    private let active = Atomic<Int>(0)
    private var sessions = 0  // with `sleep` held
    private var started = 0
    private var isHeldForFork = false  // with `turn` held
    // Written before `generation` moves, read after it was seen to move.
    private var body: ((Worker) -> Void)?

    /// Spins before a waiting thread sleeps; some 50 µs.
    private static let spins = 2000

    private init() {
        pthread_atfork(
            { ThreadPool.shared.willFork() }, { ThreadPool.shared.didFork() }, { ThreadPool.shared.beginAsChild() })
    }

    /// No piece of work may be under way, nor any lock held that is only held within one: nobody in the child would end it.
    private func willFork() {
        // A callback in the middle of a piece may fork too: its thread has the turn already.
        if turn.lockUnlessMine() { isHeldForFork = true }
    }

    private func didFork() {
        guard isHeldForFork else { return }
        isHeldForFork = false
        turn.unlock()
    }

    /// A forked child has none of its parent's threads, and none of the computations they were in.
    private func beginAsChild() {
        isHeldForFork = false
        for lock in [turn, sleep, bench] { lock.renew() }
        (sessions, started, body) = (0, 0, nil)
        active.store(0, ordering: .relaxed)
        running.store(0, ordering: .relaxed)
        sleepers.store(0, ordering: .relaxed)
        arrived.store(0, ordering: .relaxed)
    }

    /// Processors this process may run on.
    package static let processors = max(1, Int(qk_processor_count()))

    /// How many workers a computation uses; the processors of this process unless set. At least 1.
    ///
    /// A new number holds from the next session on: a computation under way counts on the one it began with.
    package var threads: Int {
        get {
            let active = active.load(ordering: .relaxed)
            if active > 0 { return active }
            let configured = configured.load(ordering: .relaxed)
            return configured > 0 ? configured : Self.processors
        }
        set { configured.store(max(1, min(newValue, 256)), ordering: .relaxed) }
    }

    /// Runs a computation during which `threads` does not change; computations on several host threads share one number.
    package func session<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        sleep.lock()
        if sessions == 0 { active.store(threads, ordering: .relaxed) }
        sessions += 1
        sleep.unlock()
        defer {
            sleep.lock()
            sessions = max(0, sessions - 1)  // in a child that was forked within a session there is none
            if sessions == 0 { active.store(0, ordering: .relaxed) }
            sleep.unlock()
        }
        return try body()
    }

    /// Runs `work` once on each of `threads` workers and returns when all are done. Not to be nested.
    package func run(threads: Int? = nil, _ work: (Worker) -> Void) {
        let wanted = threads ?? self.threads
        turn.lock()
        defer { turn.unlock() }
        let workers = start(wanted)
        guard workers > 1 else { return work(Worker(index: 0, count: 1, pool: self)) }
        withoutActuallyEscaping(work) { escaping in
            body = escaping
            running.store(workers - 1, ordering: .relaxed)
            let last = generation.load(ordering: .relaxed)
            let number = (last >> Self.countBits) &+ 1
            generation.store(number << Self.countBits | workers, ordering: .sequentiallyConsistent)
            if workers > Self.count(last) { bench.wakeAll() }
            if sleepers.load(ordering: .sequentiallyConsistent) > 0 { sleep.wakeAll() }
            escaping(Worker(index: 0, count: workers, pool: self))
            var spun = 0
            while running.load(ordering: .acquiring) > 0 { Self.pause(&spun) }
            body = nil
        }
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
            let start = Start(pool: self, index: started + 1, seen: generation.load(ordering: .relaxed))
            let argument = Unmanaged.passRetained(start)
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { argument in
                    guard let argument else { return nil }
                    let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                    start.pool.work(index: start.index, seen: start.seen)
                    return nil
                }, argument.toOpaque())
            guard status == 0 else {
                argument.release()
                break
            }
            pthread_detach(thread)
            started += 1
        }
        return min(wanted, started + 1)
    }

    private final class Start {
        let pool: ThreadPool
        let index: Int
        let seen: Int
        init(pool: ThreadPool, index: Int, seen: Int) {
            self.pool = pool
            self.index = index
            self.seen = seen
        }
    }

    private func work(index: Int, seen first: Int) {
        var seen = first
        while true {
            var spun = 0
            while generation.load(ordering: .acquiring) == seen {
                spun += 1
                if spun < Self.spins { qk_pause() } else { sleepUntilMoved(from: seen) }
            }
            let now = generation.load(ordering: .acquiring)
            let count = Self.count(now)
            guard index < count else {
                sleepUntilNeeded(index)
                continue
            }
            seen = now
            body?(Worker(index: index, count: count, pool: self))
            running.subtract(1, ordering: .acquiringAndReleasing)
        }
    }

    private static func count(_ generation: Int) -> Int { generation & (1 << countBits - 1) }

    /// Workers that have no part any more, because fewer threads are asked for, neither spin nor are woken for every piece.
    private func sleepUntilNeeded(_ index: Int) {
        bench.lock()
        while Self.count(generation.load(ordering: .sequentiallyConsistent)) <= index { bench.wait() }
        bench.unlock()
    }

    private func sleepUntilMoved(from seen: Int) {
        sleep.lock()
        sleepers.add(1, ordering: .sequentiallyConsistent)
        while generation.load(ordering: .sequentiallyConsistent) == seen { sleep.wait() }
        sleepers.subtract(1, ordering: .sequentiallyConsistent)
        sleep.unlock()
    }

    private func wait(_ count: Int) {
        let seen = phase.load(ordering: .acquiring)
        if arrived.add(1, ordering: .acquiringAndReleasing).newValue == count {
            arrived.store(0, ordering: .relaxed)
            phase.add(1, ordering: .releasing)
            return
        }
        var spun = 0
        while phase.load(ordering: .acquiring) == seen { Self.pause(&spun) }
    }

    /// Spins, and gives the processor away once the wait is longer than a moment (more workers than processors).
    private static func pause(_ spun: inout Int) {
        spun += 1
        if spun < spins { qk_pause() } else { sched_yield() }
    }
}

/// A mutex with a condition.
final class Lock: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() { renew() }

    /// Makes it anew, held by nobody: for a forked child, whose parent's threads may have held it.
    func renew() {
        var attributes = pthread_mutexattr_t()
        pthread_mutexattr_init(&attributes)
        pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_ERRORCHECK))
        pthread_mutex_init(mutex, &attributes)
        pthread_mutexattr_destroy(&attributes)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func lock() { pthread_mutex_lock(mutex) }
    /// - Returns: false if this thread holds it already.
    func lockUnlessMine() -> Bool { pthread_mutex_lock(mutex) == 0 }
    func unlock() { pthread_mutex_unlock(mutex) }
    /// Only with the lock held.
    func wait() { pthread_cond_wait(condition, mutex) }

    func wakeAll() {
        lock()
        pthread_cond_broadcast(condition)
        unlock()
    }
}
