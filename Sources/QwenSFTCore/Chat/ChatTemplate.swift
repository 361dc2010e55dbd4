/// How a conversation becomes one text: a template in Jinja, as checkpoints bring them, with what it is given beside the messages.
///
/// It is interpreted as transformers does it (see `JinjaTemplate`): with the variables `messages`, `tools`, `documents`,
/// `add_generation_prompt`, the tokenizer's special tokens (`bos_token`, …) and arguments of the caller's own.
///
/// A template is a stranger's program. It sees nothing but these values, and its steps, depth and output are limited.
public struct ChatTemplate: Sendable, Equatable {
    /// Where it comes from: a file, a template's name in a file, "ChatML", or "given".
    public let name: String
    /// The template itself.
    public let text: String
    /// A template that cannot be parsed is an error where it is used.
    private let parsed: Result<JinjaTemplate, QwenSFTError>
    private let variables: ChatVariables
    private let arguments: String
    private let frames = TemplateFrames()
    /// At most one: renders in its place where there are tools, given as an argument or by the conversation.
    private let toolUse: [ChatTemplate]

    /// Plain ChatML without a default system prompt: the template of Qwen2's base models, and the one to force where a
    /// checkpoint's own is not wanted.
    public static let chatML = ChatTemplate(
        """
        {% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}\
        {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
        """, name: "ChatML")

    /// - Parameters:
    ///   - text: in Jinja.
    ///   - name: what it is called.
    public init(_ text: String, name: String = "given") {
        self.init(text, name: name, specialTokens: [])
    }

    /// - Parameter specialTokens: by the names that templates know them by.
    init(_ text: String, name: String, specialTokens: [(name: String, token: String)]) {
        self.name = name
        self.text = text
        do { parsed = .success(try JinjaTemplate(Array(text.utf8))) } catch { parsed = .failure(error) }
        variables = ChatVariables(specialTokens.map { ($0.name, .text(JinjaText($0.token))) })
        arguments = ""
        toolUse = []
    }

    private init(_ other: ChatTemplate, _ variables: ChatVariables, arguments: String, toolUse: [ChatTemplate]) {
        (name, text, parsed) = (other.name, other.text, other.parsed)
        self.variables = variables
        self.arguments = arguments
        self.toolUse = toolUse
    }

    /// The same template with another one for conversations with tools, or with none.
    func with(toolUse: ChatTemplate?) -> ChatTemplate {
        ChatTemplate(self, variables, arguments: arguments, toolUse: toolUse.map { [$0] } ?? [])
    }

    public static func == (a: ChatTemplate, b: ChatTemplate) -> Bool {
        a.text.utf8.elementsEqual(b.text.utf8) && a.arguments.utf8.elementsEqual(b.arguments.utf8)
            && a.toolUse == b.toolUse
    }

    /// The same template with arguments: a JSON object of variables that the template knows, such as
    /// `{"enable_thinking": false, "tools": […]}`.
    /// - Throws: `invalidArgument` for what is no JSON object.
    public func with(arguments: String) throws(QwenSFTError) -> ChatTemplate {
        var values = variables.values
        for (name, value) in try chatObject(arguments, "the template's arguments").members {
            values.append((name, JinjaValue(value, TextOrigin(.argument))))
        }
        return ChatTemplate(
            self, ChatVariables(values), arguments: self.arguments + arguments,
            toolUse: toolUse.isEmpty ? [] : [try toolUse[0].with(arguments: arguments)])
    }

    /// Whether it marks with `{% generation %}` what the model writes in this conversation.
    func hasGenerations(_ messages: [Message]) throws(QwenSFTError) -> Bool {
        if let toolUse = toolUse.first, try hasTools(messages) { return try toolUse.hasGenerations(messages) }
        guard case .success(let template) = parsed else { return false }
        return template.hasGenerations
    }

    /// The conversation as text.
    ///
    /// A control token inside a message's content stays as it is in the text; `Tokenizer.applyChatTemplate` keeps it from taking effect.
    /// - Parameters:
    ///   - messages: the conversation.
    ///   - addGenerationPrompt: ends the text with the beginning of an assistant's message.
    /// - Throws: `invalidArgument` for an empty conversation, a role that is empty or holds control tokens, and where the template
    ///   refuses the conversation; `invalidFile` and `unsupported`, with the line, for a template that cannot be used;
    ///   `unsupported` for a message that the template leaves out.
    public func render(_ messages: [Message], addGenerationPrompt: Bool = false) throws(QwenSFTError) -> String {
        String(decoding: try rendering(messages, addGenerationPrompt: addGenerationPrompt).text.bytes, as: UTF8.self)
    }

    /// The text with its origins.
    package func rendering(
        _ messages: [Message], addGenerationPrompt: Bool
    ) throws(QwenSFTError) -> JinjaTemplate.Result {
        // The texts of the messages, the text as it grows, its copy, and the frame of each message.
        try Memory.require(
            messages.reduce(0) { $0 + 4 * ($1.role.utf8.count + $1.content.utf8.count + $1.fields.utf8.count + 64) },
            for: "the conversation")
        if messages.isEmpty { throw QwenSFTError(.invalidArgument, "the conversation holds no message") }
        for (i, message) in messages.enumerated() { try check(message.role, of: i) }
        if let toolUse = toolUse.first, try hasTools(messages) {
            return try toolUse.rendering(messages, addGenerationPrompt: addGenerationPrompt)
        }
        let key = TemplateFrames.key(messages, addGenerationPrompt: addGenerationPrompt)
        if let key, let text = frames.text(key, messages) { return JinjaTemplate.Result(text: text, generations: []) }
        let watch = ContentWatch()
        var values: [JinjaValue] = []
        values.reserveCapacity(messages.count)
        var given = variables.values
        for (i, message) in messages.enumerated() {
            let more = try message.moreFields(i)
            values.append(message.value(i, more, watch))
            if i == 0, let tools = more["tools"] { given.append(("tools", JinjaValue(tools, TextOrigin(.argument)))) }
        }
        let template = try parsed.get()
        let result = try template.render(
            [("tools", .null), ("documents", .null)] + given + [
                ("messages", .list(JinjaList(values))), ("add_generation_prompt", .bool(addGenerationPrompt)),
            ])
        try checkNothingIsLost(messages, result.text)
        if let key, !watch.isRead, !template.hasGenerations, !template.mentions("strftime_now") {
            frames.note(key, result.text, messages)
        }
        return result
    }

    private func hasTools(_ messages: [Message]) throws(QwenSFTError) -> Bool {
        if let tools = try messages[0].moreFields(0)["tools"] { return JinjaValue(tools, .template).isTrue }
        return variables.values.last { $0.name == "tools" }?.value.isTrue ?? false
    }

    private func check(_ role: String, of index: Int) throws(QwenSFTError) {
        if role.isEmpty { throw QwenSFTError(.invalidArgument, "message \(index): the role is empty") }
        let isPlain = role.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) }
        if !isPlain || role.utf8.contains(UInt8(ascii: "<")) && role.contains("<|") {
            throw QwenSFTError(
                .invalidArgument, "message \(index): the role '\(printable(role))' holds control tokens or characters")
        }
    }

    /// A template passes over roles it does not know: then the model would learn and answer another conversation than the one given.
    private func checkNothingIsLost(_ messages: [Message], _ text: TaggedText) throws(QwenSFTError) {
        var isWritten = [Bool](repeating: false, count: messages.count)
        for run in text.runs where run.origin.message >= 0 { isWritten[Int(run.origin.message)] = true }
        for (i, isWritten) in isWritten.enumerated() where !isWritten && !messages[i].content.isEmpty {
            throw QwenSFTError(
                .unsupported,
                "message \(i): the chat template leaves it out (its role is '\(printable(messages[i].role))')")
        }
    }

    /// The content of the system message that the template writes before a conversation that does not begin with one; nil: none,
    /// or the template is not ChatML.
    public var defaultSystemPrompt: String? {
        guard let text = try? rendering([Message(role: "user", content: "x")], addGenerationPrompt: false).text,
            let block = ChatML.defaultSystem(text)
        else { return nil }
        return String(decoding: text.bytes[block.content], as: UTF8.self)
    }
}

/// Values for a template's variables. Nothing changes them once they are made.
final class ChatVariables: @unchecked Sendable {
    let values: [(name: String, value: JinjaValue)]
    init(_ values: [(name: String, value: JinjaValue)]) { self.values = values }
}

/// The value of a JSON text that the caller wrote.
func chatJSON(_ text: String, _ name: String) throws(QwenSFTError) -> JSONValue {
    var text = text
    let parsed = text.withUTF8 { bytes -> Result<JSONValue, QwenSFTError> in
        do throws(QwenSFTError) {
            return .success(try JSONValue(parsing: UnsafeRawBufferPointer(bytes), file: name))
        } catch {
            return .failure(QwenSFTError(.invalidArgument, error.message))
        }
    }
    return try parsed.get()
}

func chatObject(_ text: String, _ name: String) throws(QwenSFTError) -> JSONObject {
    guard case .object(let object) = try chatJSON(text, name) else {
        throw QwenSFTError(.invalidArgument, "\(name) must be a JSON object")
    }
    return object
}
