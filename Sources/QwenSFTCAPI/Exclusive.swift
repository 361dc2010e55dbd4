import QwenSFTCore
import Synchronization

/// Lets one thread at a time use what a handle holds and the core does not guard itself.
final class Exclusive: Sendable {
    private let isBusy = Atomic<Bool>(false)

    /// - Throws: `busy` while another thread is inside; what `body` throws.
    func callAsFunction<T>(_ name: String, _ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        guard !isBusy.exchange(true, ordering: .acquiring) else {
            throw QwenSFTError(.busy, "the \(name) is in use on another thread")
        }
        defer { isBusy.store(false, ordering: .releasing) }
        return try body()
    }
}
