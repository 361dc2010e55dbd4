import CLastError
import CQwenSFT
import QwenSFTCore

/// Runs the body of a function of the header. What it throws becomes the status and the thread's last error; nothing
/// else in the library sets that.
func outcome(_ body: () throws(QwenSFTError) -> Void) -> sft_status {
    do throws(QwenSFTError) {
        try Memory.holdReserve()
        try HostThread.call(body)
        return sft_status(SFT_OK)
    } catch {
        setLastError(error.message)
        return error.code.rawValue
    }
}

/// As `outcome`, for a function that creates an object: its handle is written to `out`, NULL on failure.
func creating(
    _ name: String, _ out: UnsafeMutablePointer<OpaquePointer?>?, _ body: () throws(QwenSFTError) -> AnyObject
) -> sft_status {
    out?.pointee = nil
    return outcome { () throws(QwenSFTError) in
        guard let out else { throw .isNull(name) }
        out.pointee = try Handle.make(body())
    }
}

/// One line, cut at a character's boundary to what fits.
private func setLastError(_ message: String) {
    let buffer = qwensft_last_error_buffer()
    guard let buffer else { return }
    var end = 0
    for scalar in message.unicodeScalars {
        let bytes = UTF8.encode(scalar.properties.isWhitespace && scalar != " " ? " " : scalar)
        guard let bytes, end + bytes.count < Int(QWENSFT_LAST_ERROR_SIZE) else { break }
        for byte in bytes {
            buffer[end] = CChar(bitPattern: byte == 0 ? 0x20 : byte)
            end += 1
        }
    }
    buffer[end] = 0
}

extension QwenSFTError {
    static func isNull(_ name: String) -> QwenSFTError {
        QwenSFTError(.invalidArgument, "argument '\(name)' is NULL")
    }
}
