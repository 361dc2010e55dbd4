// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 4: the batch.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_preprocess_options_init")
public func sft_preprocess_options_init(
    _ options: UnsafeMutablePointer<sft_preprocess_options>!, _ struct_size: Int
) -> sft_status {
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_preprocess")
public func sft_preprocess(
    _ tokenizer: OpaquePointer!, _ messages: UnsafePointer<sft_message>!, _ message_size: Int,
    _ message_counts: UnsafePointer<Int>!, _ conversation_count: Int,
    _ options: UnsafePointer<sft_preprocess_options>!, _ batch: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("batch", batch) { () throws(QwenSFTError) in
        let tokenizer = try Handle.tokenizer(tokenizer)
        let options = try QwenSFTCAPI.options(options).core()
        let all = try conversations(messages, message_size, message_counts, conversation_count)
        return BatchObject(try Batch(all, tokenizer: tokenizer, options: options))
    }
}

@implementation @_cdecl("sft_encode_options_init")
public func sft_encode_options_init(
    _ options: UnsafeMutablePointer<sft_encode_options>!, _ struct_size: Int
) -> sft_status {
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_encode_batch")
public func sft_encode_batch(
    _ tokenizer: OpaquePointer!, _ texts: UnsafePointer<sft_text>!, _ text_count: Int,
    _ options: UnsafePointer<sft_encode_options>!, _ batch: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("batch", batch) { () throws(QwenSFTError) in
        let tokenizer = try Handle.tokenizer(tokenizer)
        let options = try QwenSFTCAPI.options(options).core()
        let texts = try TextList(texts, text_count, "texts")
        return BatchObject(
            try Batch(
                textCount: texts.count, size: texts.size, tokenizer: tokenizer, options: options, texts.utf8))
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
        return BatchObject(
            try Batch(
                inputIDs: array(input_ids, area, "input_ids"), labels: array(labels, area, "labels"),
                attentionMask: attention_mask == nil ? nil : array(attention_mask, area, "attention_mask"),
                tokenWeights: token_weights == nil ? nil : array(token_weights, area, "token_weights"), rows: rows,
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
        try fill(view, view_size, "view") { () throws(QwenSFTError) in try Handle.batch(batch).view() }
    }
}

/// A batch, and its arrays once somebody has asked for them.
final class BatchObject {
    let batch: Batch
    private let arrays = Locked<BatchArrays?>(nil)

    init(_ batch: Batch) { self.batch = batch }

    func view() throws(QwenSFTError) -> sft_batch_view {
        let arrays = try madeOnce()
        return sft_batch_view(
            rows: batch.rows, columns: batch.columns, input_ids: arrays.inputIDs.pointer, labels: arrays.labels.pointer,
            attention_mask: arrays.attentionMask.pointer, token_weights: arrays.tokenWeights.pointer,
            conversations: arrays.conversations.pointer)
    }

    private func madeOnce() throws(QwenSFTError) -> BatchArrays {
        if let known = arrays.withLock({ $0 }) { return known }
        let made = try BatchArrays(batch)
        return arrays.withLock { known in
            if let known { return known }  // another thread was first
            known = made
            return made
        }
    }
}

extension Handle {
    static func batch(_ pointer: OpaquePointer?) throws(QwenSFTError) -> BatchObject {
        try object(pointer, as: BatchObject.self, "batch")
    }
}

extension sft_preprocess_options: OptionsStruct {
    static var coreDefaults: PreprocessOptions { PreprocessOptions() }
    static var fields: [OptionsField<Self, PreprocessOptions>] {
        [
            .size("max_length", \.max_length, \.maxLength),
            .constant("label_policy", labelPolicies, \.label_policy, \.labelPolicy),
            .flag("split_special_tokens", \.split_special_tokens, \.splitSpecialTokens),
            .choice("add_default_system", \.add_default_system, \.addDefaultSystem),
            .constant("chat_template", chatTemplates, \.chat_template, \.template),
            .size("context_length", \.context_length, \.contextLength),
        ]
    }
}

extension sft_encode_options: OptionsStruct {
    static var coreDefaults: TextBatchOptions { TextBatchOptions() }
    static var fields: [OptionsField<Self, TextBatchOptions>] {
        [
            .size("max_length", \.max_length, \.maxLength),
            .same(\.min_columns, \.minColumns),
            .same(\.pad_to_multiple_of, \.padToMultipleOf),
            .flag("split_special_tokens", \.split_special_tokens, \.splitSpecialTokens),
            .reserved(\.reserved),
        ]
    }
}
