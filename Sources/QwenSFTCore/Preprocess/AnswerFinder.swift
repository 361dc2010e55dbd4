/// A text that a template wrote, and what is to be learned of it.
struct LabelledText {
    let text: TaggedText
    /// Bytes to learn, in ascending order, and their weight.
    var answers: [(range: Range<Int>, weight: Float)] = []
}

/// Where the assistant's answers stand in what a template writes.
///
/// For each answer the prompt is what the template writes of the messages before it, with the opening of an answer; what is learned is what it
/// adds when the answer is there, up to and with the token that ends the turn. So the model learns to write what it is asked for, whatever
/// the template is. Most templates write a conversation as its beginnings with something added: it is one text then. One
/// that writes earlier turns differently (Qwen3's leaves out their reasoning) makes a text for each answer that looks different later on.
struct AnswerFinder {
    let encoder: ChatEncoder
    let policy: LabelPolicy

    /// - Parameter whole: all of the conversation.
    /// - Returns: the texts to learn from, the whole conversation last, or alone where there is nothing to learn.
    func texts(_ messages: [Message], whole: TaggedText) throws(QwenSFTError) -> [LabelledText] {
        var texts = [LabelledText(text: whole)]
        let lastAnswer = messages.lastIndex { $0.role == "assistant" }
        for (i, message) in messages.enumerated().reversed() where message.role == "assistant" && message.weight != 0 {
            if policy == .lastAssistant, i != lastAnswer { continue }
            let text = i == messages.count - 1 ? whole : try rendering(messages[...i])
            let range = try answer(i, messages, in: text)
            let learned = text.bytes[..<range.upperBound]
            // Later answers are there already; the nearest of them is the likeliest to begin like this.
            if let same = texts.lastIndex(where: { $0.text.bytes.starts(with: learned) }) {
                texts[same].answers.insert((range, message.weight), at: 0)
            } else {
                texts.append(LabelledText(text: text, answers: [(range, message.weight)]))
            }
        }
        if texts.contains(where: { !$0.answers.isEmpty }) { texts.removeAll { $0.answers.isEmpty } }
        return texts.reversed()
    }

    private func rendering(
        _ messages: ArraySlice<Message>, addGenerationPrompt: Bool = false
    ) throws(QwenSFTError) -> TaggedText {
        try encoder.template.rendering(Array(messages), addGenerationPrompt: addGenerationPrompt).text
    }

    /// The bytes to learn of an answer that ends `text`.
    private func answer(
        _ index: Int, _ messages: [Message], in text: TaggedText
    ) throws(QwenSFTError) -> Range<Int> {
        let start: Int
        if index == 0 {
            // There is nothing to answer: what the template writes before the message's first text is the prompt.
            var first = 0
            for run in text.runs {
                if run.origin.message == 0, run.origin.source == .content || run.origin.source == .field { break }
                first = run.end
            }
            start = first
        } else {
            let prompt = try rendering(messages[..<index], addGenerationPrompt: true)
            guard text.bytes.starts(with: prompt.bytes) else {
                throw meaningless("which does not go on from its prompt when it writes message \(index)")
            }
            start = prompt.bytes.count
        }
        let end = encoder.endOfTurn(text, message: index, from: start) ?? text.bytes.count..<text.bytes.count
        switch policy {
        case .assistantContent: return start..<max(start, end.lowerBound)
        case .assistantNewline:
            guard end.upperBound < text.bytes.count, text.bytes[end.upperBound] == UInt8(ascii: "\n") else {
                throw meaningless("which writes no newline after an answer")
            }
            return start..<end.upperBound + 1
        default: return start..<end.upperBound
        }
    }

    private func meaningless(_ why: String) -> QwenSFTError {
        policy.meaningless(for: encoder.template, why)
    }
}

extension LabelPolicy {
    func meaningless(for template: ChatTemplate, _ why: String) -> QwenSFTError {
        QwenSFTError(
            .unsupported,
            "the label policy '\(rawValue)' has no meaning for the chat template (\(printable(template.name))), \(why)")
    }
}
