import Foundation
import Synchronization

/// Ctrl-C: asks what is under way to stop instead of ending the program.
enum Interrupt {
    private static let count = Atomic<Int>(0)
    private static let isReading = Atomic<Bool>(false)

    /// From now on the first Ctrl-C is only noted; a second one before `take` ends the program.
    static func catchSignals() {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in Interrupt.noted() }
        action.sa_flags = SA_RESTART
        sigaction(SIGINT, &action, nil)
        // Whoever started the program may have blocked the signal.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    }

    /// Only async-signal-safe calls here.
    private static func noted() {
        if isReading.load(ordering: .relaxed) {
            guard isatty(STDIN_FILENO) == 1 else { _exit(130) }
            let text: StaticString = "\n(/quit or Ctrl-D ends the chat)\n> "
            _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
            return
        }
        if count.add(1, ordering: .relaxed).newValue > 1 { _exit(130) }
    }

    /// While a line is being read there is nothing to stop; Ctrl-C then says how to leave, and ends the program where no person
    /// types the lines.
    static func whileReading<T>(_ body: () -> T) -> T {
        isReading.store(true, ordering: .relaxed)
        defer { isReading.store(false, ordering: .relaxed) }
        return body()
    }

    static var isPending: Bool { count.load(ordering: .relaxed) > 0 }

    /// Whether there was a Ctrl-C since the last call.
    static func take() -> Bool { count.exchange(0, ordering: .relaxed) > 0 }
}
