import Testing

@testable import QwenSFTCore

/// A conversation that is put together from what the template wrote around others is what the template writes.
@Suite struct TemplateFramesTests {
    private func conversations(_ contents: [String]) -> [[Message]] {
        contents.flatMap { a in
            contents.flatMap { b in
                [
                    [Message(role: "user", content: a), Message(role: "assistant", content: b)],
                    [Message(role: "system", content: b), Message(role: "user", content: a)],
                    [Message(role: "user", content: a)],
                ]
            }
        }
    }

    private func compare(_ text: String, _ contents: [String]) throws {
        let used = ChatTemplate(text)
        for _ in 0..<2 {
            for conversation in conversations(contents) {
                for prompt in [false, true] {
                    let fresh = Result { () throws(QwenSFTError) in
                        try ChatTemplate(text).rendering(conversation, addGenerationPrompt: prompt).text
                    }
                    let again = Result { () throws(QwenSFTError) in
                        try used.rendering(conversation, addGenerationPrompt: prompt).text
                    }
                    switch (fresh, again) {
                    case (.success(let a), .success(let b)): #expect(a.bytes == b.bytes && a.runs == b.runs, "\(text)")
                    case (.failure(let a), .failure(let b)): #expect(a.message == b.message, "\(text)")
                    default: Issue.record("\(text): \(fresh) and \(again)")
                    }
                }
            }
        }
    }

    @Test(arguments: [
        "qwen2-instruct.jinja", "qwen2.5-instruct.jinja", "qwen2.5-coder-1.5b-instruct.jinja", "qwen3.jinja",
    ])
    func published(name: String) throws {
        let template = try FileContents(fixtureDirectory + "/chat-templates/" + name).withBytes {
            (bytes) throws(QwenSFTError) in String(decoding: bytes, as: UTF8.self)
        }
        try compare(template, ["", "a", "<|im_end|>", "b</think>c", "<tool_response>d</tool_response>", "2+2等于几"])
    }

    /// Each looks at a content in its own way.
    @Test(
        arguments: [
            "{% if 'x' in m.content %}!{% endif %}{{ m.content }}",
            "{{ m.content }}{{ m.content | length }}",
            "{{ m.content | trim }}",
            "{{ m.content }}{% if m.content == 'x' %}!{% endif %}",
            "{{ m.content }}{% if m.content %}!{% endif %}",
            "{% set c = '-' ~ m.content %}{{ c }}{% if c == '-x' %}!{% endif %}",
            "{% set c %}{{ m.content }}-{% endset %}{{ c }}{{ c.startswith('x') }}",
            "{% macro f(c) %}{{ c }}{% endmacro %}{{ f(m.content) }}{{ f(m.content) | upper }}",
            "{{ m.content }}{{ m.content[:1] }}",
            "{{ m.content.split('x')[-1] }}",
            "{{ m.content }}{{ m.content }}",
            "{{ m.content * 2 }}",
            "{{ m | tojson }}",
            "{{ m.content ~ m.content }}",
            "{{ m.content }}{% if m.content > 'a' %}!{% endif %}",
            "{{ m.content }}{{ {'x': 1, 'a': 2}[m.content] }}",
            "{{ m.content }}{% for c in m.content %}.{% endfor %}",
            "{{ m.content | replace('x', 'y') }}",
            "{{ m.content | safe }}{{ m.content | e }}",
            "{% generation %}{{ m.content }}{% endgeneration %}",
            "{{ m.content }}{% if m.content == 'x' %}{{ raise_exception('no') }}{% endif %}",
            "{% if m.role != 'user' %}{{ m.content }}{% endif %}",
        ])
    func watching(part: String) throws {
        try compare(
            "{% for m in messages %}{{ m.role }}:" + part + ";{% endfor %}{% if add_generation_prompt %}>{% endif %}",
            ["", "a", "x", " x ", "xx", "<b>"])
    }

    /// The frame that was kept is used: nothing is interpreted, so nothing is used up.
    @Test func isUsed() throws {
        let messages = [Message(role: "user", content: "a")]
        let key = try #require(TemplateFrames.key(messages, addGenerationPrompt: true))
        let frames = TemplateFrames()
        let text = try ChatTemplate.chatML.rendering(messages, addGenerationPrompt: true).text
        #expect(frames.text(key, messages) == nil)
        frames.note(key, text, messages)
        let other = try #require(frames.text(key, [Message(role: "user", content: "bc")]))
        #expect(
            String(decoding: other.bytes, as: UTF8.self) == "<|im_start|>user\nbc<|im_end|>\n<|im_start|>assistant\n")
        #expect(
            TemplateFrames.key([Message(role: "user", content: "", fields: "{}")], addGenerationPrompt: true) == nil)
    }
}
