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
            ("qwen2-instruct.jinja", "Qwen2", "You are a helpful assistant."),
            ("qwen1.5-chat.jinja", "Qwen1.5", "You are a helpful assistant"),
            ("qwen2-base.jinja", "ChatML", nil),
            (
                "qwen2.5-instruct.jinja", "Qwen2.5",
                "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
            ),
        ] as [(String, String, String?)])
    func recognized(file: String, name: String, prompt: String?) throws {
        let template = try ChatTemplate(recognizing: text(file))
        #expect(template.name == name)
        #expect(template.defaultSystemPrompt == prompt)
        // With a newline more or less at the end.
        #expect(try ChatTemplate(recognizing: text(file) + (text(file).hasSuffix("\n") ? "" : "\n")) == template)
        if try text(file).hasSuffix("\n") {
            #expect(try ChatTemplate(recognizing: String(text(file).dropLast())) == template)
        }
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
            try ChatTemplate(recognizing: math).defaultSystemPrompt
                == "Please put your final answer within \\boxed{}. It's fine.\n")
        #expect(try ChatTemplate(recognizing: math).name == "Qwen2.5")
        let qwen2 = try text("qwen2-instruct.jinja")
        #expect(
            try ChatTemplate(recognizing: qwen2.replacing("You are a helpful assistant.", with: "你好"))
                .defaultSystemPrompt == "你好")
        #expect(
            try ChatTemplate(recognizing: qwen2.replacing("You are a helpful assistant.", with: "")).defaultSystemPrompt
                == "")
    }

    @Test func unknownTemplates() throws {
        let unknown =
            "the chat template is none of those known (Qwen1.5, Qwen2, Qwen2.5, ChatML); ChatML can be asked for instead"
        let qwen2 = try text("qwen2-instruct.jinja")
        let qwen25 = try text("qwen2.5-instruct.jinja")
        let texts = [
            "", "{{ messages }}", qwen2 + " ", " " + qwen2, qwen2 + "\n\n", String(qwen2.dropLast()),
            // The prompt ends the literal and goes on as something else.
            qwen2.replacing("You are a helpful assistant.", with: "x' + secret + '"),
            qwen2.replacing("You are a helpful assistant.", with: #"\x41"#),
            qwen2.replacing("You are a helpful assistant.", with: "\\"),
            // Two different prompts.
            qwen25.replacing("You are Qwen,", with: "You are Quinn,", maxReplacements: 1),
            qwen25.replacing("tool_calls", with: "calls"),
        ]
        for text in texts { expectError(.unsupported, unknown) { try ChatTemplate(recognizing: text) } }
        expectError(.unsupported, "the chat template is that of Qwen3 (thinking), which this version does not render") {
            try ChatTemplate(recognizing: text("qwen3.jinja"))
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
        let qwen25 = try ChatTemplate(recognizing: text("qwen2.5-instruct.jinja"))
        expectError(
            .unsupported,
            "message 1: the role 'tool' is not rendered by this version for the template Qwen2.5 (only system, user and assistant)"
        ) { try qwen25.render([user, Message(role: "tool", content: "x")]) }
        // Qwen2's template renders any role.
        let qwen2 = try ChatTemplate(recognizing: text("qwen2-instruct.jinja"))
        #expect(
            try qwen2.render([Message(role: "system", content: ""), Message(role: "critic", content: "c")])
                == "<|im_start|>system\n<|im_end|>\n<|im_start|>critic\nc<|im_end|>\n")
    }
}
