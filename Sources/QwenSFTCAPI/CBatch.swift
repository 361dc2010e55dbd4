// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 4: the batch.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_preprocess_options_init")
public func sft_preprocess_options_init(
    _ options: UnsafeMutablePointer<sft_preprocess_options>!, _ struct_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in try initialize(options, struct_size, preprocessDefaults) }
}

@implementation @_cdecl("sft_preprocess")
public func sft_preprocess(
    _ tokenizer: OpaquePointer!, _ messages: UnsafePointer<sft_message>!, _ message_size: Int,
    _ message_counts: UnsafePointer<Int>!, _ conversation_count: Int,
    _ options: UnsafePointer<sft_preprocess_options>!, _ batch: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("batch", batch) { () throws(QwenSFTError) in
        let tokenizer = try Handle.tokenizer(tokenizer)
        let options = try preprocessOptions(options)
        let all = try conversations(messages, message_size, message_counts, conversation_count)
        return BatchObject(try Batch(all, tokenizer: tokenizer, options: options))
    }
}

@implementation @_cdecl("sft_encode_options_init")
public func sft_encode_options_init(
    _ options: UnsafeMutablePointer<sft_encode_options>!, _ struct_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in try initialize(options, struct_size, encodeDefaults) }
}

@implementation @_cdecl("sft_encode_batch")
public func sft_encode_batch(
    _ tokenizer: OpaquePointer!, _ texts: UnsafePointer<sft_text>!, _ text_count: Int,
    _ options: UnsafePointer<sft_encode_options>!, _ batch: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("batch", batch) { () throws(QwenSFTError) in
        let tokenizer = try Handle.tokenizer(tokenizer)
        let options = try encodeOptions(options)
        var utf8: [UnsafeBufferPointer<UInt8>] = []
        for (i, text) in try array(texts, text_count, "texts").enumerated() {
            utf8.append(try QwenSFTCAPI.utf8(text.data, text.size, "texts[\(i)]"))
        }
        return BatchObject(try Batch(utf8: utf8, tokenizer: tokenizer, options: options))
    }
}

@implementation @_cdecl("sft_batch_create")
public func sft_batch_create(
    _ rows: Int, _ columns: Int, _ input_ids: UnsafePointer<Int64>!, _ labels: UnsafePointer<Int64>!,
    _ attention_mask: UnsafePointer<Int64>!, _ token_weights: UnsafePointer<Float>!,
    _ batch: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("batch", batch) { () throws(QwenSFTError) in
        let area = try area(rows, columns)
        let mask = attention_mask == nil ? nil : Array(try array(attention_mask, area, "attention_mask"))
        let weights = token_weights == nil ? nil : Array(try array(token_weights, area, "token_weights"))
        return BatchObject(
            try Batch(
                inputIDs: Array(array(input_ids, area, "input_ids")), labels: Array(array(labels, area, "labels")),
                attentionMask: mask ?? Array(repeating: 1, count: area), tokenWeights: weights, rows: rows,
                columns: columns))
    }
}

@implementation @_cdecl("sft_batch_free")
public func sft_batch_free(_ batch: OpaquePointer!) {
    Handle.free(batch, as: BatchObject.self)
}

@implementation @_cdecl("sft_batch_get_view")
public func sft_batch_get_view(
    _ batch: OpaquePointer!, _ view: UnsafeMutablePointer<sft_batch_view>!, _ view_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try fill(view, view_size, "view") { () throws(QwenSFTError) in try Handle.batch(batch).view }
    }
}

/// A batch, with its arrays where C can see them.
final class BatchObject {
    let batch: Batch
    let view: sft_batch_view

    init(_ batch: Batch) {
        self.batch = batch
        view = sft_batch_view(
            rows: batch.rows, columns: batch.columns, input_ids: lentCopy(of: batch.inputIDs),
            labels: lentCopy(of: batch.labels),
            attention_mask: lentCopy(of: batch.attentionMask),
            token_weights: batch.tokenWeights.map { lentCopy(of: $0) })
    }

    deinit {
        view.input_ids.deallocate()
        view.labels.deallocate()
        view.attention_mask.deallocate()
        view.token_weights?.deallocate()
    }
}

extension Handle {
    static func batch(_ pointer: OpaquePointer?) throws(QwenSFTError) -> BatchObject {
        try object(pointer, as: BatchObject.self, "batch")
    }
}

private let preprocessDefaults = sft_preprocess_options(
    struct_size: MemoryLayout<sft_preprocess_options>.stride, max_length: 0, label_policy: Int32(SFT_LABELS_QWEN),
    split_special_tokens: 1, add_default_system: 0, chat_template: templateOfCheckpoint)

func preprocessOptions(
    _ pointer: UnsafePointer<sft_preprocess_options>?
) throws(QwenSFTError) -> PreprocessOptions {
    let fields = try options(pointer, defaults: preprocessDefaults, "options")
    guard fields.max_length >= 0 else { throw .size("max_length") }
    var result = PreprocessOptions()
    result.labelPolicy = try labelPolicy(fields.label_policy)
    result.maxLength = fields.max_length == 0 ? nil : fields.max_length
    result.splitSpecialTokens = try flag(fields.split_special_tokens, "split_special_tokens")
    result.addDefaultSystem = try flag(fields.add_default_system, "add_default_system")
    result.template = try chatTemplate(fields.chat_template)
    return result
}

private let encodeDefaults = sft_encode_options(
    struct_size: MemoryLayout<sft_encode_options>.stride, max_length: 0, min_columns: 0, pad_to_multiple_of: 1,
    split_special_tokens: 0, reserved: 0)

private func encodeOptions(_ pointer: UnsafePointer<sft_encode_options>?) throws(QwenSFTError) -> TextBatchOptions {
    let fields = try options(pointer, defaults: encodeDefaults, "options")
    try checkReserved(fields.reserved)
    guard fields.max_length >= 0 else { throw .size("max_length") }
    var result = TextBatchOptions()
    result.maxLength = fields.max_length == 0 ? nil : fields.max_length
    result.padToMultipleOf = fields.pad_to_multiple_of
    result.minColumns = fields.min_columns
    result.splitSpecialTokens = try flag(fields.split_special_tokens, "split_special_tokens")
    return result
}

private func labelPolicy(_ value: Int32) throws(QwenSFTError) -> LabelPolicy {
    switch Int(value) {
    case Int(SFT_LABELS_QWEN): return .qwen
    case Int(SFT_LABELS_ASSISTANT): return .assistant
    case Int(SFT_LABELS_ASSISTANT_CONTENT): return .assistantContent
    case Int(SFT_LABELS_ASSISTANT_NEWLINE): return .assistantNewline
    case Int(SFT_LABELS_LAST_ASSISTANT): return .lastAssistant
    case Int(SFT_LABELS_ALL): return .all
    default: throw QwenSFTError(.invalidArgument, "'label_policy' is \(value), expected an SFT_LABELS constant")
    }
}
