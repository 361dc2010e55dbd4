extension Tokenizer {
    /// One of the checkpoint's chat templates.
    ///
    /// - Parameter name: of one of several; nil: the one called "default" or, where there are tools and there is one, the one called
    ///   "tool_use". "chatml", where no template has this name: ChatML.
    /// - Throws: `invalidArgument` where there is none of that name, `unsupported` where none of several is called "default"; the message
    ///   lists those that there are. A checkpoint without any template has ChatML.
    public func chatTemplate(_ name: String? = nil) throws(QwenSFTError) -> ChatTemplate {
        if let found = chatTemplates.first(where: { $0.key == name ?? "default" })?.template {
            return name == nil ? found : found.with(toolUse: nil)
        }
        if name == "chatml" || name == nil && chatTemplates.isEmpty { return .chatML }
        let names = chatTemplates.map { "'\(printable($0.key))'" }.joined(separator: ", ")
        throw QwenSFTError(
            name == nil ? .unsupported : .invalidArgument,
            "the checkpoint has no chat template called '\(printable(name ?? "default"))'"
                + (names.isEmpty ? "" : ", but " + names))
    }

    /// A chat template by its name in the checkpoint, or by its text where there is none of that name.
    public func chatTemplate(nameOrText text: String) throws(QwenSFTError) -> ChatTemplate {
        if chatTemplates.contains(where: { $0.key == text }) || text == "chatml" { return try chatTemplate(text) }
        // No template of use does without a tag.
        if !text.utf8.contains(UInt8(ascii: "{")) { return try chatTemplate(text) }
        return makeChatTemplate(text, name: "given")
    }

    /// The same tokenizer with another chat template, or with arguments for it.
    /// - Parameters:
    ///   - nameOrText: nil: the checkpoint's own.
    ///   - arguments: a JSON object, see `ChatTemplate.with(arguments:)`; empty: none.
    public func withChatTemplate(_ nameOrText: String?, arguments: String = "") throws(QwenSFTError) -> Tokenizer {
        var name = nameOrText
        // Without a default template, tools choose the one for tools.
        if name == nil, !chatTemplateNames.contains("default"), chatTemplateNames.contains("tool_use"),
            !arguments.isEmpty,
            let tools = try chatObject(arguments, "the template's arguments")["tools"],
            JinjaValue(tools, .template).isTrue
        {
            name = "tool_use"
        }
        let template = if let name { try chatTemplate(nameOrText: name) } else { try chatTemplate() }
        return withChatTemplate(arguments.isEmpty ? template : try template.with(arguments: arguments))
    }

    /// The conversation as text, as the checkpoint's template (or `template`) renders it.
    public func renderChatTemplate(
        _ messages: [Message], template: ChatTemplate? = nil, addGenerationPrompt: Bool = false
    ) throws(QwenSFTError) -> String {
        try resolve(template).render(messages, addGenerationPrompt: addGenerationPrompt)
    }

    /// The conversation as token ids, encoded part by part as for training: a message's content never merges with what is around it.
    ///
    /// - Parameters:
    ///   - messages: the conversation.
    ///   - template: nil: the checkpoint's.
    ///   - addGenerationPrompt: ends the ids with the beginning of an assistant's message.
    ///   - splitSpecialTokens: true: added tokens inside a content are plain text; false: they take effect, and the text is
    ///     encoded as a whole, as transformers does it.
    public func applyChatTemplate(
        _ messages: [Message], template: ChatTemplate? = nil, addGenerationPrompt: Bool = false,
        splitSpecialTokens: Bool = true
    ) throws(QwenSFTError) -> [Int32] {
        let template = try resolve(template)
        let encoder = try ChatEncoder(self, template, splitSpecialTokens: splitSpecialTokens)
        if splitSpecialTokens { return try encoder.encode(messages, addGenerationPrompt: addGenerationPrompt) }
        return try encode(
            template.render(messages, addGenerationPrompt: addGenerationPrompt), splitSpecialTokens: false)
    }

    package func resolve(_ template: ChatTemplate?) throws(QwenSFTError) -> ChatTemplate {
        if let template { return template }
        return try chatTemplate()
    }
}
