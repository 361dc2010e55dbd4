// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 1: status and version.
import CLastError
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_last_error")
public func sft_last_error() -> UnsafePointer<CChar>! {
    UnsafePointer(qwensft_last_error_buffer())
}

@implementation @_cdecl("sft_status_name")
public func sft_status_name(_ status: sft_status) -> UnsafePointer<CChar>! {
    if status == sft_status(SFT_OK) { return cString("SFT_OK") }
    return switch QwenSFTError.Code(rawValue: status) {
    case .invalidArgument: cString("SFT_INVALID_ARGUMENT")
    case .notFound: cString("SFT_NOT_FOUND")
    case .io: cString("SFT_IO")
    case .invalidFile: cString("SFT_INVALID_FILE")
    case .unsupported: cString("SFT_UNSUPPORTED")
    case .outOfMemory: cString("SFT_OUT_OF_MEMORY")
    case .noSupervisedTokens: cString("SFT_NO_SUPERVISED_TOKENS")
    case .tooLong: cString("SFT_TOO_LONG")
    case .bufferTooSmall: cString("SFT_BUFFER_TOO_SMALL")
    case .nonFinite: cString("SFT_NON_FINITE")
    case .cancelled: cString("SFT_CANCELLED")
    case .busy: cString("SFT_BUSY")
    case nil: cString("unknown status")
    }
}

@implementation @_cdecl("sft_version")
public func sft_version() -> UInt32 {
    UInt32(SFT_VERSION_MAJOR * 1_000_000 + SFT_VERSION_MINOR * 1000 + SFT_VERSION_PATCH)
}

@implementation @_cdecl("sft_version_string")
public func sft_version_string() -> UnsafePointer<CChar>! {
    cString(QwenSFTLibrary.version)
}

/// Text that is always there.
func cString(_ text: StaticString) -> UnsafePointer<CChar> {
    UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}
