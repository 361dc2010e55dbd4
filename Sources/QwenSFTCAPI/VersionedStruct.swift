import CQwenSFT
import Libc
import QwenSFTCore

// Structs of the header grow at their end. The caller's may be shorter (an older program) or longer (a newer one) than ours.

/// Options: the caller's, laid over the defaults. NULL stands for those.
/// - Throws: `invalidArgument` for an impossible struct_size, `unsupported` if fields unknown here are set.
func options<T: OptionsStruct & BitwiseCopyable>(_ pointer: UnsafePointer<T>?, _ name: String = "options")
    throws(QwenSFTError) -> T
{
    guard let pointer else { return T.defaults }
    let source = UnsafeRawPointer(pointer)
    let size = source.loadUnaligned(as: Int.self)
    try checkStructSize(size, of: T.self, name, "struct_size; use its _init function")
    try checkUnknownFieldsAreZero(source, from: MemoryLayout<T>.stride, to: size, name)
    var result = T.defaults
    memcpy(&result, source, min(size, MemoryLayout<T>.stride))
    return result
}

/// An _init function: fills the caller's options struct with the defaults, and what is unknown here with 0.
func initialize<T: OptionsStruct & BitwiseCopyable>(_ pointer: UnsafeMutablePointer<T>?, _ size: Int) -> sft_status {
    outcome { () throws(QwenSFTError) in try initialize(pointer, size, from: T.coreDefaults, "options") }
}

/// Fills the caller's options struct with the core's values, and what is unknown here with 0.
func initialize<T: OptionsStruct & BitwiseCopyable>(
    _ pointer: UnsafeMutablePointer<T>?, _ size: Int, from core: T.Core, _ name: String
) throws(QwenSFTError) {
    guard let pointer else { throw .isNull(name) }
    try checkStructSize(size, of: T.self, name, "size; pass sizeof the struct")
    memset(pointer, 0, size)
    var values = T(core)
    memcpy(pointer, &values, min(size, MemoryLayout<T>.stride))
    UnsafeMutableRawPointer(pointer).storeBytes(of: size, as: Int.self)
}

/// Fills the caller's results struct, of `size` bytes, with `result`.
func fill<T: BitwiseCopyable>(
    _ pointer: UnsafeMutablePointer<T>?, _ size: Int, _ name: String, _ result: () throws(QwenSFTError) -> T
) throws(QwenSFTError) {
    guard let pointer else { throw .isNull(name) }
    try checkStructSize(size, of: T.self, name, "size; pass sizeof the struct")
    memset(pointer, 0, size)
    var value = try result()
    memcpy(pointer, &value, min(size, MemoryLayout<T>.stride))
}

/// Calls `body` with each of an array of structs, as the caller's compiler laid it out.
/// - Parameter older: the size that it had in older headers.
func forEachElement<T: BitwiseCopyable>(
    _ pointer: UnsafePointer<T>?, elementSize: Int, older: Int = MemoryLayout<T>.stride, count: Int, _ name: String,
    _ body: (_ index: Int, _ element: T) throws(QwenSFTError) -> Void
) throws(QwenSFTError) {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: elementSize)
    guard count >= 0, bytes >= 0, !overflow else { throw .size(name) }
    guard count > 0 else { return }
    guard let pointer else { throw .isNull(name) }
    guard isPossible(pointer, byteCount: bytes) else { throw .size(name) }
    guard elementSize == older || (MemoryLayout<T>.stride...4096).contains(elementSize),
        elementSize.isMultiple(of: MemoryLayout<T>.alignment)
    else {
        throw QwenSFTError(
            .invalidArgument, "'\(name)': element size is \(elementSize), expected \(MemoryLayout<T>.stride)")
    }
    for i in 0..<count {
        let element = UnsafeRawPointer(pointer) + i * elementSize
        try checkUnknownFieldsAreZero(element, from: MemoryLayout<T>.stride, to: elementSize, "\(name)[\(i)]")
        if elementSize >= MemoryLayout<T>.stride {
            try body(i, element.loadUnaligned(as: T.self))
            continue
        }
        // An older program's is shorter; what it does not have is 0.
        var bytes = [UInt8](repeating: 0, count: MemoryLayout<T>.stride)
        memcpy(&bytes, element, elementSize)
        try body(i, bytes.withUnsafeBytes { $0.loadUnaligned(as: T.self) })
    }
}

/// A size that no compiler gives the struct ends inside a field, or is garbage. As no field is larger than the struct's
/// alignment, one that is a multiple of it never does.
private func checkStructSize<T>(_ size: Int, of type: T.Type, _ name: String, _ what: String) throws(QwenSFTError) {
    guard size >= MemoryLayout<Int>.size, size <= 4096, size.isMultiple(of: MemoryLayout<T>.alignment) else {
        throw QwenSFTError(.invalidArgument, "'\(name)': \(UInt(bitPattern: size)) is no possible \(what)")
    }
}

private func checkUnknownFieldsAreZero(
    _ start: UnsafeRawPointer, from known: Int, to size: Int, _ name: String
) throws(QwenSFTError) {
    guard size > known else { return }
    for offset in known..<size where start.load(fromByteOffset: offset, as: UInt8.self) != 0 {
        throw QwenSFTError(.unsupported, "'\(name)' sets a field that this version of the library does not know")
    }
}
