import Libc

/// How much memory this process can still have without swapping.
public enum AvailableMemory {
    /// In bytes: what the system calls available, or less where a container's limit leaves less; nil where the system does
    /// not say.
    public static var bytes: Int? { bytes(root: "") }

    /// - Parameter root: what stands before /proc and /sys; for tests.
    package static func bytes(root: String) -> Int? {
        var least: Int?
        for line in (contents(root + "/proc/meminfo") ?? "").split(separator: "\n")
        where line.hasPrefix("MemAvailable:") {
            least = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }.map { $0 << 10 }
        }
        for line in (contents(root + "/proc/self/cgroup") ?? "").split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3, fields[1].isEmpty || fields[1].split(separator: ",").contains("memory") else {
                continue
            }
            // Within a container the path may be that outside of it, where only the root is to be found.
            var group = fields[2]
            while true {
                let directory = root + "/sys/fs/cgroup" + (fields[1].isEmpty ? "" : "/memory") + group
                if let left = left(in: directory) { least = min(least ?? left, left) }
                guard let slash = group.lastIndex(of: "/") else { break }
                group = group[..<slash]
            }
        }
        return least
    }

    /// What a control group may still take: file pages that it could give back count as free.
    private static func left(in directory: String) -> Int? {
        let isVersion2 = number(directory + "/memory.max") != nil
        let (limitFile, usageFile) =
            isVersion2 ? ("/memory.max", "/memory.current") : ("/memory.limit_in_bytes", "/memory.usage_in_bytes")
        // Version 1 writes "no limit" as a number beyond any memory.
        guard let limit = number(directory + limitFile), limit < 1 << 60, let usage = number(directory + usageFile)
        else { return nil }
        var files = 0
        for line in (contents(directory + "/memory.stat") ?? "").split(separator: "\n") {
            let fields = line.split(separator: " ")
            if fields.count == 2, fields[0] == (isVersion2 ? "inactive_file" : "total_inactive_file") {
                files = Int(fields[1]) ?? 0
            }
        }
        return max(0, limit - usage + min(files, usage))
    }

    private static func number(_ path: String) -> Int? {
        contents(path)?.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }.flatMap { $0 >= 0 ? $0 : nil }
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
