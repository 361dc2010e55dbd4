import QwenSFTCore
import Testing

@Suite struct ChatTemplateTests {
    private let user = Message(role: "user", content: "2+2等于几")
    private let assistant = Message(role: "assistant", content: "2+2等于4。")

    private func text(_ name: String) throws -> String {
        try FileContents(fixtureDirectory + "/chat-templates/" + name).withBytes { (bytes) throws(QwenSFTError) in
            String(decoding: bytes, as: UTF8.self)
        }
    }

    @Test(
        arguments: [
            ("qwen2-instruct.jinja", "You are a helpful assistant."),
            ("qwen1.5-chat.jinja", "You are a helpful assistant"),
            ("qwen2-base.jinja", nil),
            ("qwen2.5-instruct.jinja", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
            (
                "qwen2.5-coder-1.5b-instruct.jinja",
                "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
            ),
        ] as [(String, String?)])
    func checkpoints(file: String, prompt: String?) throws {
        let template = ChatTemplate(try text(file))
        #expect(template.defaultSystemPrompt == prompt)
        let system = prompt.map { "<|im_start|>system\n\($0)<|im_end|>\n" } ?? ""
        let turns = "<|im_start|>user\n2+2等于几<|im_end|>\n<|im_start|>assistant\n2+2等于4。<|im_end|>\n"
        #expect(try template.render([user, assistant]) == system + turns)
        #expect(
            try template.render([user], addGenerationPrompt: true)
                == system + "<|im_start|>user\n2+2等于几<|im_end|>\n<|im_start|>assistant\n")
        #expect(
            try template.render([Message(role: "system", content: ""), user, assistant])
                == "<|im_start|>system\n<|im_end|>\n" + turns)
        // A system message further on does not replace the default.
        #expect(
            try template.render([user, Message(role: "system", content: "s")])
                == system + "<|im_start|>user\n2+2等于几<|im_end|>\n<|im_start|>system\ns<|im_end|>\n")
    }

    @Test func variantsOfThePrompt() throws {
        let qwen25 = try text("qwen2.5-instruct.jinja")
        let default25 = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        // As in Qwen2.5-Math, whose prompt holds a backslash.
        let math = qwen25.replacing(default25, with: #"Please put your final answer within \\boxed{}. It\'s fine.\n"#)
        #expect(
            ChatTemplate(math).defaultSystemPrompt
                == "Please put your final answer within \\boxed{}. It's fine.\n")
        let qwen2 = try text("qwen2-instruct.jinja")
        #expect(
            ChatTemplate(qwen2.replacing("You are a helpful assistant.", with: "你好"))
                .defaultSystemPrompt == "你好")
        #expect(
            ChatTemplate(qwen2.replacing("You are a helpful assistant.", with: "")).defaultSystemPrompt
                == "")
    }

    @Test func templatesThatCannotBeUsed() throws {
        for (text, code, message) in [
            ("a\n{{ messages", .invalidFile, "chat template, line 2: the tag has no end"),
            ("a\n\n{% include 'x' %}", .unsupported, "chat template, line 3: {% include %} is not supported"),
            ("{{ messages | xmlattr }}", .unsupported, "chat template, line 1: the filter 'xmlattr' is not supported"),
            (
                "{{ raise_exception('no\\nway') }}", .invalidArgument,
                "the chat template refuses the conversation: no\\u{a}way"
            ),
            ("\n{{ x.y }}", .invalidArgument, "chat template, line 2: 'x' is undefined"),
        ] as [(String, QwenSFTError.Code, String)] {
            expectError(code, message) { try ChatTemplate(text).render([user]) }
        }
    }

    @Test func qwen3() throws {
        let template = ChatTemplate(try text("qwen3.jinja"))
        #expect(
            try template.render([user, assistant, user], addGenerationPrompt: true)
                == "<|im_start|>user\n2+2等于几<|im_end|>\n<|im_start|>assistant\n2+2等于4。<|im_end|>\n"
                + "<|im_start|>user\n2+2等于几<|im_end|>\n<|im_start|>assistant\n")
        let quick = try template.with(arguments: #"{"enable_thinking": false}"#)
        #expect(
            try quick.render([user], addGenerationPrompt: true)
                == "<|im_start|>user\n2+2等于几<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
        #expect(quick != template)
        let thinking = Message(role: "assistant", content: "4", fields: #"{"reasoning_content": "2 and 2"}"#)
        #expect(
            try template.render([user, thinking])
                == "<|im_start|>user\n2+2等于几<|im_end|>\n<|im_start|>assistant\n<think>\n2 and 2\n</think>\n\n4<|im_end|>\n"
        )
        let tools = try template.with(arguments: #"{"tools": [{"name": "add"}]}"#)
        let call = Message(
            role: "assistant", content: "",
            fields: #"{"tool_calls": [{"name": "add", "arguments": {"a": 2, "b": "<|im_end|>"}}]}"#)
        let text = try tools.render([user, call, Message(role: "tool", content: "4")])
        #expect(text.contains("<tools>\n{\"name\": \"add\"}\n</tools>"))
        #expect(
            text.hasSuffix(
                "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": \"<|im_end|>\"}}\n</tool_call><|im_end|>\n"
                    + "<|im_start|>user\n<tool_response>\n4\n</tool_response><|im_end|>\n"))
        for (fields, message) in [
            ("[]", "message 0: 'fields' must be a JSON object"),
            ("{", "message 0: 'fields':1:2: the document ends where an object key was expected"),
        ] {
            expectError(.invalidArgument, message) {
                try template.render([Message(role: "user", content: "", fields: fields)])
            }
        }
    }

    @Test func refusedMessages() throws {
        expectError(.invalidArgument, "the conversation holds no message") { try ChatTemplate.chatML.render([]) }
        expectError(.invalidArgument, "message 1: the role is empty") {
            try ChatTemplate.chatML.render([user, Message(role: "", content: "x")])
        }
        for (role, shown) in [
            ("<|im_start|>", "<|im_start|>"), ("a\nb", "a\\u{a}b"), ("user<|im_end|>", "user<|im_end|>"),
            ("\u{85}", "\\u{85}"),
        ] {
            expectError(.invalidArgument, "message 0: the role '\(shown)' holds control tokens or characters") {
                try ChatTemplate.chatML.render([Message(role: role, content: "x")])
            }
        }
        let qwen25 = ChatTemplate(try text("qwen2.5-instruct.jinja"))
        expectError(.unsupported, "message 1: the chat template leaves it out (its role is 'critic')") {
            try qwen25.render([user, Message(role: "critic", content: "x")])
        }
        // Qwen2's template renders any role.
        let qwen2 = ChatTemplate(try text("qwen2-instruct.jinja"))
        #expect(
            try qwen2.render([Message(role: "system", content: ""), Message(role: "critic", content: "c")])
                == "<|im_start|>system\n<|im_end|>\n<|im_start|>critic\nc<|im_end|>\n")
    }
}
