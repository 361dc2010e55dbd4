/// The tokens of one message: `<|im_start|>` role `\n` content `<|im_end|>` `\n`, as ranges of a row.
package struct MessageTokens: Sendable {
    package let start: Range<Int>
    package let role: Range<Int>
    package let roleNewline: Range<Int>
    package let content: Range<Int>
    package let end: Range<Int>
    package let endNewline: Range<Int>

    package var all: Range<Int> { start.lowerBound..<endNewline.upperBound }
}

/// Encodes messages part by part, so that control ids come from the structure and from nothing else, and no token crosses a boundary
/// that the label mask needs.
package struct ChatEncoder {
    private let tokenizer: Tokenizer
    private let start: Int32
    package let end: Int32
    private let newline: [Int32]
    private let splitSpecialTokens: Bool

    /// - Parameter splitSpecialTokens: true: added tokens inside a content are text; false: they take effect.
    /// - Throws: `unsupported` where the tokenizer has no `<|im_start|>` or `<|im_end|>`.
    package init(_ tokenizer: Tokenizer, splitSpecialTokens: Bool) throws(QwenSFTError) {
        guard let start = tokenizer.tokenID(of: "<|im_start|>"), let end = tokenizer.tokenID(of: "<|im_end|>") else {
            throw QwenSFTError(
                .unsupported, "the tokenizer has no tokens <|im_start|> and <|im_end|>, which chats need")
        }
        self.tokenizer = tokenizer
        self.start = start
        self.end = end
        newline = try tokenizer.encode("\n", splitSpecialTokens: true)
        self.splitSpecialTokens = splitSpecialTokens
    }

    package func append(_ message: Message, to ids: inout [Int32]) throws(QwenSFTError) -> MessageTokens {
        let startRange = try append([start], to: &ids)
        let role = try append(tokenizer.encode(message.role, splitSpecialTokens: true), to: &ids)
        let roleNewline = try append(newline, to: &ids)
        let content = try append(tokenizer.encode(message.content, splitSpecialTokens: splitSpecialTokens), to: &ids)
        let endRange = try append([end], to: &ids)
        let endNewline = try append(newline, to: &ids)
        return MessageTokens(
            start: startRange, role: role, roleNewline: roleNewline, content: content, end: endRange,
            endNewline: endNewline)
    }

    /// The beginning of an assistant's message, up to where its content starts.
    package func appendGenerationPrompt(to ids: inout [Int32]) throws(QwenSFTError) {
        _ = try append([start], to: &ids)
        _ = try append(tokenizer.encode("assistant", splitSpecialTokens: true), to: &ids)
        _ = try append(newline, to: &ids)
    }

    private func append(_ tokens: [Int32], to ids: inout [Int32]) throws(QwenSFTError) -> Range<Int> {
        let first = ids.count
        try ids.makeRoom(for: tokens.count, purpose: "token ids")
        ids += tokens
        return first..<ids.count
    }
}
