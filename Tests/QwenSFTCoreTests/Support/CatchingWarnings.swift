import QwenSFTCore

/// Runs `body` and collects the warnings that are sent meanwhile. Tests that use it are `.processWide`.
func catchingWarnings<T>(_ body: () throws -> T) throws -> (T, [String]) {
    let warnings = Collected()
    Warnings.setHandler { message in warnings.list.withLock { $0.append(message) } }
    defer { Warnings.setHandler(nil) }
    return (try body(), warnings.list.withLock { $0 })
}

private final class Collected: Sendable {
    let list = Locked<[String]>([])
}
