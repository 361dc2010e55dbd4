import QwenSFTCore
import Testing

@Suite struct AnswerPartsTests {
    @Test(
        arguments: [
            ("Hi.", nil, "Hi.", "[]"),
            (" a\n", nil, " a\n", "[]"),
            ("<think>\nHm.\n</think>\n\nHi.", "Hm.", "Hi.", "[]"),
            // Nobody opened it.
            ("Hm.\n</think>\n\nHi.", nil, "Hm.\n</think>\n\nHi.", "[]"),
            ("<think>\n\n</think>\n\nHi.", nil, "Hi.", "[]"),
            // The answer was cut.
            ("<think>\nHm", "Hm", "", "[]"),
            (
                "I look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1.50, \"b\": \"</x>\"}}\n</tool_call>",
                nil, "I look.",
                #"[{"type": "function", "function": {"name": "f", "arguments": {"a":1.50,"b":"</x>"}}}]"#
            ),
            (
                "<think>x</think>\n<tool_call>{\"name\": \"f\"}</tool_call>\n<tool_call>{\"name\": \"g\\\"\", \"arguments\": []}</tool_call>",
                "x", "",
                #"[{"type": "function", "function": {"name": "f", "arguments": {}}}, {"type": "function", "function": {"name": "g\"", "arguments": []}}]"#
            ),
            ("<tool_call>\nnothing\n</tool_call> b", nil, "<tool_call>\nnothing\n</tool_call> b", "[]"),
            ("<tool_call>\n{\"name\": 1}\n</tool_call>", nil, "<tool_call>\n{\"name\": 1}\n</tool_call>", "[]"),
            ("<tool_call>\n{\"name\": \"f\"}", nil, "<tool_call>\n{\"name\": \"f\"}", "[]"),
            ("", nil, "", "[]"),
        ] as [(String, String?, String, String)])
    func parts(text: String, reasoning: String?, content: String, calls: String) {
        let parts = AnswerParts(text)
        #expect(parts.reasoning == reasoning && parts.content == content && parts.toolCallsJSON == calls, "\(parts)")
    }

    @Test(
        "The prompt has opened the reasoning",
        arguments: [
            ("Hm.\n</think>\n\nHi.", "Hm.", "Hi."), ("<think>\nHm.\n</think>\nHi.", "Hm.", "Hi."), ("Hm", "Hm", ""),
        ])
    func opened(text: String, reasoning: String, content: String) {
        let parts = AnswerParts(text, beginsInReasoning: true)
        #expect(parts.reasoning == reasoning && parts.content == content, "\(parts)")
    }
}
