/// A value that one thread at a time uses, for some instructions and without using another one meanwhile: all share a lock, which
/// is held while the host forks, so that a child never finds one taken. Not `Synchronization.Mutex`: that is compiled without
/// ThreadSanitizer, which then reports races.
package final class Locked<Value>: @unchecked Sendable {
    private var value: Value

    package init(_ value: Value) { self.value = value }

    package func withLock<Result, Failure>(_ body: (inout Value) throws(Failure) -> Result) throws(Failure) -> Result {
        lockOfValues.lock()
        defer { lockOfValues.unlock() }
        return try body(&value)
    }
}

let lockOfValues: Lock = {
    _ = Forking.isHandled
    return Lock()
}()
