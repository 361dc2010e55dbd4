// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 5: the model.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_model_options_init")
public func sft_model_options_init(
    _ options: UnsafeMutablePointer<sft_model_options>!, _ struct_size: Int
) -> sft_status {
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_model_open")
public func sft_model_open(
    _ directory: UnsafePointer<CChar>!, _ directory_size: Int, _ options: UnsafePointer<sft_model_options>!,
    _ model: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("model", model) { () throws(QwenSFTError) in
        let fields = try QwenSFTCAPI.options(options)
        let format = try fields.core()
        return ModelObject(
            try Model(
                directory: path(directory, directory_size, "directory"), dtype: format.dtype,
                quantization: format.quantization
            ) { done, total in
                progress(fields.on_progress, fields.user_data, done, total)
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

@implementation @_cdecl("sft_model_copy_from")
public func sft_model_copy_from(_ model: OpaquePointer!, _ source: OpaquePointer!) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        guard source != nil else { throw .isNull("source") }
        try object.model.copyWeights(from: Handle.model(source).model)
    }
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
                dtype: dtypes.constant(object.model.dtype),
                ties_word_embeddings: c.tiesWordEmbeddings ? 1 : 0,
                quantization: quantizations.constant(object.model.quantization), reserved: 0)
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
        let ids = try array(input_ids, area, "input_ids")
        let mask = attention_mask == nil ? nil : try array(attention_mask, area, "attention_mask")
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
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_model_save")
public func sft_model_save(
    _ model: OpaquePointer!, _ directory: UnsafePointer<CChar>!, _ directory_size: Int,
    _ options: UnsafePointer<sft_save_options>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let directory = try path(directory, directory_size, "directory")
        let fields = try QwenSFTCAPI.options(options)
        try object.model.save(to: directory, dtype: fields.core().dtype) { done, total in
            progress(fields.on_progress, fields.user_data, done, total)
        }
    }
}

@implementation @_cdecl("sft_model_check_destination")
public func sft_model_check_destination(
    _ model: OpaquePointer!, _ directory: UnsafePointer<CChar>!, _ directory_size: Int,
    _ options: UnsafePointer<sft_save_options>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let directory = try path(directory, directory_size, "directory")
        try object.model.checkDestination(directory, dtype: QwenSFTCAPI.options(options).core().dtype)
    }
}

/// Calls the caller's callback, if there is one; whether it lets the call go on.
func progress(
    _ callback: sft_progress_callback?, _ userData: UnsafeMutableRawPointer?, _ done: Int, _ total: Int
) -> Bool {
    guard let callback else { return true }
    return HostThread.callback { callback(userData, UInt64(done), UInt64(total)) } == 0
}

/// A model, with its parameters' names where C can see them.
final class ModelObject {
    let model: Model
    let parameterNames: ParameterNames

    init(_ model: Model) {
        self.model = model
        parameterNames = ParameterNames(model.parameters)
    }
}

extension Handle {
    static func model(_ pointer: OpaquePointer?) throws(QwenSFTError) -> ModelObject {
        try object(pointer, as: ModelObject.self, "model")
    }
}

/// How weights are kept, in memory or in a file; nil: as in the files.
struct WeightFormat {
    var dtype: DType?
    var quantization: Quantization?
}

extension sft_model_options: OptionsStruct {
    static var coreDefaults: WeightFormat { WeightFormat(dtype: .float32) }
    static var fields: [OptionsField<Self, WeightFormat>] {
        [
            .constant("dtype", memoryDTypes, \.dtype, \.dtype),
            .constant("quantization", quantizations, \.quantization, \.quantization),
        ]
    }
}

extension sft_save_options: OptionsStruct {
    static var coreDefaults: WeightFormat { WeightFormat() }
    static var fields: [OptionsField<Self, WeightFormat>] {
        [.constant("dtype", dtypes, \.dtype, \.dtype), .reserved(\.reserved)]
    }
}
