import Glibc

/// Seconds of a monotonic clock.
func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// The median duration of `work`, which gets the number of the repetition; about `budget` seconds in all.
func medianSeconds(budget: Double, atLeast: Int = 5, _ work: (Int) throws -> Void) rethrows -> Double {
    try work(0)
    var times: [Double] = []
    let start = now()
    var repetition = 1
    while times.count < atLeast || (now() - start < budget && times.count < 2000) {
        let before = now()
        try work(repetition)
        times.append(now() - before)
        repetition += 1
    }
    return times.sorted()[times.count / 2]
}
