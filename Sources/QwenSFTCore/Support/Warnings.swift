/// What a person should know although nothing failed. The library prints nothing: a warning goes to the handler that the
/// host has set, and nowhere if it has set none.
public enum Warnings {
    public typealias Handler = @Sendable (_ message: String) -> Void

    /// The handler, and its calls under way on all threads.
    final class State: @unchecked Sendable {
        // All with `lock` held.
        let lock = Lock()
        var handler: Handler?
        /// Of the handler, counted up with every other one.
        var number = 0
        var calls: [Int: Int] = [:]

        /// Begins a call.
        func begin() -> (handler: Handler, number: Int)? {
            lock.lock()
            defer { lock.unlock() }
            guard let handler else { return nil }
            calls[number, default: 0] += 1
            return (handler, number)
        }

        func end(_ number: Int) {
            lock.lock()
            defer { lock.unlock() }
            guard let count = calls[number] else { return }
            calls[number] = count > 1 ? count - 1 : nil
            lock.wakeAllHeld()
        }

        /// - Parameter waits: for calls of older handlers to end.
        func set(_ new: Handler?, waits: Bool) {
            lock.lock()
            defer { lock.unlock() }
            handler = new
            number += 1
            while waits, calls.keys.contains(where: { $0 < number }) { lock.wait() }
        }

        func beginAsChild() {
            lock.renew()
            calls = [:]
        }
    }

    static let state: State = {
        _ = Forking.isHandled
        return State()
    }()

    /// Sets the process's handler; `nil` drops warnings again. It is called on the thread that calls the library.
    ///
    /// When this returns, the handler before it is called no more, and none of its calls is under way; but the handler itself
    /// may set another one, and does not wait.
    public static func setHandler(_ new: Handler?) {
        state.set(new, waits: !HostThread.current.holds(state))
    }

    /// One line.
    package static func send(_ message: String) {
        guard let (handler, number) = state.begin() else { return }
        defer { state.end(number) }
        let hold = HostThread.Hold(
            owner: state,
            abandon: {
                state.end(number)
                return nil
            })
        HostThread.current.holding(hold) { handler(message) }
    }
}
