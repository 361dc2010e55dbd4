// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 3: messages and the chat template.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_chat_options_init")
public func sft_chat_options_init(
    _ options: UnsafeMutablePointer<sft_chat_options>!, _ struct_size: Int
) -> sft_status {
    initialize(options, struct_size)
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
        let options = try QwenSFTCAPI.options(options).core()
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
        let options = try QwenSFTCAPI.options(options).core()
        try output.write(
            tokenizer.applyChatTemplate(
                conversation(messages, message_size, message_count), template: options.template,
                addGenerationPrompt: options.addGenerationPrompt, splitSpecialTokens: options.splitSpecialTokens))
    }
}

/// The arguments of the tokenizer's functions for chat templates.
struct ChatOptions {
    var template: ChatTemplate?
    var addGenerationPrompt = false
    var splitSpecialTokens = true
}

extension sft_chat_options: OptionsStruct {
    static var coreDefaults: ChatOptions { ChatOptions() }
    static var fields: [OptionsField<Self, ChatOptions>] {
        [
            .flag("add_generation_prompt", \.add_generation_prompt, \.addGenerationPrompt),
            .flag("split_special_tokens", \.split_special_tokens, \.splitSpecialTokens),
            .constant("chat_template", chatTemplates, \.chat_template, \.template),
            .reserved(\.reserved),
        ]
    }
}

/// The messages of one conversation.
func conversation(
    _ messages: UnsafePointer<sft_message>?, _ size: Int, _ count: Int
) throws(QwenSFTError) -> [Message] {
    var result: [Message] = []
    try forEachElement(messages, elementSize: size, older: olderMessageSize, count: count, "messages") {
        (i, message) throws(QwenSFTError) in
        try result.makeRoom(for: 1, purpose: "messages")
        result.append(try coreMessage(message, i))
    }
    return result
}

private func coreMessage(_ message: sft_message, _ index: Int) throws(QwenSFTError) -> Message {
    Message(
        role: try text(message.role, message.role_size, "messages[\(index)].role"),
        content: try text(message.content, message.content_size, "messages[\(index)].content"),
        weight: Float(message.weight),
        fields: message.fields == nil ? "" : try text(message.fields, message.fields_size, "messages[\(index)].fields"))
}

/// The size of a message before fields were appended to it.
private let olderMessageSize = 40

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
    try Memory.require(count, of: [Message].self, for: "conversations")
    var result: [[Message]] = []
    result.reserveCapacity(count)
    var (current, next) = ([Message](), counts.makeIterator())
    var left = next.next() ?? 0
    func close() {
        while left == 0, result.count < count {
            result.append(current)
            current = []
            left = next.next() ?? 0
        }
    }
    close()
    try forEachElement(messages, elementSize: size, older: olderMessageSize, count: total, "messages") {
        (i, message) throws(QwenSFTError) in
        current.append(try coreMessage(message, i))
        left -= 1
        close()
    }
    return result
}
