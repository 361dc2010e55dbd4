// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 3: messages and the chat template.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_chat_options_init")
public func sft_chat_options_init(
    _ options: UnsafeMutablePointer<sft_chat_options>!, _ struct_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in try initialize(options, struct_size, chatDefaults) }
}

@implementation @_cdecl("sft_render_chat_template")
public func sft_render_chat_template(
    _ tokenizer: OpaquePointer!, _ messages: UnsafePointer<sft_message>!, _ message_size: Int, _ message_count: Int,
    _ options: UnsafePointer<sft_chat_options>!, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(text, capacity, size, "text")
        let tokenizer = try Handle.tokenizer(tokenizer)
        let options = try chatOptions(options)
        try output.write(
            tokenizer.renderChatTemplate(
                conversation(messages, message_size, message_count), template: options.template,
                addGenerationPrompt: options.addGenerationPrompt))
    }
}

@implementation @_cdecl("sft_apply_chat_template")
public func sft_apply_chat_template(
    _ tokenizer: OpaquePointer!, _ messages: UnsafePointer<sft_message>!, _ message_size: Int, _ message_count: Int,
    _ options: UnsafePointer<sft_chat_options>!, _ ids: UnsafeMutablePointer<Int32>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(ids, capacity, count, "ids")
        let tokenizer = try Handle.tokenizer(tokenizer)
        let options = try chatOptions(options)
        try output.write(
            tokenizer.applyChatTemplate(
                conversation(messages, message_size, message_count), template: options.template,
                addGenerationPrompt: options.addGenerationPrompt, splitSpecialTokens: options.splitSpecialTokens))
    }
}

private let chatDefaults = sft_chat_options(
    struct_size: MemoryLayout<sft_chat_options>.stride, add_generation_prompt: 0, split_special_tokens: 1,
    chat_template: templateOfCheckpoint, reserved: 0)

private func chatOptions(
    _ pointer: UnsafePointer<sft_chat_options>?
) throws(QwenSFTError) -> (template: ChatTemplate?, addGenerationPrompt: Bool, splitSpecialTokens: Bool) {
    let fields = try options(pointer, defaults: chatDefaults, "options")
    try checkReserved(fields.reserved)
    return (
        template: try chatTemplate(fields.chat_template),
        addGenerationPrompt: try flag(fields.add_generation_prompt, "add_generation_prompt"),
        splitSpecialTokens: try flag(fields.split_special_tokens, "split_special_tokens")
    )
}

let templateOfCheckpoint = Int32(SFT_TEMPLATE_CHECKPOINT)

/// The template a field `chat_template` asks for; nil is the checkpoint's own.
func chatTemplate(_ value: Int32) throws(QwenSFTError) -> ChatTemplate? {
    switch Int(value) {
    case Int(SFT_TEMPLATE_CHECKPOINT): return nil
    case Int(SFT_TEMPLATE_CHATML): return .chatML
    default: throw QwenSFTError(.invalidArgument, "'chat_template' is \(value), expected an SFT_TEMPLATE constant")
    }
}

/// The messages of one conversation.
func conversation(
    _ messages: UnsafePointer<sft_message>?, _ size: Int, _ count: Int
) throws(QwenSFTError) -> [Message] {
    var result: [Message] = []
    for (i, message) in try elements(messages, elementSize: size, count: count, "messages").enumerated() {
        result.append(
            Message(
                role: try text(message.role, message.role_size, "messages[\(i)].role"),
                content: try text(message.content, message.content_size, "messages[\(i)].content"),
                weight: Float(message.weight)))
    }
    return result
}

/// Conversations whose messages follow one another.
func conversations(
    _ messages: UnsafePointer<sft_message>?, _ size: Int, _ counts: UnsafePointer<Int>?, _ count: Int
) throws(QwenSFTError) -> [[Message]] {
    let counts = try array(counts, count, "message_counts")
    var total = 0
    for (i, count) in counts.enumerated() {
        let (sum, overflow) = total.addingReportingOverflow(count)
        guard count >= 0, !overflow else { throw .size("message_counts[\(i)]") }
        total = sum
    }
    let all = try conversation(messages, size, total)
    var start = 0
    return counts.map { count in
        defer { start += count }
        return Array(all[start..<start + count])
    }
}
