import Testing

@testable import QwenSFTCore

/// What of an answer is reasoning, with Qwen3's tokenizer.
@Suite struct ReasoningTests {
    private let tokenizer: Tokenizer

    init() throws { tokenizer = try qwen3Tokenizer() }

    /// The pieces of `answer` that are reasoning, and those that are not.
    private func split(_ answer: String, prompt: String = "Hi") throws -> [String]? {
        guard var reasoning = Reasoning(tokenizer, prompt: try tokenizer.encode(prompt)) else { return nil }
        var parts = ["", ""]
        for id in try tokenizer.encode(answer) {
            let text = tokenizer.decode([id])
            parts[reasoning.append(id, text) ? 0 : 1] += text
        }
        return parts
    }

    @Test func marksAtTheBeginning() throws {
        #expect(
            try split("<think>\nHm. 1\n</think>\n\nHi <think> you </think>")
                == ["<think>\nHm. 1\n</think>\n\n", "Hi <think> you </think>"])
        #expect(try split("Hi <think>Hm</think>") == ["", "Hi <think>Hm</think>"])
        #expect(try split("Hi</think>") == ["", "Hi</think>"])
        #expect(try split("<think>Hm") == ["<think>Hm", ""])
    }

    @Test func marksInThePrompt() throws {
        #expect(try split("Hm</think>Hi", prompt: "<think>\n") == ["Hm</think>", "Hi"])
        #expect(try split("Hi", prompt: "<think>\n\n</think>\n\n") == ["", "Hi"])
    }

    @Test func noneWithoutTheTokens() throws {
        #expect(Reasoning(try qwen2Tokenizer(), prompt: [1]) == nil)
    }
}
