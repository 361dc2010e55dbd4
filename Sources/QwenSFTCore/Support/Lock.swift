import Libc

/// A mutex with a condition.
final class Lock: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var isHeldForFork = false  // with the lock held

    init() { renew() }

    /// Makes it anew, held by nobody: for a forked child, whose parent's threads may have held it.
    func renew() {
        var attributes = pthread_mutexattr_t()
        pthread_mutexattr_init(&attributes)
        pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_ERRORCHECK))
        pthread_mutex_init(mutex, &attributes)
        pthread_mutexattr_destroy(&attributes)
        pthread_cond_init(condition, nil)
        isHeldForFork = false
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func lock() { pthread_mutex_lock(mutex) }
    func unlock() { pthread_mutex_unlock(mutex) }
    /// Only with the lock held.
    func wait() { pthread_cond_wait(condition, mutex) }

    /// Wakes everyone who waits; takes the lock.
    func wakeAll() {
        lock()
        wakeAllHeld()
        unlock()
    }

    /// As `wakeAll`, with the lock held.
    func wakeAllHeld() { pthread_cond_broadcast(condition) }

    /// Held while a child is forked, which then `renew`s it: nothing that the lock is for is under way at that moment. A signal handler may
    /// fork while its thread holds the lock already.
    func holdForFork() {
        if pthread_mutex_lock(mutex) == 0 { isHeldForFork = true }
    }

    /// In the parent.
    func releaseAfterFork() {
        guard isHeldForFork else { return }
        isHeldForFork = false
        unlock()
    }
}
