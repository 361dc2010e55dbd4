// The C library of the system, under one name, and what the systems' ones have differently.
#if canImport(Glibc)
    @_exported public import Glibc
#elseif canImport(Musl)
    @_exported public import Musl
#else
    @_exported public import Darwin
#endif

private final class Start {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Runs `body` on a thread of its own, for whose end nobody waits.
/// - Returns: 0, or an error number where the system refuses it.
public func startThread(_ body: @escaping @Sendable () -> Void) -> CInt {
    #if canImport(Darwin)
        var thread: pthread_t?
    #else
        var thread: pthread_t = .init()
    #endif
    let start = Unmanaged.passRetained(Start(body))
    let status = pthread_create(
        &thread, nil,
        { argument in
            let start: UnsafeMutableRawPointer? = argument  // not optional everywhere
            if let start { Unmanaged<Start>.fromOpaque(start).takeRetainedValue().body() }
            return nil
        }, start.toOpaque())
    guard status == 0 else {
        start.release()
        return status
    }
    #if canImport(Darwin)
        if let thread { pthread_detach(thread) }
    #else
        pthread_detach(thread)
    #endif
    return 0
}

/// The file name of a library of the system's.
public func sharedLibrary(_ name: String, version: Int) -> String {
    #if canImport(Darwin)
        "lib\(name).\(version).dylib"
    #else
        "lib\(name).so.\(version)"
    #endif
}
