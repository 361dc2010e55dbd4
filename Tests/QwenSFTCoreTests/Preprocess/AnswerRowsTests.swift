import QwenSFTCore
import Testing

/// What is learned of an answer is what the model is asked for in chat, whatever the template does with earlier turns.
@Suite(.processWide) struct AnswerRowsTests {
    private let tokenizer: Tokenizer
    init() throws { tokenizer = try qwen2Tokenizer() }

    private func template(_ name: String) throws -> ChatTemplate {
        try FileContents(fixtureDirectory + "/chat-templates/" + name).withBytes { (bytes) throws(QwenSFTError) in
            ChatTemplate(String(decoding: bytes, as: UTF8.self), name: name)
        }
    }

    private func thinking(_ turns: Int) -> [Message] {
        (0..<turns).flatMap { i in
            [
                Message(role: "user", content: "\(i)+1?"),
                Message(role: "assistant", content: "\(i + 1)", fields: #"{"reasoning_content": "\#(i) and 1"}"#),
            ]
        }
    }

    private func batch(_ conversation: [Message], _ policy: LabelPolicy, _ template: ChatTemplate) throws -> Batch {
        try Batch(
            [[Message(role: "user", content: "a"), Message(role: "assistant", content: "b")], conversation],
            tokenizer: tokenizer, options: .init(labelPolicy: policy, addDefaultSystem: true, template: template))
    }

    /// The real ids of a row, and which of them are learned.
    private func row(_ batch: Batch, _ row: Int) -> (ids: [Int32], learned: [Int32]) {
        let range = row * batch.columns..<(row + 1) * batch.columns
        let (ids, labels, mask) = (batch.inputIDs, batch.labels, batch.attentionMask)
        return (
            range.filter { mask[$0] == 1 }.map { Int32(ids[$0]) },
            range.filter { labels[$0] != -100 }.map { Int32(labels[$0]) }
        )
    }

    /// Each row is a prompt as chat sends it and the answer as the model writes it.
    @Test func tenTurnsWithThinking() throws {
        let template = try template("qwen3.jinja")
        let conversation = thinking(10)
        let batch = try batch(conversation, .assistant, template)
        #expect(batch.conversationOfRow == [0] + Array(repeating: 1, count: 10))
        let end = try #require(tokenizer.tokenID(of: "<|im_end|>"))
        for turn in 0..<10 {
            let prompt = try tokenizer.applyChatTemplate(
                Array(conversation[..<(2 * turn + 1)]), template: template, addGenerationPrompt: true)
            let answer = try tokenizer.encode("<think>\n\(turn) and 1\n</think>\n\n\(turn + 1)") + [end]
            let (ids, learned) = row(batch, 1 + turn)
            #expect(learned == answer)
            #expect(Array(ids.prefix(prompt.count + answer.count)) == prompt + answer)
        }
        // The last of them alone, and what a weight takes away.
        let last = try self.batch(conversation, .lastAssistant, template)
        #expect(last.rows == 2 && row(last, 1).learned == row(batch, 10).learned)
        var silent = conversation
        for i in stride(from: 1, to: 18, by: 2) { silent[i].weight = 0 }
        #expect(try self.batch(silent, .assistant, template).rows == 2)
    }

    /// Where turns stay as they are a conversation is one row, with the ids of the whole conversation.
    @Test(arguments: ["qwen2-instruct.jinja", "qwen2.5-instruct.jinja", "qwen2-base.jinja"])
    func oneRow(name: String) throws {
        let template = try template(name)
        var conversation = thinking(4)
        conversation.append(Message(role: "user", content: "?"))
        let batch = try batch(conversation, .assistant, template)
        #expect(batch.rows == 2)
        #expect(try row(batch, 1).ids == tokenizer.applyChatTemplate(conversation, template: template))
        #expect(tokenizer.decode(row(batch, 1).learned) == "1<|im_end|>2<|im_end|>3<|im_end|>4<|im_end|>")
    }

    /// Calls are learned as the model writes them, in the tokens it would choose.
    @Test func toolCalls() throws {
        let template = try template("qwen2.5-instruct.jinja").with(arguments: #"{"tools": [{"name": "f"}]}"#)
        let call = #"{"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]}"#
        let conversation = [
            Message(role: "user", content: "f of 1?"), Message(role: "assistant", content: "", fields: call),
            Message(role: "tool", content: "2"), Message(role: "assistant", content: "2."),
        ]
        let batch = try batch(conversation, .assistant, template)
        let end = try #require(tokenizer.tokenID(of: "<|im_end|>"))
        let written = try tokenizer.encode("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>")
        #expect(batch.rows == 2)
        #expect(try row(batch, 1).learned == written + [end] + tokenizer.encode("2.") + [end])
        // Under qwen a tool's answer stands in a user's turn and is not learned.
        let qwen = try catchingWarnings { try self.batch(conversation, .qwen, template) }
        #expect(qwen.1.isEmpty)
        #expect(!tokenizer.decode(row(qwen.0, 1).learned).contains("tool_response"))
    }

    private static let other =
        "{% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }}\n{% else %}BOT:{% generation %} {{ m.content }}"
        + "<|endoftext|>{% endgeneration %}{{ '\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}BOT:{% endif %}"

    /// A template that is not ChatML.
    @Test func anotherTemplate() throws {
        let template = ChatTemplate(Self.other)
        let conversation = Array(thinking(2))
        func learned(_ policy: LabelPolicy) throws -> String {
            tokenizer.decode(row(try batch(conversation, policy, template), 1).learned)
        }
        #expect(try learned(.assistant) == " 1<|endoftext|> 2<|endoftext|>")
        #expect(try learned(.generation) == " 1<|endoftext|> 2<|endoftext|>")
        #expect(try learned(.assistantContent) == " 1 2")
        #expect(try learned(.assistantNewline) == " 1<|endoftext|>\n 2<|endoftext|>\n")
        #expect(try learned(.lastAssistant) == " 2<|endoftext|>")
        #expect(try learned(.all) == "USER: 0+1?\nBOT: 1<|endoftext|>\nUSER: 1+1?\nBOT: 2<|endoftext|>\n")
    }

    @Test func policiesWithoutMeaning() throws {
        func refused(_ policy: LabelPolicy, _ text: String, _ why: String) {
            expectError(
                .unsupported,
                "row 0: the label policy '\(policy.rawValue)' has no meaning for the chat template (given), " + why
            ) { try batch(thinking(1), policy, ChatTemplate(text)) }
        }
        refused(.qwen, Self.other, "which does not write ChatML")
        refused(.generation, "{{ messages | tojson }}", "which has no {% generation %} blocks")
        refused(
            .assistantNewline, Self.other.replacing("{{ '\\n' }}", with: ""),
            "which writes no newline after an answer")
        refused(
            .assistant, "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}",
            "which does not go on from its prompt when it writes message 1")
    }
}
