import Glibc

/// Seconds of a monotonic clock, or of this thread's processor time.
func now(ofThread: Bool = false) -> Double {
    var time = timespec()
    clock_gettime(ofThread ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
