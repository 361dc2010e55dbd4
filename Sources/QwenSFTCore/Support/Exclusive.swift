import Synchronization

/// Lets one call at a time in; a second one is told so instead of waiting.
package final class Exclusive: Sendable {
    /// The number of the call inside; 0: there is none.
    private let holder = Atomic<Int>(0)
    private static let calls = Atomic<Int>(0)

    package init() {}

    /// - Parameters:
    ///   - name: what is used meanwhile.
    ///   - afterAbandonment: what is to be known of it after a call that will never return (`HostThread`).
    /// - Throws: `busy` while another call is inside; what `body` throws.
    package func callAsFunction<T>(
        _ name: String, afterAbandonment: @escaping () -> String? = { nil }, _ body: () throws(QwenSFTError) -> T
    ) throws(QwenSFTError) -> T {
        try HostThread.call { () throws(QwenSFTError) in
            let thread = HostThread.current
            let call = Self.calls.add(1, ordering: .relaxed).newValue
            guard holder.compareExchange(expected: 0, desired: call, ordering: .acquiring).exchanged else {
                throw QwenSFTError(
                    .busy,
                    thread.holds(self)
                        ? "the \(name) is in use by a call on this thread, whose callback has not returned"
                        : "the \(name) is in use on another thread")
            }
            defer { leave(call) }
            let hold = HostThread.Hold(
                owner: self,
                abandon: { [self] in
                    leave(call)
                    return "the \(name)" + (afterAbandonment().map { " (\($0))" } ?? "")
                })
            return try thread.holding(hold, body)
        }
    }

    private func leave(_ call: Int) {
        _ = holder.compareExchange(expected: call, desired: 0, ordering: .releasing)
    }
}
