import Foundation
import QwenSFTCore
import Testing

@Suite(.serialized, .processWide) struct ThreadPoolTests {
    @Test func everyWorkerRunsOnceWhateverTheCount() {
        for round in 0..<2000 {
            let workers = 1 + round % 5
            var ran = [Int](repeating: 0, count: workers)
            ran.withUnsafeMutableBufferPointer { ran in
                nonisolated(unsafe) let ran = ran
                ThreadPool.shared.run(threads: workers) { ran[$0.index] += 1 }
            }
            #expect(ran == [Int](repeating: 1, count: workers))
        }
    }

    /// Several host threads at once, each with another number of workers.
    @Test func callersTakeTurns() {
        let sums = UnsafeMutablePointer<Int>.allocate(capacity: 3)
        defer { sums.deallocate() }
        nonisolated(unsafe) let shared = sums
        let group = DispatchGroup()
        for caller in 0..<3 {
            group.enter()
            shared[caller] = 0
            Thread {
                for _ in 0..<300 {
                    var ran = [Int](repeating: 0, count: caller + 2)
                    ran.withUnsafeMutableBufferPointer { ran in
                        nonisolated(unsafe) let ran = ran
                        ThreadPool.shared.run(threads: caller + 2) { ran[$0.index] += 1 }
                    }
                    shared[caller] += ran.reduce(0, +)
                }
                group.leave()
            }.start()
        }
        group.wait()
        for caller in 0..<3 { #expect(sums[caller] == 300 * (caller + 2)) }
    }

    @Test func barrierSeparatesPhases() {
        let n = 1000
        var first = [Int](repeating: 0, count: n)
        var second = first
        first.withUnsafeMutableBufferPointer { first in
            second.withUnsafeMutableBufferPointer { second in
                ThreadPool.shared.run(threads: 3) { worker in
                    for i in worker.range(of: n) { first[i] = i }
                    worker.barrier()
                    for i in worker.range(of: n) { second[i] = first[n - 1 - i] }
                }
            }
        }
        #expect(second == (0..<n).reversed())
    }

    @Test func rangesCoverAllInOrder() {
        for (n, unit, workers) in [(10, 1, 3), (100, 16, 4), (5, 64, 2), (0, 1, 2), (7, 1, 8)] {
            var all: [Int] = []
            for index in 0..<workers {
                var mine: Range<Int> = 0..<0
                ThreadPool.shared.run(threads: workers) { if $0.index == index { mine = $0.range(of: n, unit: unit) } }
                all += Array(mine)
            }
            #expect(all == Array(0..<n))
        }
    }

    /// Every worker is taken: a run within a run is the affair of the one that asks.
    @Test func runsWithinARun() {
        var sums = [Int](repeating: 0, count: 4)
        sums.withUnsafeMutableBufferPointer { sums in
            nonisolated(unsafe) let sums = sums
            ThreadPool.shared.run(threads: 4) { worker in
                ThreadPool.shared.run(threads: 3) { inner in
                    inner.barrier()
                    sums[worker.index] += inner.count
                }
                worker.barrier()
                ThreadPool.shared.run(threads: 2) { sums[worker.index] += $0.range(of: 10).count }
            }
        }
        #expect(sums == [11, 11, 11, 11])
    }

    /// A number of threads that is set meanwhile is the next computation's, on every thread for itself.
    @Test func aComputationKeepsItsNumber() throws {
        try with(threads: 3) {
            try ThreadPool.shared.session { () throws(QwenSFTError) in
                ThreadPool.shared.threads = 5
                #expect(ThreadPool.shared.threads == 3)
                try ThreadPool.shared.session { () throws(QwenSFTError) in #expect(ThreadPool.shared.threads == 3) }
                let group = DispatchGroup()
                group.enter()
                Thread {
                    #expect(ThreadPool.shared.threads == 5)
                    group.leave()
                }.start()
                group.wait()
                // A callback of the host's is no part of the computation, but what follows it is.
                _ = HostThread.callback {
                    #expect(ThreadPool.shared.threads == 5)
                    return 0
                }
                #expect(ThreadPool.shared.threads == 3)
            }
            #expect(ThreadPool.shared.threads == 5)
        }
    }

    /// All ways in and out of sleep: pieces close together and far apart, with more and with fewer workers, equal and unequal
    /// shares, barriers that somebody comes to late, callers on several threads. Tests/C/stress_test.c adds forks.
    @Test func sleepingAndWaking() {
        let group = DispatchGroup()
        let wrong = Counter()
        for _ in 0..<3 {
            group.enter()
            Thread {
                var random = SystemRandomNumberGenerator()
                for _ in 0..<300 {
                    let workers = Int.random(in: 1...6, using: &random)
                    let late = UInt32([0, 0, 0, 10, 100, 3000].randomElement(using: &random) ?? 0)
                    let who = Int.random(in: 0..<workers, using: &random)
                    var sums = [Int](repeating: 0, count: workers)
                    sums.withUnsafeMutableBufferPointer { sums in
                        nonisolated(unsafe) let sums = sums
                        ThreadPool.shared.run(threads: workers) { worker in
                            if late > 0, worker.index == who { usleep(late) }
                            sums[worker.index] += 1
                            worker.barrier()
                            let all = sums.reduce(0, +)
                            worker.barrier()
                            sums[worker.index] = all
                        }
                    }
                    if sums != [Int](repeating: workers, count: workers) { wrong.add() }
                    if late > 100 { usleep(late) }
                }
                group.leave()
            }.start()
        }
        group.wait()
        #expect(wrong.count == 0)
    }

    private final class Counter: @unchecked Sendable {
        private let lock = NSLock()
        private var value = 0
        var count: Int { lock.withLock { value } }
        func add() { lock.withLock { value += 1 } }
    }
}

@Suite struct ProcessorsTests {
    private func quota(_ files: [String: String]) throws -> Double? {
        let root = try TestDirectory()
        for (path, text) in files {
            let full = root.path + path
            try FileManager.default.createDirectory(
                atPath: (full as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try Data(text.utf8).write(to: URL(fileURLWithPath: full))
        }
        return Processors.quota(root: root.path)
    }

    @Test func version2() throws {
        let group = "0::/user.slice/job\n"
        #expect(try quota([:]) == nil)
        #expect(try quota(["/proc/self/cgroup": group]) == nil)
        #expect(
            try quota(["/proc/self/cgroup": group, "/sys/fs/cgroup/user.slice/job/cpu.max": "max 100000\n"]) == nil)
        #expect(
            try quota(["/proc/self/cgroup": group, "/sys/fs/cgroup/user.slice/job/cpu.max": "250000 100000\n"]) == 2.5)
        // The least of all groups around counts.
        #expect(
            try quota([
                "/proc/self/cgroup": group, "/sys/fs/cgroup/user.slice/job/cpu.max": "400000 100000\n",
                "/sys/fs/cgroup/user.slice/cpu.max": "150000 100000\n",
            ]) == 1.5)
        // In a container: the path is "/", or one that is not to be seen from inside.
        for path in ["/", "/docker/0123"] {
            #expect(
                try quota(["/proc/self/cgroup": "0::\(path)\n", "/sys/fs/cgroup/cpu.max": "50000 100000\n"]) == 0.5)
        }
        for text in ["", "x 100000", "100000", "-1 100000", "100000 0", "0 100000"] {
            #expect(try quota(["/proc/self/cgroup": "0::/", "/sys/fs/cgroup/cpu.max": text]) == nil)
        }
    }

    @Test func version1() throws {
        let groups = "5:memory:/docker/0123\n4:cpu,cpuacct:/docker/0123\n0::/system.slice\n"
        for mount in ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"] {
            for place in ["", "/docker", "/docker/0123"] {
                func files(_ quota: String) -> [String: String] {
                    [
                        "/proc/self/cgroup": groups, mount + place + "/cpu.cfs_quota_us": quota,
                        mount + place + "/cpu.cfs_period_us": "100000\n",
                    ]
                }
                #expect(try quota(files("300000\n")) == 3)
                #expect(try quota(files("-1\n")) == nil)
            }
        }
    }

    @Test func atLeastOne() { #expect(Processors.count >= 1) }
}
