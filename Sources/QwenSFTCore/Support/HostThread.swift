import CSystem
import Libc

/// What the library knows of a thread of the host's that is calling it.
///
/// Calls nest through the host's callbacks: call, callback, call. During a call the thread has the default floating-point
/// environment, and may hold things: a model that does one thing at a time, OpenBLAS on one thread. During a callback thread and
/// process are as the host left them, but for the objects in use.
///
/// A callback that never returns, because an exception or a jump left it, leaves the frames of its call dead on the stack. The
/// thread's next call sees by their address that they are, and gives back what they held; so does the thread's end.
package final class HostThread {
    /// How many workers the computation under way counts on; 0: there is none.
    var workers = 0
    /// Whether the thread is in a piece of work of the pool.
    var isWorking = false
    private var isInCall = false
    /// The host's, during a call.
    private var floatingPoint = qk_floating_point()
    private var entries: [Entry] = []
    private var entriesMade = 0

    private struct Entry {
        let number: Int
        let kind: Kind

        enum Kind {
            /// A callback under way, whose frames lie below this place of the stack.
            case callback(below: UInt)
            /// Something that is held.
            case hold(Hold)
        }
    }

    /// Something that a call holds, and how it is given back.
    struct Hold {
        /// Whom it belongs to.
        let owner: AnyObject
        /// Gives it back while a callback runs, and takes it again.
        var suspend: () -> Void = {}
        var resume: () -> Void = {}
        /// Gives it back for a call that will never return; says what of.
        var abandon: () -> String? = { nil }
    }

    /// This thread's.
    static var current: HostThread {
        guard let key else { return HostThread() }
        if let known = pthread_getspecific(key) { return Unmanaged<HostThread>.fromOpaque(known).takeUnretainedValue() }
        let new = HostThread()
        let owned = Unmanaged.passRetained(new)
        // Without memory for it, every question is answered as on a thread that has made no call yet.
        if pthread_setspecific(key, owned.toOpaque()) != 0 { owned.release() }
        return new
    }

    /// nil where the process has too many of them already.
    private static let key: pthread_key_t? = {
        var key = pthread_key_t()
        let status = pthread_key_create(&key) { value in
            let thread: UnsafeMutableRawPointer? = value  // not optional everywhere
            guard let thread else { return }
            let ended = Unmanaged<HostThread>.fromOpaque(thread).takeRetainedValue()
            _ = ended.abandon(ended.entries)
        }
        return status == 0 ? key : nil
    }()

    /// Runs the body of a function that the host has called.
    package static func call<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        let thread = current
        guard !thread.isInCall else { return try body() }
        thread.endAbandonedCalls()
        let outer = thread.floatingPoint
        thread.floatingPoint = qk_take_floating_point()
        thread.isInCall = true
        defer {
            thread.isInCall = false
            qk_restore_floating_point(thread.floatingPoint)
            thread.floatingPoint = outer
        }
        return try body()
    }

    /// Runs a callback of the host's, with everything as the host left it.
    package static func callback(_ body: () -> Int32) -> Int32 {
        let thread = current
        let (isInCall, workers, floatingPoint) = (thread.isInCall, thread.workers, thread.floatingPoint)
        let holds = thread.holdsOfThisCall
        for hold in holds.reversed() { hold.suspend() }
        (thread.isInCall, thread.workers) = (false, 0)
        if isInCall { qk_restore_floating_point(floatingPoint) }
        defer {
            thread.floatingPoint = floatingPoint
            if isInCall { thread.floatingPoint = qk_take_floating_point() }
            (thread.isInCall, thread.workers) = (isInCall, workers)
            for hold in holds { hold.resume() }
        }
        return withoutActuallyEscaping(body) { body in
            let callback = Callback(thread: thread, body: body)
            qk_call_further_down(
                { context in
                    guard let context else { return }
                    Unmanaged<Callback>.fromOpaque(context).takeUnretainedValue().run()
                }, Unmanaged.passUnretained(callback).toOpaque())
            return callback.result
        }
    }

    private final class Callback {
        let thread: HostThread
        let body: () -> Int32
        var result: Int32 = 0

        init(thread: HostThread, body: @escaping () -> Int32) {
            self.thread = thread
            self.body = body
        }

        func run() {
            let number = thread.enter(.callback(below: UInt(qk_stack_position())))
            defer { thread.leave(number) }
            result = body()
        }
    }

    /// Runs `body` with something held, which is given back also if it never returns.
    func holding<T, E>(_ hold: Hold, _ body: () throws(E) -> T) throws(E) -> T {
        let number = enter(.hold(hold))
        defer { leave(number) }
        return try body()
    }

    /// Whether this thread holds something of `owner`'s, in whichever of its nested calls.
    func holds(_ owner: AnyObject) -> Bool {
        entries.contains { entry in
            if case .hold(let hold) = entry.kind { hold.owner === owner } else { false }
        }
    }

    private func enter(_ kind: Entry.Kind) -> Int {
        entriesMade += 1
        entries.append(Entry(number: entriesMade, kind: kind))
        return entriesMade
    }

    /// Nearly always the last; where the host switches between stacks within its callbacks, another one.
    private func leave(_ number: Int) {
        guard let index = entries.lastIndex(where: { $0.number == number }) else { return }
        entries.remove(at: index)
    }

    private var holdsOfThisCall: [Hold] {
        var holds: [Hold] = []
        for entry in entries.reversed() {
            guard case .hold(let hold) = entry.kind else { break }
            holds.append(hold)
        }
        return holds.reversed()
    }

    /// Gives back what is held by calls whose callbacks will never return.
    ///
    /// A call that such a callback made would have its frames below it. This one's are above, so the callback is over, and with it
    /// all that was called from it. That is only known on the stack that the system gave the thread: a host that runs on
    /// several (coroutines) may be on another one.
    private func endAbandonedCalls() {
        guard !entries.isEmpty else { return }
        let here = UInt(qk_stack_position())
        var (begin, dead) = (0, [Entry]())
        for (index, entry) in entries.enumerated() {
            guard case .callback(let position) = entry.kind else { continue }
            if position <= here, qk_is_on_thread_stack(position, here) != 0 { dead += entries[begin...index] }
            begin = index + 1
        }
        // What is held beyond the last callback belongs to a call that it had made.
        guard let last = dead.last else { return }
        if last.number == entries[max(0, begin - 1)].number { dead += entries[begin...] }
        entries.removeAll { entry in dead.contains { $0.number == entry.number } }
        let names = abandon(dead)
        guard !names.isEmpty else { return }
        Warnings.send(
            "a callback on this thread has not returned: an exception or a jump left it, and the call that made it, which is not allowed; "
                + "\(names.joined(separator: ", ")) can be used again, memory and files of that call are lost")
    }

    /// - Returns: what it was, for a person.
    private func abandon(_ entries: [Entry]) -> [String] {
        entries.reversed().compactMap { entry in
            if case .hold(let hold) = entry.kind { hold.abandon() } else { nil }
        }
    }
}
