// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 5: the model.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_model_options_init")
public func sft_model_options_init(
    _ options: UnsafeMutablePointer<sft_model_options>!, _ struct_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in try initialize(options, struct_size, modelDefaults) }
}

@implementation @_cdecl("sft_model_open")
public func sft_model_open(
    _ directory: UnsafePointer<CChar>!, _ directory_size: Int, _ options: UnsafePointer<sft_model_options>!,
    _ model: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("model", model) { () throws(QwenSFTError) in
        let fields = try QwenSFTCAPI.options(options, defaults: modelDefaults, "options")
        let dtype = try dtype(fields.dtype) ?? .float32
        let quantization = try quantization(fields.quantization)
        return ModelObject(
            try Model(
                directory: path(directory, directory_size, "directory"), dtype: dtype, quantization: quantization
            ) { done, total in
                fields.on_progress?(fields.user_data, UInt64(done), UInt64(total)) ?? 0 == 0
            })
    }
}

@implementation @_cdecl("sft_model_free")
public func sft_model_free(_ model: OpaquePointer!) {
    Handle.free(model, as: ModelObject.self)
}

@implementation @_cdecl("sft_model_clone")
public func sft_model_clone(_ model: OpaquePointer!, _ clone: UnsafeMutablePointer<OpaquePointer?>!) -> sft_status {
    creating("clone", clone) { () throws(QwenSFTError) in ModelObject(try Handle.model(model).model.clone()) }
}

@implementation @_cdecl("sft_model_get_info")
public func sft_model_get_info(
    _ model: OpaquePointer!, _ info: UnsafeMutablePointer<sft_model_info>!, _ info_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try fill(info, info_size, "info") { () throws(QwenSFTError) in
            let object = try Handle.model(model)
            let c = object.model.configuration
            return sft_model_info(
                hidden_size: c.hiddenSize, intermediate_size: c.intermediateSize, layers: c.layers, heads: c.heads,
                kv_heads: c.kvHeads, head_dimension: c.headDimension, vocabulary_size: c.vocabularySize,
                context_length: c.maxPositions, weights: UInt64(c.parameterCount),
                dtype: constant(object.model.dtype),
                ties_word_embeddings: c.tiesWordEmbeddings ? 1 : 0,
                quantization: constant(object.model.quantization), reserved: 0)
        }
    }
}

@implementation @_cdecl("sft_model_forward")
public func sft_model_forward(
    _ model: OpaquePointer!, _ rows: Int, _ columns: Int, _ input_ids: UnsafePointer<Int64>!,
    _ attention_mask: UnsafePointer<Int64>!, _ logits: UnsafeMutablePointer<Float>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(logits, capacity, count, "logits")
        let object = try Handle.model(model)
        let area = try area(rows, columns)
        let ids = Array(try array(input_ids, area, "input_ids"))
        let mask = attention_mask == nil ? nil : Array(try array(attention_mask, area, "attention_mask"))
        let (needed, overflow) = area.multipliedReportingOverflow(by: object.model.configuration.vocabularySize)
        guard !overflow else { throw .size("logits") }
        try output.write(count: needed) { (destination) throws(QwenSFTError) in
            guard let start = destination.baseAddress else { throw .isNull("logits") }
            start.update(repeating: 0, count: needed)
            try object.model.forward(ids, rows: rows, columns: columns, attentionMask: mask, logits: start)
        }
    }
}

@implementation @_cdecl("sft_save_options_init")
public func sft_save_options_init(
    _ options: UnsafeMutablePointer<sft_save_options>!, _ struct_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in try initialize(options, struct_size, saveDefaults) }
}

@implementation @_cdecl("sft_model_save")
public func sft_model_save(
    _ model: OpaquePointer!, _ directory: UnsafePointer<CChar>!, _ directory_size: Int,
    _ options: UnsafePointer<sft_save_options>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let directory = try path(directory, directory_size, "directory")
        let fields = try QwenSFTCAPI.options(options, defaults: saveDefaults, "options")
        try checkReserved(fields.reserved)
        let dtype = try dtype(fields.dtype)
        try object.model.save(to: directory, dtype: dtype) { done, total in
            fields.on_progress?(fields.user_data, UInt64(done), UInt64(total)) ?? 0 == 0
        }
    }
}

/// A model, with its parameters' names where C can see them.
final class ModelObject {
    let model: Model
    let parameterNames: ParameterNames

    init(_ model: Model) {
        self.model = model
        parameterNames = ParameterNames(model)
    }
}

extension Handle {
    static func model(_ pointer: OpaquePointer?) throws(QwenSFTError) -> ModelObject {
        try object(pointer, as: ModelObject.self, "model")
    }
}

private var modelDefaults: sft_model_options {
    sft_model_options(
        struct_size: MemoryLayout<sft_model_options>.stride, dtype: Int32(SFT_DTYPE_DEFAULT),
        quantization: Int32(SFT_QUANTIZATION_NONE), on_progress: nil, user_data: nil)
}

private var saveDefaults: sft_save_options {
    sft_save_options(
        struct_size: MemoryLayout<sft_save_options>.stride, dtype: Int32(SFT_DTYPE_DEFAULT), reserved: 0,
        on_progress: nil, user_data: nil)
}

private func quantization(_ value: Int32) throws(QwenSFTError) -> Quantization? {
    switch Int(value) {
    case Int(SFT_QUANTIZATION_NONE): return nil
    case Int(SFT_QUANTIZATION_INT8): return .int8
    case Int(SFT_QUANTIZATION_PACKED): return .packed
    case Int(SFT_QUANTIZATION_INT6): return .int6
    default: throw QwenSFTError(.invalidArgument, "'quantization' is \(value), expected an SFT_QUANTIZATION constant")
    }
}

private func constant(_ quantization: Quantization?) -> Int32 {
    switch quantization {
    case nil: Int32(SFT_QUANTIZATION_NONE)
    case .int8: Int32(SFT_QUANTIZATION_INT8)
    case .packed: Int32(SFT_QUANTIZATION_PACKED)
    case .int6: Int32(SFT_QUANTIZATION_INT6)
    }
}

/// The dtype a field asks for; nil is the default.
private func dtype(_ value: Int32) throws(QwenSFTError) -> DType? {
    switch Int(value) {
    case Int(SFT_DTYPE_DEFAULT): return nil
    case Int(SFT_FLOAT32): return .float32
    case Int(SFT_BFLOAT16): return .bfloat16
    case Int(SFT_FLOAT16): return .float16
    default: throw QwenSFTError(.invalidArgument, "'dtype' is \(value), expected an SFT dtype constant")
    }
}

private func constant(_ dtype: DType) -> Int32 {
    switch dtype {
    case .float32: Int32(SFT_FLOAT32)
    case .bfloat16: Int32(SFT_BFLOAT16)
    case .float16: Int32(SFT_FLOAT16)
    }
}
