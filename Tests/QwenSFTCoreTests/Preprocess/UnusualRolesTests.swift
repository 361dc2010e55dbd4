import QwenSFTCore
import Testing

/// Data that calls the user "human" is learned as if the model were to speak for both: somebody has to be told.
@Suite(.serialized, .processWide) struct UnusualRolesTests {
    private let tokenizer: Tokenizer
    init() throws { tokenizer = try qwen2Tokenizer() }

    private func warnings(_ body: () throws -> Void) rethrows -> [String] {
        let heard = Locked<[String]>([])
        Warnings.setHandler { message in heard.withLock { $0.append(message) } }
        defer { Warnings.setHandler(nil) }
        try body()
        return heard.withLock { $0 }
    }

    private let conversations = [
        [Message(role: "human", content: "2+2"), Message(role: "gpt", content: "4")],
        [
            Message(role: "system", content: "Be brief."), Message(role: "human", content: "3+3"),
            Message(role: "assistant", content: "6"),
        ],
    ]

    private let message =
        "the label policy 'qwen' learns what every role but system, user and tool says, here also 'human' (2 messages), 'gpt' (1 messages); a policy such as 'assistant' does not"

    @Test func batches() throws {
        let heard = try warnings { _ = try Batch(conversations, tokenizer: tokenizer) }
        #expect(heard == [message])
    }

    @Test func datasets() throws {
        let heard = try warnings { _ = try EncodedDataset(Dataset(conversations), tokenizer: tokenizer) }
        #expect(heard == ["conversations: " + message])
    }

    @Test func nothingToSay() throws {
        let usual = [[Message(role: "user", content: "2+2"), Message(role: "assistant", content: "4")]]
        #expect(try warnings { _ = try Batch(usual, tokenizer: tokenizer) } == [])
        // Not learned, or learned on purpose.
        let silent = [[Message(role: "human", content: "2+2", weight: 0), Message(role: "assistant", content: "4")]]
        #expect(try warnings { _ = try Batch(silent, tokenizer: tokenizer) } == [])
        for policy in [LabelPolicy.assistant, .all] {
            let options = PreprocessOptions(labelPolicy: policy)
            #expect(try warnings { _ = try Batch([conversations[1]], tokenizer: tokenizer, options: options) } == [])
        }
    }
}
