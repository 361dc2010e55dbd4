// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 5: adapters.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_model_add_adapter")
public func sft_model_add_adapter(
    _ model: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ name_size: Int, _ configuration: UnsafePointer<CChar>!,
    _ configuration_size: Int, _ seed: UInt64
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let name = try text(name, name_size, "name")
        var made = LoRAConfiguration()
        if configuration != nil {
            made = try LoRAConfiguration(
                parsing: UnsafeRawBufferPointer(utf8(configuration, configuration_size, "configuration")))
        }
        made.seed = seed
        try object.model.addAdapter(made, name: name)
    }
}

@implementation @_cdecl("sft_model_load_adapter")
public func sft_model_load_adapter(
    _ model: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ name_size: Int, _ directory: UnsafePointer<CChar>!,
    _ directory_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let name = try text(name, name_size, "name")
        try object.model.loadAdapter(path(directory, directory_size, "directory"), name: name)
    }
}

@implementation @_cdecl("sft_model_save_adapter")
public func sft_model_save_adapter(
    _ model: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ name_size: Int, _ directory: UnsafePointer<CChar>!,
    _ directory_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let name = try text(name, name_size, "name")
        try object.model.saveAdapter(to: path(directory, directory_size, "directory"), name: name)
    }
}

@implementation @_cdecl("sft_model_set_adapter")
public func sft_model_set_adapter(
    _ model: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ name_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        try object.model.setAdapter(name == nil && name_size == 0 ? nil : text(name, name_size, "name"))
    }
}

@implementation @_cdecl("sft_model_delete_adapter")
public func sft_model_delete_adapter(
    _ model: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ name_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try Handle.model(model).model.deleteAdapter(text(name, name_size, "name"))
    }
}

@implementation @_cdecl("sft_model_merge_adapter")
public func sft_model_merge_adapter(
    _ model: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ name_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try Handle.model(model).model.mergeAdapter(text(name, name_size, "name"))
    }
}

@implementation @_cdecl("sft_model_count_adapters")
public func sft_model_count_adapters(_ model: OpaquePointer!, _ count: UnsafeMutablePointer<Int>!) -> sft_status {
    outcome { () throws(QwenSFTError) in
        guard let count else { throw .isNull("count") }
        count.pointee = 0
        count.pointee = try Handle.model(model).model.listAdapters().names.count
    }
}

@implementation @_cdecl("sft_model_get_adapter_name")
public func sft_model_get_adapter_name(
    _ model: OpaquePointer!, _ index: Int, _ name: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(name, capacity, size, "name")
        let names = try Handle.model(model).model.listAdapters().names
        try output.write(element(index, of: names, ("model", "adapters")))
    }
}

@implementation @_cdecl("sft_model_get_active_adapter")
public func sft_model_get_active_adapter(
    _ model: OpaquePointer!, _ name: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(name, capacity, size, "name")
        try output.write(Handle.model(model).model.listAdapters().active ?? "")
    }
}
