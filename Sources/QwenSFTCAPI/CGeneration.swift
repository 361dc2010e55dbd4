// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 6: generation.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_generation_options_init")
public func sft_generation_options_init(
    _ options: UnsafeMutablePointer<sft_generation_options>!, _ struct_size: Int
) -> sft_status {
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_model_generate")
public func sft_model_generate(
    _ model: OpaquePointer!, _ ids: UnsafePointer<Int32>!, _ id_count: Int,
    _ options: UnsafePointer<sft_generation_options>!, _ generation: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("generation", generation) { () throws(QwenSFTError) in
        let object = try Handle.model(model)
        let request = try generationRequest(options)
        let ids = try copy(of: tokenIDs(ids, id_count, "ids"), "ids")
        return GenerationObject(try object.model.generations(ids, options: request.options, onPiece: request.onPiece))
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
        return GenerationObject(
            try object.model.replies(tokenizer, messages, options: request.options, onPiece: request.onPiece))
    }
}

@implementation @_cdecl("sft_model_stop_generating")
public func sft_model_stop_generating(_ model: OpaquePointer!) -> sft_status {
    outcome { () throws(QwenSFTError) in try Handle.model(model).model.stopGenerating() }
}

@implementation @_cdecl("sft_generation_free")
public func sft_generation_free(_ generation: OpaquePointer!) {
    Handle.free(generation, as: GenerationObject.self)
}

@implementation @_cdecl("sft_generation_ids")
public func sft_generation_ids(
    _ generation: OpaquePointer!, _ count: UnsafeMutablePointer<Int>!
) -> UnsafePointer<Int32>! {
    let answer = (try? Handle.generation(generation))?.answers.first
    count?.pointee = answer?.id_count ?? 0
    return answer?.ids
}

@implementation @_cdecl("sft_generation_text")
public func sft_generation_text(
    _ generation: OpaquePointer!, _ size: UnsafeMutablePointer<Int>!
) -> UnsafePointer<CChar>! {
    let answer = (try? Handle.generation(generation))?.answers.first
    size?.pointee = answer?.text_size ?? 0
    return answer?.text
}

@implementation @_cdecl("sft_finish_reason_name")
public func sft_finish_reason_name(_ reason: sft_finish_reason) -> UnsafePointer<CChar>! {
    switch finishReasons[reason] {
    case .stopID: cString("stop_id")
    case .stopString: cString("stop_string")
    case .length: cString("length")
    case .context: cString("context")
    case .cancelled: cString("cancelled")
    case nil: cString("unknown finish reason")
    }
}

@implementation @_cdecl("sft_generation_count")
public func sft_generation_count(_ generation: OpaquePointer!) -> Int {
    (try? Handle.generation(generation))?.answers.count ?? 0
}

@implementation @_cdecl("sft_generation_get_answer")
public func sft_generation_get_answer(
    _ generation: OpaquePointer!, _ index: Int, _ answer: UnsafeMutablePointer<sft_answer>!, _ answer_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try fill(answer, answer_size, "answer") { () throws(QwenSFTError) in
            try element(index, of: Handle.generation(generation).answers, ("generation", "answers"))
        }
    }
}

/// Answers, with ids and text where C can see them.
final class GenerationObject {
    let answers: [sft_answer]

    init(_ generations: [Generation]) {
        answers = generations.map { generation in
            let parts = generation.parts
            let calls = parts.toolCalls.isEmpty ? nil : parts.toolCallsJSON
            return sft_answer(
                ids: lentCopy(of: generation.ids), id_count: generation.ids.count, text: lentCopy(of: generation.text),
                text_size: generation.text.utf8.count,
                log_probabilities: generation.logProbabilities.map { lentCopy(of: $0) },
                prompt_tokens: generation.promptTokens, computed_prompt_tokens: generation.computedPromptTokens,
                finish_reason: finishReasons.constant(generation.finishReason), reserved: 0,
                content: lentCopy(of: parts.content), content_size: parts.content.utf8.count,
                reasoning: parts.reasoning.map { lentCopy(of: $0) }, reasoning_size: parts.reasoning?.utf8.count ?? 0,
                tool_calls: calls.map { lentCopy(of: $0) }, tool_calls_size: calls?.utf8.count ?? 0)
        }
    }

    deinit {
        for answer in answers {
            answer.ids?.deallocate()
            answer.text?.deallocate()
            answer.log_probabilities?.deallocate()
            answer.content?.deallocate()
            answer.reasoning?.deallocate()
            answer.tool_calls?.deallocate()
        }
    }
}

extension Handle {
    static func generation(_ pointer: OpaquePointer?) throws(QwenSFTError) -> GenerationObject {
        try object(pointer, as: GenerationObject.self, "generation")
    }
}

extension sft_generation_options: OptionsStruct {
    static var coreDefaults: GenerationOptions { GenerationOptions() }
    /// -1 becomes nil, "as generation_config.json says".
    static var fields: [OptionsField<Self, GenerationOptions>] {
        [
            .init(
                read: { (options, core) throws(QwenSFTError) in
                    guard options.max_new_tokens >= 0 else { throw .size("max_new_tokens") }
                    core.maxNewTokens = options.max_new_tokens
                    core.doSample = options.do_sample == -1 ? nil : try flag(options.do_sample, "do_sample")
                    core.topK = options.top_k == -1 ? nil : Int(options.top_k)
                    core.seed = try flag(options.has_seed, "has_seed") ? options.seed : nil
                    core.stopIDs = try copy(
                        of: tokenIDs(options.stop_ids, options.stop_id_count, "stop_ids"), "stop_ids")
                    core.stopStrings = try texts(options.stop_strings, options.stop_string_count, "stop_strings")
                },
                write: { core, options in
                    options.max_new_tokens = core.maxNewTokens
                    options.do_sample = -1
                    options.top_k = -1
                }),
            .optional(\.temperature, \.temperature, none: -1),
            .optional(\.top_p, \.topP, none: -1),
            .optional(\.min_p, \.minP, none: -1),
            .optional(\.repetition_penalty, \.repetitionPenalty, none: -1),
            .flag("log_probabilities", \.log_probabilities, \.logProbabilities),
            .same(\.num_return_sequences, \.numReturnSequences),
        ]
    }
}

/// The options as the core takes them, and its callback around the caller's.
func generationRequest(
    _ pointer: UnsafePointer<sft_generation_options>?
) throws(QwenSFTError) -> (options: GenerationOptions, onPiece: (GenerationPiece) -> Bool) {
    let fields = try options(pointer)
    return (try fields.core(), { piece in report(piece, fields) })
}

/// Calls the caller's callback, if there is one; whether it lets the generation go on.
private func report(_ piece: GenerationPiece, _ fields: sft_generation_options) -> Bool {
    guard let onPiece = fields.on_piece else { return true }
    return piece.text.withCString { text in
        var seen = sft_piece(
            sample: piece.sample, text: text, text_size: piece.text.utf8.count, id: piece.id,
            log_probability: piece.logProbability ?? .nan, is_reasoning: piece.isReasoning ? 1 : 0, reserved: 0)
        return HostThread.callback { onPiece(fields.user_data, &seen) } == 0
    }
}
