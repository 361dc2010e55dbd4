import CSystem
import Libc
import Synchronization

/// Where threads wait for what another thread will change: they spin for a moment, because most waits are short, and then
/// sleep until they are woken.
///
/// Nobody spins for long: a thread of real-time priority that did would keep the one it waits for from the processor.
final class WaitingPlace: Sendable {
    private let lock = Lock()
    private let sleepers = Atomic<Int>(0)

    /// Pauses before anything else; about 50 µs.
    private static let spins = 2000

    /// Waits until `isOver`, which must read sequentially consistently.
    /// - Parameter yielding: give the processor away for so many nanoseconds before going to sleep: for waits that are
    ///   nearly always over by then.
    func wait(yielding nanoseconds: Int = 0, until isOver: () -> Bool) {
        for _ in 0..<Self.spins {
            if isOver() { return }
            qk_pause()
        }
        if nanoseconds > 0 {
            let end = Self.now() + nanoseconds
            repeat {
                if isOver() { return }
                sched_yield()
            } while Self.now() < end
        }
        sleep(until: isOver)
    }

    /// As `wait`, without spinning.
    func sleep(until isOver: () -> Bool) {
        lock.lock()
        sleepers.add(1, ordering: .sequentiallyConsistent)
        while !isOver() { lock.wait() }
        sleepers.subtract(1, ordering: .sequentiallyConsistent)
        lock.unlock()
    }

    /// To be called after a sequentially consistent change of what is waited for: then either the one who waits sees the change,
    /// or this sees the sleeper.
    func wakeAll() {
        if sleepers.load(ordering: .sequentiallyConsistent) > 0 { lock.wakeAll() }
    }

    /// For a forked child: nobody waits.
    func renew() {
        lock.renew()
        sleepers.store(0, ordering: .relaxed)
    }

    private static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
