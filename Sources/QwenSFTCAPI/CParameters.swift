// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 9: parameters.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_model_parameter_count")
public func sft_model_parameter_count(_ model: OpaquePointer!) -> Int {
    (try? Handle.model(model))?.model.parameters.count ?? 0
}

@implementation @_cdecl("sft_model_get_parameter")
public func sft_model_get_parameter(
    _ model: OpaquePointer!, _ index: Int, _ parameter: UnsafeMutablePointer<sft_parameter>!, _ parameter_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try fill(parameter, parameter_size, "parameter") { () throws(QwenSFTError) in
            let object = try Handle.model(model)
            let parameter = try object.parameter(index)
            return record(
                parameter, name: object.parameterNames[index], isTrainable: object.model.trainable[index])
        }
    }
}

@implementation @_cdecl("sft_model_read_parameter")
public func sft_model_read_parameter(
    _ model: OpaquePointer!, _ index: Int, _ values: UnsafeMutablePointer<Float>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(values, capacity, count, "values")
        let object = try Handle.model(model)
        let parameter = try object.parameter(index)
        try output.write(count: parameter.count) { (destination) throws(QwenSFTError) in
            try object.model.readValues(of: parameter, to: destination)
        }
    }
}

@implementation @_cdecl("sft_model_write_parameter")
public func sft_model_write_parameter(
    _ model: OpaquePointer!, _ index: Int, _ values: UnsafePointer<Float>!, _ count: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let parameter = try object.parameter(index)
        // Compared before anything is read: the caller's array is as long as `count` says only if that is right.
        try object.model.setValues(array(values, count, "values"), of: parameter)
    }
}

@implementation @_cdecl("sft_model_set_trainable")
public func sft_model_set_trainable(
    _ model: OpaquePointer!, _ pattern: UnsafePointer<CChar>!, _ pattern_size: Int, _ is_trainable: Int32,
    _ matched: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        matched?.pointee = 0
        let object = try Handle.model(model)
        let count = try object.model.setTrainable(
            flag(is_trainable, "is_trainable"), matching: text(pattern, pattern_size, "pattern"))
        matched?.pointee = count
    }
}

extension ModelObject {
    func parameter(_ index: Int) throws(QwenSFTError) -> Parameter {
        try element(index, of: model.parameters, ("model", "parameters"))
    }
}

func record(_ parameter: Parameter, name: UnsafePointer<CChar>, isTrainable: Bool) -> sft_parameter {
    sft_parameter(
        name: name, name_size: parameter.name.utf8.count, rank: parameter.shape.count,
        shape: (parameter.shape[0], parameter.shape.count > 1 ? parameter.shape[1] : 1),
        is_trainable: isTrainable ? 1 : 0, reserved: 0)
}

/// The names of parameters where C can see them.
final class ParameterNames {
    private let names: [UnsafePointer<CChar>]

    init(_ parameters: [Parameter]) { names = parameters.map { lentCopy(of: $0.name) } }

    deinit { for name in names { name.deallocate() } }

    subscript(index: Int) -> UnsafePointer<CChar> { names[index] }
}
