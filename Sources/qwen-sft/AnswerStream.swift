import QwenSFTCore

extension Model {
    /// Answers a conversation and hands over its text in pieces of whole characters.
    /// - Parameter onText: `false` ends the answer.
    func streamAnswer(
        _ tokenizer: Tokenizer, _ messages: [Message], options: GenerationOptions, template: ChatTemplate?,
        onText: (String) -> Bool
    ) throws -> String {
        let prompt = try tokenizer.applyChatTemplate(messages, template: template, addGenerationPrompt: true)
        let stop = tokenizer.tokenID(of: "<|im_end|>")
        var answer = ""
        var pending: [Int32] = []
        func flush(_ isEnd: Bool) -> Bool {
            let text = tokenizer.decode(pending, skipSpecialTokens: true)
            // A character whose bytes are spread over tokens is not whole yet.
            if text.hasSuffix("\u{FFFD}"), !isEnd, pending.count < 8 { return true }
            pending = []
            answer += text
            return onText(text)
        }
        _ = try generate(prompt, options: options, stopIDs: stop.map { [$0] } ?? []) { id in
            pending.append(id)
            return flush(false)
        }
        _ = flush(true)
        return answer
    }
}
