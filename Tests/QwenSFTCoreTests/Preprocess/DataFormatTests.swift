import Foundation
import QwenSFTCore
import Testing

/// Every format says the same two conversations, from a fixture.
@Suite(.processWide) struct DataFormatTests {
    private static let brief = Message(role: "system", content: "You are brief.")
    private static let sum = Message(role: "user", content: "2+2等于几")
    private static let four = Message(role: "assistant", content: "4。")
    private static let colors = [
        Message(role: "user", content: "Name a color."), Message(role: "assistant", content: "Red."),
        Message(role: "user", content: "Another."), Message(role: "assistant", content: "Blue."),
    ]

    private func fixture(_ name: String) -> String { fixtures.appending(path: "data/" + name).path }

    private func read(_ name: String, _ options: Dataset.Options = .init()) throws -> [[Message]] {
        try Dataset(path: fixture(name), options: options).conversations().map(\.messages)
    }

    private func row(_ text: String, format: DataFormat? = nil, columns: String? = nil) throws -> [Message] {
        var options = Dataset.Options()
        options.format = format
        if let columns { options.names = try ColumnNames(columns) }
        return try Dataset(bytes: Array(text.utf8), name: "data.jsonl", options: options).conversations()[0].messages
    }

    @Test func messages() throws {
        var weighted = Self.colors
        for i in weighted.indices { weighted[i].weight = i == 1 ? 0 : 0.5 }
        #expect(try read("messages.jsonl") == [[Self.brief, Self.sum, Self.four], weighted])
        for name in ["messages.jsonl.gz", "messages.jsonl.zst"] {
            #expect(try read(name) == read("messages.jsonl"))
        }
    }

    @Test func shareGPT() throws {
        #expect(try read("sharegpt.json") == [[Self.brief, Self.sum, Self.four], Self.colors])
        #expect(try Dataset(path: fixture("sharegpt.json")).conversations().map(\.line) == [2, 10])
    }

    @Test func toolsOfShareGPT() throws {
        let data = try read("tools.json")
        #expect(data[0].map(\.role) == ["user", "assistant", "tool", "assistant"])
        #expect(data[0].map(\.content) == ["How warm is it in Bern?", "", #"{"celsius": 21.50}"#, "21.5 degrees."])
        #expect(
            data[0][1].fields
                == #"{"tool_calls":[{"type":"function","function":{"name":"temperature","arguments":{"place":"Bern"}}}]}"#
        )
        #expect(data[0][0].fields.hasPrefix(#"{"tools":[{"type":"function","function":{"name":"temperature","#))
        #expect(data[1] == [Message(role: "user", content: "Hello"), Message(role: "assistant", content: "Hi.")])
        // What the tool says is never learned, whatever the policy of answers is.
        let tokenizer = try qwen2Tokenizer()
        let (encoded, warnings) = try catchingWarnings {
            try EncodedDataset(Dataset(path: fixture("tools.json")), tokenizer: tokenizer)
        }
        #expect(
            warnings == [
                "tools.json: 1 conversations call functions, which the chat template does not write: their calls are not learned",
                "tools.json: 1 conversations come with functions, which the chat template does not write: the model does not see them",
            ])
        let batch = try encoded.batch([0])
        let learned = zip(batch.inputIDs, batch.labels).filter { $0.1 != -100 }.map { Int32($0.0) }
        #expect(!tokenizer.decode(learned).contains("celsius") && tokenizer.decode(learned).contains("degrees"))
    }

    @Test func alpaca() throws {
        let sum = Message(role: "user", content: "Add.\n2+2")
        #expect(
            try read("alpaca.json") == [
                [Self.brief, sum, Message(role: "assistant", content: "4")], Self.colors,
            ])
    }

    @Test func promptCompletion() throws {
        var colors = Self.colors
        colors[1].weight = 0
        #expect(try read("prompt_completion.jsonl") == [[Self.sum, Self.four], colors])
    }

    @Test func columnsByOtherNames() throws {
        var options = Dataset.Options()
        options.names = try ColumnNames("prompt=question,completion=answer")
        let all = [
            [Self.sum, Self.four],
            [Message(role: "user", content: "3+3等于几"), Message(role: "assistant", content: "6。")],
        ]
        #expect(try read("question_answer.jsonl", options) == all)
        #expect(try read("question_answer.jsonl") == all)
        options.limit = 1
        #expect(try read("question_answer.jsonl", options) == [all[0]])
        let report = try EncodedDataset(
            Dataset(path: fixture("question_answer.jsonl")), tokenizer: qwen2Tokenizer(), sendsWarnings: false
        ).report
        #expect(report.format == "prompt_completion (prompt=question, completion=answer)")
        #expect(report.unknownKeys.map { "\($0.key) \($0.count) \($0.line)" } == ["difficulty 1 1"])

        #expect(
            try row(
                #"{"chat": [{"who": "human", "text": "2+2等于几"}, {"who": "gpt", "text": "4。"}]}"#,
                columns: "conversations=chat,from=who,value=text") == [Self.sum, Self.four])
        #expect(
            try row(
                #"{"dialog": [{"speaker": "user", "text": "2+2等于几"}, {"speaker": "assistant", "text": "4。"}]}"#,
                columns: "messages=dialog,role=speaker,content=text") == [Self.sum, Self.four])
        // Under the other list's name, and with the other one's keys.
        #expect(
            try row(#"{"conversations": [{"role": "user", "content": "2+2等于几"}, {"from": "gpt", "value": "4。"}]}"#)
                == [Self.sum, Self.four])
        #expect(try row(#"{"messages": null, "prompt": "2+2等于几", "response": "4。"}"#) == [Self.sum, Self.four])
    }

    private static let formats =
        "expected 'messages', or 'conversations', or 'instruction' and 'output', or 'prompt' and 'completion'"
    private static let advice = "; a map (prompt=question,completion=answer) says which column is what"

    @Test(
        arguments: [
            ("{}", nil, formats + "; found no key" + advice),
            (#"{"text": "a", "id": 1}"#, nil, formats + "; found 'text', 'id'" + advice),
            (#"{"messages": null}"#, nil, formats + "; found 'messages'" + advice),
            (
                #"{"messages": [], "prompt": "a", "completion": "b"}"#, nil,
                "the columns ('messages', 'prompt', 'completion') fit the formats 'messages' and 'prompt_completion'; name the one that is meant"
            ),
            (
                #"{"messages": []}"#, DataFormat.alpaca,
                "format 'alpaca' needs 'instruction', 'output'; found 'messages'" + advice
            ),
            (
                #"{"instruction": 1, "output": "a"}"#, nil, "'instruction' must be a string, not a number"
            ),
            (
                #"{"instruction": "a", "output": "a", "history": [["a"]]}"#, nil,
                "'history' must be a list of [question, answer]"
            ),
            (
                #"{"instruction": "a", "output": "a", "history": "a"}"#, nil,
                "'history' must be a list of [question, answer], not a string"
            ),
            (
                #"{"conversations": [{"from": "narrator", "value": "x"}]}"#, nil,
                "message 0: 'from' is 'narrator', expected human, user, gpt, assistant, chatgpt, bing, system, observation, tool or function_call"
            ),
            (
                #"{"conversations": [{"from": "human"}]}"#, nil, "message 0: 'value' is missing; found 'from'"
            ),
            (
                #"{"conversations": [{"from": "function_call", "value": "x()"}]}"#, nil,
                #"message 0: a function_call must be the JSON text of {"name": …, "arguments": …} or a list of such (the text:1:1: expected a value, found 'x')"#
            ),
            (
                #"{"conversations": [{"from": "function_call", "value": "[]"}]}"#, nil,
                #"message 0: a function_call must be the JSON text of {"name": …, "arguments": …} or a list of such"#
            ),
        ] as [(String, DataFormat?, String)])
    func refused(text: String, format: DataFormat?, message: String) {
        expectError(.invalidFile, "data.jsonl:1: " + message) { try row(text, format: format) }
    }

    @Test func laterRowsHaveTheFormatOfTheFirst() {
        expectError(
            .invalidFile,
            "data.jsonl:2: 'completion' is missing, which the format 'prompt_completion' needs; found 'prompt', 'answer'"
        ) {
            let text = "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\", \"answer\": \"b\"}"
            return try Dataset(bytes: Array(text.utf8), name: "data.jsonl").conversations()
        }
    }

    @Test(arguments: [
        ("prompt", "the map 'prompt' is not of the form 'prompt=question,completion=answer'"),
        ("", "the map '' is not of the form 'prompt=question,completion=answer'"),
        ("prompt=a,", "the map 'prompt=a,' is not of the form 'prompt=question,completion=answer'"),
        ("prompt=a,prompt=b", "the map names 'prompt' twice"),
        (
            "question=a",
            "the map names 'question', which no format has; there are messages, system, tools, weight, conversations, instruction, output, input, history, prompt, completion, role, content, from, value"
        ),
    ])
    func mapsRefused(text: String, message: String) {
        expectError(.invalidArgument, message) { try ColumnNames(text) }
    }
}
