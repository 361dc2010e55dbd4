// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 10: the process.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_thread_count")
public func sft_thread_count() -> Int {
    Threads.count
}

@implementation @_cdecl("sft_set_thread_count")
public func sft_set_thread_count(_ count: Int) -> sft_status {
    outcome { () throws(QwenSFTError) in try Threads.setCount(count) }
}

@implementation @_cdecl("sft_isa")
public func sft_isa() -> UnsafePointer<CChar>! {
    switch InstructionSet.current {
    case .plain: cString("plain")
    case .avx2: cString("avx2")
    case .avx512: cString("avx512")
    case .avx512BF16: cString("avx512_bf16")
    case .neon: cString("neon")
    case .neonDotProduct: cString("neon_dotprod")
    case .neonI8MM: cString("neon_i8mm")
    }
}

@implementation @_cdecl("sft_set_max_isa")
public func sft_set_max_isa(_ isa: UnsafePointer<CChar>!, _ isa_size: Int) -> sft_status {
    outcome { () throws(QwenSFTError) in try InstructionSet.limit(toSetNamed: try text(isa, isa_size, "isa")) }
}

@implementation @_cdecl("sft_set_warning_callback")
public func sft_set_warning_callback(
    _ callback: sft_warning_callback!, _ user_data: UnsafeMutableRawPointer!
) -> sft_status {
    // Whoever sets the callback answers for user_data being usable on every thread.
    nonisolated(unsafe) let userData = user_data
    return outcome {
        guard let callback else { return Warnings.setHandler(nil) }
        Warnings.setHandler { message in
            var message = message
            message.withUTF8 { utf8 in
                let text = UnsafeRawPointer(utf8.baseAddress)?.assumingMemoryBound(to: CChar.self)
                _ = HostThread.callback {
                    callback(userData, text, utf8.count)
                    return 0
                }
            }
        }
    }
}
