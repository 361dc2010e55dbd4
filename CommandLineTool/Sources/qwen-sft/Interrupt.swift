import Foundation
import Synchronization

/// Ctrl-C and other requests to end: ask what is under way to stop instead of ending the program.
enum Interrupt {
    private static let count = Atomic<Int>(0)
    private static let first = Atomic<Int32>(0)
    private static let isReading = Atomic<Bool>(false)

    /// From now on the first Ctrl-C is only noted; a second one before `take` ends the program.
    static func catchSignals() { catchSignals([SIGINT]) }

    /// For work that is to be saved first, however it is asked to end: by a job scheduler or a shutdown (SIGTERM), a terminal that
    /// is closed (SIGHUP), a limit of time (SIGXCPU).
    static func catchAllSignals() { catchSignals([SIGINT, SIGTERM, SIGHUP, SIGXCPU]) }

    /// Goes on although nobody reads the output any more.
    static func ignoreClosedPipes() { signal(SIGPIPE, SIG_IGN) }

    private static func catchSignals(_ numbers: [Int32]) {
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in numbers {
            var action = sigaction()
            // nohup has the program go on when its terminal is closed.
            if number == SIGHUP, sigaction(number, nil, &action) == 0,
                unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
                    == unsafeBitCast(SIG_IGN, to: Int.self)
            {
                continue
            }
            action = sigaction()
            action.__sigaction_handler.sa_handler = { number in Interrupt.noted(number) }
            action.sa_flags = SA_RESTART
            sigaction(number, &action, nil)
            sigaddset(&signals, number)
        }
        // Whoever started the program may have blocked them.
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    }

    /// Only async-signal-safe calls here.
    private static func noted(_ number: Int32) {
        if isReading.load(ordering: .relaxed) {
            guard isatty(STDIN_FILENO) == 1 else { _exit(130) }
            let text: StaticString = "\n(/quit or Ctrl-D ends the chat)\n> "
            _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
            return
        }
        _ = first.compareExchange(expected: 0, desired: number, ordering: .relaxed)
        let isSecond = count.add(1, ordering: .relaxed).newValue > 1
        // A terminal that is closed may send its signal twice.
        if number == SIGINT, isSecond { _exit(130) }
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

    /// What a program ends with that a signal ended: 130 after Ctrl-C, 143 after SIGTERM.
    static var exitCode: Int32 {
        let number = first.load(ordering: .relaxed)
        return number == 0 ? Failure.Code.interrupted.rawValue : 128 + number
    }
}
