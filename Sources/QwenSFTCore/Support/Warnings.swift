import Synchronization

/// What a person should know although nothing failed. The library prints nothing: a warning goes to the handler that the
/// host has set, and nowhere if it has set none.
public enum Warnings {
    public typealias Handler = @Sendable (_ message: String) -> Void

    private static let handler = Mutex<Handler?>(nil)

    /// Sets the process's handler; `nil` drops warnings again. It is called on the thread that notices.
    public static func setHandler(_ new: Handler?) {
        handler.withLock { $0 = new }
    }

    /// One line.
    package static func send(_ message: String) {
        // Called outside the lock, so that a handler may set another one.
        handler.withLock { $0 }?(message)
    }
}
