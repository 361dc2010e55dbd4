// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 6: generation.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_generation_options_init")
public func sft_generation_options_init(
    _ options: UnsafeMutablePointer<sft_generation_options>!, _ struct_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in try initialize(options, struct_size, generationDefaults) }
}

@implementation @_cdecl("sft_model_generate")
public func sft_model_generate(
    _ model: OpaquePointer!, _ ids: UnsafePointer<Int32>!, _ id_count: Int,
    _ options: UnsafePointer<sft_generation_options>!, _ generation: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("generation", generation) { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let request = try generationRequest(options)
        let ids = try tokenIDs(ids, id_count, "ids")
        let new = try object.model.generate(ids, options: request.options, onToken: request.onToken)
        return GenerationObject(ids: new, text: "")
    }
}

@implementation @_cdecl("sft_model_chat")
public func sft_model_chat(
    _ model: OpaquePointer!, _ tokenizer: OpaquePointer!, _ messages: UnsafePointer<sft_message>!, _ message_size: Int,
    _ message_count: Int, _ options: UnsafePointer<sft_generation_options>!,
    _ generation: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("generation", generation) { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let tokenizer = try Handle.tokenizer(tokenizer)
        let request = try generationRequest(options)
        let messages = try conversation(messages, message_size, message_count)
        let ids = try object.model.reply(tokenizer, messages, options: request.options, onToken: request.onToken)
        return GenerationObject(ids: ids, text: tokenizer.decode(ids, skipSpecialTokens: true))
    }
}

@implementation @_cdecl("sft_generation_free")
public func sft_generation_free(_ generation: OpaquePointer!) {
    Handle.free(generation, as: GenerationObject.self)
}

@implementation @_cdecl("sft_generation_ids")
public func sft_generation_ids(
    _ generation: OpaquePointer!, _ count: UnsafeMutablePointer<Int>!
) -> UnsafePointer<Int32>! {
    let object = try? Handle.object(generation, as: GenerationObject.self, "generation")
    count?.pointee = object?.idCount ?? 0
    return object.map { UnsafePointer($0.ids) }
}

@implementation @_cdecl("sft_generation_text")
public func sft_generation_text(
    _ generation: OpaquePointer!, _ size: UnsafeMutablePointer<Int>!
) -> UnsafePointer<CChar>! {
    let object = try? Handle.object(generation, as: GenerationObject.self, "generation")
    size?.pointee = object?.textSize ?? 0
    return object.map { UnsafePointer($0.text) }
}

/// An answer, with ids and text where C can see them.
final class GenerationObject {
    let ids: UnsafeMutablePointer<Int32>
    let idCount: Int
    let text: UnsafeMutablePointer<CChar>  // and a NUL
    let textSize: Int

    init(ids: [Int32], text: String) {
        idCount = ids.count
        self.ids = .allocate(capacity: max(1, ids.count))
        self.ids.initialize(from: ids, count: ids.count)
        let utf8 = text.utf8CString
        textSize = utf8.count - 1
        self.text = .allocate(capacity: utf8.count)
        utf8.withUnsafeBufferPointer { bytes in
            for (i, byte) in bytes.enumerated() { self.text[i] = byte }
        }
    }

    deinit {
        ids.deallocate()
        text.deallocate()
    }
}

private var generationDefaults: sft_generation_options {
    sft_generation_options(
        struct_size: MemoryLayout<sft_generation_options>.stride, max_new_tokens: 512, do_sample: -1, top_k: -1,
        temperature: -1, top_p: -1, repetition_penalty: -1, has_seed: 0, seed: 0, on_token: nil, user_data: nil)
}

/// The options as the core takes them: -1 becomes nil, "as generation_config.json says".
private func generationRequest(
    _ pointer: UnsafePointer<sft_generation_options>?
) throws(QwenSFTError) -> (options: GenerationOptions, onToken: (Int32) -> Bool) {
    let fields = try options(pointer, defaults: generationDefaults, "options")
    guard fields.max_new_tokens >= 0 else { throw .size("max_new_tokens") }
    var result = GenerationOptions()
    result.maxNewTokens = fields.max_new_tokens
    result.doSample = fields.do_sample == -1 ? nil : try flag(fields.do_sample, "do_sample")
    result.topK = fields.top_k == -1 ? nil : Int(fields.top_k)
    result.temperature = fields.temperature == -1 ? nil : fields.temperature
    result.topP = fields.top_p == -1 ? nil : fields.top_p
    result.repetitionPenalty = fields.repetition_penalty == -1 ? nil : fields.repetition_penalty
    result.seed = try flag(fields.has_seed, "has_seed") ? fields.seed : nil
    return (result, { id in fields.on_token?(fields.user_data, id) ?? 0 == 0 })
}
