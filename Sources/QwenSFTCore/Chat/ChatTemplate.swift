/// How a conversation becomes one text, rendered natively.
///
/// All known templates are ChatML: each message is `<|im_start|>role\ncontent<|im_end|>\n`. They differ in the system prompt
/// they put before a conversation that has none.
public struct ChatTemplate: Sendable, Equatable {
    /// "Qwen2.5", "Qwen2", "Qwen1.5" or "ChatML".
    public let name: String
    /// The content of the system message that stands before a conversation which does not begin with one.
    public let defaultSystemPrompt: String?
    /// The template renders system, user and assistant only; it passes over other roles or gives them another form.
    private let hasFixedRoles: Bool

    /// Plain ChatML without a default system prompt: the template of Qwen2's base models, and the one to force where a
    /// checkpoint's own is not known.
    public static let chatML = ChatTemplate(name: "ChatML", defaultSystemPrompt: nil, hasFixedRoles: false)

    private init(name: String, defaultSystemPrompt: String?, hasFixedRoles: Bool) {
        self.name = name
        self.defaultSystemPrompt = defaultSystemPrompt
        self.hasFixedRoles = hasFixedRoles
    }

    /// Recognises a checkpoint's template by its text. The default system prompt is read out of it, so that variants of a
    /// known template that differ in nothing else are recognised too.
    /// - Throws: `unsupported` for any other text.
    public init(recognizing text: String) throws(QwenSFTError) {
        if ChatTemplate.matches(text, [ChatTemplateTexts.plain]) != nil {
            self = .chatML
        } else if let prompt = ChatTemplate.matches(text, ChatTemplateTexts.qwen2) {
            let name = prompt == "You are a helpful assistant" ? "Qwen1.5" : "Qwen2"
            self.init(name: name, defaultSystemPrompt: prompt, hasFixedRoles: false)
        } else if let prompt = ChatTemplate.matches(text, ChatTemplateTexts.qwen25) {
            self.init(name: "Qwen2.5", defaultSystemPrompt: prompt, hasFixedRoles: true)
        } else if text.contains("enable_thinking") || text.contains("reasoning_content") {
            throw QwenSFTError(
                .unsupported, "the chat template is that of Qwen3 (thinking), which this version does not render")
        } else {
            throw QwenSFTError(
                .unsupported,
                "the chat template is none of those known (Qwen1.5, Qwen2, Qwen2.5, ChatML); ChatML can be asked for instead"
            )
        }
    }

    /// The conversation as text.
    ///
    /// A control token inside a message's content stays as it is in the text; `Tokenizer.applyChatTemplate` keeps it from taking effect.
    /// - Parameter addGenerationPrompt: ends the text with the beginning of an assistant's message.
    /// - Throws: `invalidArgument` for an empty conversation or a role that is empty or holds control tokens;
    ///   `unsupported` for a role that the template does not render like the others.
    public func render(_ messages: [Message], addGenerationPrompt: Bool = false) throws(QwenSFTError) -> String {
        let messages = try complete(messages)
        var text = ""
        // The text as it grows, its copy, and the frame of each message.
        try Memory.require(
            messages.reduce(0) { $0 + 3 * ($1.role.utf8.count + $1.content.utf8.count + 32) }, for: "the conversation")
        for message in messages {
            text += "<|im_start|>" + message.role + "\n" + message.content + "<|im_end|>\n"
        }
        if addGenerationPrompt { text += "<|im_start|>assistant\n" }
        return text
    }

    /// The messages after checking them, with the default system prompt before them where it belongs.
    package func complete(_ messages: [Message], addsDefaultSystem: Bool = true) throws(QwenSFTError) -> [Message] {
        guard let first = messages.first else {
            throw QwenSFTError(.invalidArgument, "the conversation holds no message")
        }
        for (i, message) in messages.enumerated() { try check(message.role, of: i) }
        if addsDefaultSystem, first.role != "system", let prompt = defaultSystemPrompt {
            return [Message(role: "system", content: prompt)] + messages
        }
        return messages
    }

    private func check(_ role: String, of index: Int) throws(QwenSFTError) {
        if role.isEmpty { throw QwenSFTError(.invalidArgument, "message \(index): the role is empty") }
        let isPlain = role.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) }
        if !isPlain || role.contains("<|") {
            throw QwenSFTError(
                .invalidArgument, "message \(index): the role '\(printable(role))' holds control tokens or characters")
        }
        if hasFixedRoles && !["system", "user", "assistant"].contains(role) {
            throw QwenSFTError(
                .unsupported,
                "message \(index): the role '\(printable(role))' is not rendered by this version for the template \(name) "
                    + "(only system, user and assistant)")
        }
    }

    // MARK: Recognition

    /// The system prompt between the parts of a template (the same in each gap); "" where there is only one part.
    /// nil where the text is not this template.
    private static func matches(_ text: String, _ parts: [String]) -> String? {
        // A file may end with a newline more; Jinja takes it away.
        var rest = Array(text.utf8)[...]
        if rest.last == UInt8(ascii: "\n") { rest.removeLast() }
        guard let first = parts.first, rest.starts(with: first.utf8) else { return nil }
        rest = rest.dropFirst(first.utf8.count)
        var prompts: [ArraySlice<UInt8>] = []
        for part in parts.dropFirst() {
            // The prompt is the rest of a string literal: it ends at the first quote that no backslash stands before.
            var end = rest.startIndex
            while end < rest.endIndex, rest[end] != UInt8(ascii: "'") {
                if rest[end...].starts(with: part.utf8) { break }
                end += rest[end] == UInt8(ascii: "\\") ? 2 : 1
            }
            guard end <= rest.endIndex, rest[end...].starts(with: part.utf8) else { return nil }
            prompts.append(rest[..<end])
            rest = rest[end...].dropFirst(part.utf8.count)
        }
        guard rest.isEmpty, prompts.allSatisfy({ $0 == prompts.first }) else { return nil }
        return unescaped(prompts.first ?? [])
    }

    /// The value of a Jinja string literal; nil where it holds an escape that no Qwen template uses.
    private static func unescaped(_ literal: ArraySlice<UInt8>) -> String? {
        var bytes: [UInt8] = []
        var isEscape = false
        for byte in literal {
            if isEscape {
                switch byte {
                case UInt8(ascii: "n"): bytes.append(UInt8(ascii: "\n"))
                case UInt8(ascii: "t"): bytes.append(UInt8(ascii: "\t"))
                case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): bytes.append(byte)
                default: return nil
                }
                isEscape = false
            } else if byte == UInt8(ascii: "\\") {
                isEscape = true
            } else {
                bytes.append(byte)
            }
        }
        return isEscape ? nil : String(validating: bytes, as: UTF8.self)
    }
}
