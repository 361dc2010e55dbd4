import Synchronization

/// Lets one thread at a time in; a second one is told so instead of waiting.
package final class Exclusive: Sendable {
    private let isBusy = Atomic<Bool>(false)

    package init() {}

    /// - Parameter name: what is used meanwhile.
    /// - Throws: `busy` while another thread is inside; what `body` throws.
    package func callAsFunction<T>(
        _ name: String, _ body: () throws(QwenSFTError) -> T
    ) throws(QwenSFTError) -> T {
        guard !isBusy.exchange(true, ordering: .acquiring) else {
            throw QwenSFTError(.busy, "the \(name) is in use on another thread")
        }
        defer { isBusy.store(false, ordering: .releasing) }
        return try body()
    }
}
