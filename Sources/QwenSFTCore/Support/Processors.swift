import CSystem
import Libc

/// How many processors this process may use.
package enum Processors {
    /// Those it may run on; where a container's quota (cgroup version 1 or 2) grants less time than that, as many whole ones as
    /// it grants. At least 1.
    ///
    /// Rounded down: workers wait for each other, and all of them for the one that the quota stops.
    package static let count = max(1, min(Int(qk_processor_count()), Int(quota() ?? .infinity, clampedTo: 1 << 16)))

    /// Processors' worth of time that the control groups of this process, and those around them, grant; nil without a limit.
    /// - Parameter root: what stands before /proc and /sys; for tests.
    package static func quota(root: String = "") -> Double? {
        var least: Double?
        for line in (contents(root + "/proc/self/cgroup") ?? "").split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let isVersion2 = fields[1].isEmpty
            guard isVersion2 || fields[1].split(separator: ",").contains("cpu") else { continue }
            let mounts = isVersion2 ? ["", "/unified"] : ["/cpu", "/cpu,cpuacct", "/cpuacct,cpu"]
            // Within a container the path may be that outside of it, where only the root is to be found.
            var group = fields[2]
            while true {
                for mount in mounts {
                    let directory = root + "/sys/fs/cgroup" + mount + (group == "/" ? "" : group)
                    guard let own = isVersion2 ? limitVersion2(directory) : limitVersion1(directory) else { continue }
                    least = min(least ?? own, own)
                }
                guard let slash = group.lastIndex(of: "/"), group != "/" else { break }
                group = slash == group.startIndex ? "/" : group[..<slash]
            }
        }
        return least
    }

    /// cpu.max: "200000 100000" or "max 100000", microseconds in every period.
    private static func limitVersion2(_ directory: String) -> Double? {
        let parts = (contents(directory + "/cpu.max") ?? "").split(whereSeparator: \.isWhitespace)
        guard parts.count == 2 else { return nil }
        return ratio(parts[0], parts[1])
    }

    /// The same in two files; −1 is no limit.
    private static func limitVersion1(_ directory: String) -> Double? {
        guard let quota = contents(directory + "/cpu.cfs_quota_us"),
            let period = contents(directory + "/cpu.cfs_period_us")
        else { return nil }
        return ratio(quota[...], period[...])
    }

    private static func ratio(_ quota: Substring, _ period: Substring) -> Double? {
        func number(_ text: Substring) -> Int? {
            text.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
        }
        guard let quota = number(quota), let period = number(period) else { return nil }
        return Double(quota) / Double(period)
    }

    /// A short file of the system's.
    private static func contents(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1 << 14)
        let count = read(descriptor, &bytes, bytes.count)
        return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
    }
}

extension Int {
    fileprivate init(_ value: Double, clampedTo most: Int) {
        self = value < Double(most) ? Int(value) : most
    }
}
