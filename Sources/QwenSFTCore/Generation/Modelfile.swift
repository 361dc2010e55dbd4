extension Model {
    /// Writes a file `Modelfile` beside a GGUF file of this model, from which ollama makes a model of its own:
    /// `ollama create NAME -f Modelfile`. It says what ollama does not take from the GGUF file: how the checkpoint wants to be
    /// sampled, where answers end and, as ollama does not interpret chat templates, ChatML in its own language.
    /// - Throws: `io`; what opening the tokenizer of the model's directory throws.
    public func saveModelfile(beside path: String) throws(QwenSFTError) {
        let tokenizer = try Tokenizer(.memory(source.companions.files, of: source.directory))
        let text = try exclusively { modelfile(tokenizer, file: fileName(path)) }
        let warning = try replaceFile(joinPath(parentPath(path), "Modelfile")) {
            (file: inout WritableFile) throws(QwenSFTError) in try file.write(Array(text.utf8))
        }
        if let warning { Warnings.send(warning) }
    }

    private func modelfile(_ tokenizer: Tokenizer, file: String) -> String {
        var lines = ["# ollama create NAME -f Modelfile", "FROM ./\(file)"]
        if let system = Self.chatMLSystem(tokenizer) {
            lines.append("TEMPLATE \"\"\"\(Self.chatML)\"\"\"")
            if !system.isEmpty, !system.contains("\"\"\"") { lines.append("SYSTEM \"\"\"\(system)\"\"\"") }
        } else {
            Warnings.send(
                "\(file): the chat template is not ChatML; the Modelfile has none, and ollama chooses one by what it finds in the file"
            )
        }
        var stopIDs = generationDefaults.eosTokenIDs + learnedStopIDs
        if let end = tokenizer.tokenID(of: "<|im_end|>") { stopIDs.append(end) }
        var seen: Set<Int32> = []
        for id in stopIDs where seen.insert(id).inserted {
            guard let token = tokenizer.token(of: id), !token.contains("\"") else { continue }
            lines.append("PARAMETER stop \"\(token)\"")
        }
        let defaults = generationDefaults
        lines.append("PARAMETER temperature \(defaults.doSample ? defaults.temperature : 0)")
        if defaults.doSample {
            lines += [
                "PARAMETER top_k \(defaults.topK)", "PARAMETER top_p \(defaults.topP)",
                "PARAMETER min_p \(defaults.minP)",
            ]
        }
        lines.append("PARAMETER repeat_penalty \(defaults.repetitionPenalty)")
        return lines.joined(separator: "\n") + "\n"
    }

    /// ChatML as ollama's templates say it.
    private static let chatML =
        "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"

    /// The system prompt that the tokenizer's template adds to a conversation without one; nil where it does not write ChatML.
    private static func chatMLSystem(_ tokenizer: Tokenizer) -> String? {
        let (start, end) = ("<|im_start|>", "<|im_end|>\n")
        let messages = [("system", "S"), ("user", "Q"), ("assistant", "A"), ("user", "R")]
        func render(_ messages: some Sequence<(String, String)>) -> String? {
            let messages = messages.map { Message(role: $0.0, content: $0.1) }
            return try? tokenizer.renderChatTemplate(messages, addGenerationPrompt: true)
        }
        func expected(_ messages: some Sequence<(String, String)>) -> String {
            messages.map { start + $0.0 + "\n" + $0.1 + end }.joined() + start + "assistant\n"
        }
        guard render(messages) == expected(messages), let text = render(messages[1..<2]) else { return nil }
        let rest = expected(messages[1..<2])
        guard text != rest else { return "" }
        let opening = start + "system\n"
        guard text.hasPrefix(opening), text.hasSuffix(end + rest) else { return nil }
        return String(text.dropFirst(opening.count).dropLast((end + rest).count))
    }
}
