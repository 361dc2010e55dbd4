// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 5: GGUF files.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_gguf_options_init")
public func sft_gguf_options_init(
    _ options: UnsafeMutablePointer<sft_gguf_options>!, _ struct_size: Int
) -> sft_status {
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_model_save_gguf")
public func sft_model_save_gguf(
    _ model: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ path_size: Int,
    _ options: UnsafePointer<sft_gguf_options>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let path = try QwenSFTCAPI.path(path, path_size, "path")
        let fields = try QwenSFTCAPI.options(options)
        let form = try fields.core()
        try object.model.saveGGUF(to: path, type: form.type) { done, total in
            progress(fields.on_progress, fields.user_data, done, total)
        }
        if form.writesModelfile { try object.model.saveModelfile(beside: path) }
    }
}

@implementation @_cdecl("sft_model_save_adapter_gguf")
public func sft_model_save_adapter_gguf(
    _ model: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ name_size: Int, _ path: UnsafePointer<CChar>!,
    _ path_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let name = try text(name, name_size, "name")
        try object.model.saveAdapterGGUF(to: QwenSFTCAPI.path(path, path_size, "path"), name: name)
    }
}

/// What is written to a GGUF file, and what beside it.
struct GGUFForm {
    var type: GGUFType?
    var writesModelfile = false
}

extension sft_gguf_options: OptionsStruct {
    static var coreDefaults: GGUFForm { GGUFForm() }
    static var fields: [OptionsField<Self, GGUFForm>] {
        [
            .constant("type", ggufTypes, \.type, \.type),
            .flag("writes_modelfile", \.writes_modelfile, \.writesModelfile),
        ]
    }
}
