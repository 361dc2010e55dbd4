import Libc
import QwenSFTCore

/// What an opaque pointer of the header points to: a mark and a retained Swift object.
///
/// The mark and the object's class tell a NULL, a freed object (as long as its memory was not given out again) and an
/// object of another type from the right one; a pointer to anything else cannot be told.
struct Handle {
    private var object: Unmanaged<AnyObject>
    private var unused: UInt64  // the allocator writes into the first 16 bytes of freed memory
    private var mark: UInt64

    private static let live: UInt64 = 0x5146_5420_6C69_7665

    /// A new handle that holds `object`.
    static func make(_ object: AnyObject) throws(QwenSFTError) -> OpaquePointer {
        guard let memory = malloc(MemoryLayout<Handle>.size) else {
            throw QwenSFTError(.outOfMemory, "no memory for a handle")
        }
        let handle = Handle(object: Unmanaged.passRetained(object), unused: 0, mark: live)
        memory.initializeMemory(as: Handle.self, to: handle)
        return OpaquePointer(memory)
    }

    /// The object of a handle, retained for the time of the call.
    /// - Throws: `invalidArgument` for NULL and for anything that is no live handle of a `T`.
    static func object<T: AnyObject>(_ pointer: OpaquePointer?, as type: T.Type, _ name: String) throws(QwenSFTError)
        -> T
    {
        guard let pointer else { throw .isNull(name) }
        guard let handle = live(pointer), let object = handle.pointee.object.takeUnretainedValue() as? T else {
            throw QwenSFTError(.invalidArgument, "argument '\(name)' is not a live sft_\(name)")
        }
        return object
    }

    /// Gives the handle back; anything but a live handle of a `T` is left alone.
    static func free<T: AnyObject>(_ pointer: OpaquePointer?, as type: T.Type) {
        guard let pointer, let handle = live(pointer), handle.pointee.object.takeUnretainedValue() is T else { return }
        let object = handle.pointee.object
        // An ordinary store into memory that is freed at once would be optimized away, and the mark would live on.
        explicit_bzero(handle, MemoryLayout<Handle>.size)
        Libc.free(UnsafeMutableRawPointer(handle))
        object.release()
    }

    private static func live(_ pointer: OpaquePointer) -> UnsafeMutablePointer<Handle>? {
        guard UInt(bitPattern: pointer) % UInt(MemoryLayout<Handle>.alignment) == 0 else { return nil }
        let handle = UnsafeMutablePointer<Handle>(pointer)
        return handle.pointee.mark == live ? handle : nil
    }
}
