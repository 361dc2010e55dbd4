import Foundation
import QwenSFTCore
import Testing

@Suite(.processWide) struct DatasetTests {
    private func dataset(_ text: String) -> Dataset { Dataset(bytes: Array(text.utf8), name: "data.jsonl") }

    private func read(_ text: String) throws -> [Dataset.Conversation] { try dataset(text).conversations() }

    /// A line with one conversation.
    private func row(_ messages: String...) -> String {
        #"{"messages": ["# + messages.joined(separator: ", ") + "]}\n"
    }

    private let hello = #"{"role": "user", "content": "Hello"}"#
    private let hi = #"{"role": "assistant", "content": "Hi"}"#

    @Test func readsLines() throws {
        let text =
            row(hello, hi) + "\r\n   \n"
            + #"{"id": 7, "messages": [{"weight": 0.5, "content": "a\nb", "role": "user", "name": "x", "tool_calls": null}], "tools": null}"#
            + "\r\n"
            + #"{"id": [1, {}], "messages": [\#(hi)], "source": "web"}"#
        let data = try read(text)
        #expect(data.map(\.line) == [1, 4, 5])
        #expect(
            data.map(\.messages) == [
                [Message(role: "user", content: "Hello"), Message(role: "assistant", content: "Hi")],
                [Message(role: "user", content: "a\nb", weight: 0.5, fields: #"{"name":"x"}"#)],
                [Message(role: "assistant", content: "Hi")],
            ])
        let report = try EncodedDataset(dataset(text), tokenizer: qwen2Tokenizer(), sendsWarnings: false).report
        #expect(report.unknownKeys.map { "\($0.key) \($0.count) \($0.line)" } == ["id 2 4", "source 1 5"])
    }

    @Test func aByteOrderMarkIsPassedOver() throws {
        #expect(try read("\u{FEFF}" + row(hello)).map(\.line) == [1])
        expectError(.invalidFile, "data.jsonl:2:1: expected a value, found byte 0xef") {
            try read(row(hello) + "\u{FEFF}" + row(hello))
        }
    }

    @Test func fromAFile() throws {
        let directory = try TestDirectory()
        let path = try directory.write("rows.jsonl", row(hello) + "{")
        expectError(.invalidFile, "rows.jsonl:2:2: the document ends where an object key was expected") {
            try Dataset(path: path).conversations()
        }
        expectError(.notFound, "\(path)x: no such file or directory") { try Dataset(path: path + "x") }
    }

    @Test(arguments: [
        ("", "data.jsonl: holds no conversation"),
        ("\n \n", "data.jsonl: holds no conversation"),
        ("[ ]", "data.jsonl: holds no conversation"),
        ("[1]", "data.jsonl:1: a row must be an object, not a number"),
        ("7", "data.jsonl:1: a row must be an object, not a number"),
        (#"{"messages": "x"}"#, "data.jsonl:1: 'messages' must be a list of messages, not a string"),
        (#"{"messages": ["x"]}"#, "data.jsonl:1: message 0 must be an object, not a string"),
        (
            #"{"messages": [{"role": "user"}]}"#,
            "data.jsonl:1: message 0: 'content' is missing; found 'role'"
        ),
        (#"{"messages": [{"content": "x"}]}"#, "data.jsonl:1: message 0: 'role' is missing; found 'content'"),
        (
            #"{"messages": [{"role": "user", "content": null}]}"#,
            "data.jsonl:1: message 0: 'content' is missing; found 'role', 'content'"
        ),
        (
            #"{"messages": [{"role": 1, "content": "x"}]}"#,
            "data.jsonl:1: message 0: 'role' must be a string, not a number"
        ),
        (
            #"{"messages": [{"role": "u", "content": {}}]}"#,
            "data.jsonl:1: message 0: 'content' must be a string, not an object"
        ),
        (
            #"{"messages": [{"role": "u", "role": "u"}]}"#,
            "data.jsonl:1:29: the key 'role' occurs twice in an object"
        ),
        (
            #"{"messages": [{"role": "u", "content": "x", "weight": "1"}]}"#,
            "data.jsonl:1: message 0: 'weight' must be a non-negative number"
        ),
        (
            #"{"messages": [{"role": "u", "content": "x", "weight": -1}]}"#,
            "data.jsonl:1: message 0: 'weight' must be a non-negative number"
        ),
        (
            #"{"messages": [{"role": "u", "content": "x", "weight": 1e39}]}"#,
            "data.jsonl:1: message 0: 'weight' must be a non-negative number"
        ),
        (
            #"{"messages": [{"role": "u", "content": "x"}], "weight": "1"}"#,
            "data.jsonl:1: 'weight' must be a non-negative number"
        ),
        (
            #"{"messages": [{"role": "u", "content": "x"}], "messages": []}"#,
            "data.jsonl:1:47: the key 'messages' occurs twice in an object"
        ),
        (
            #"{"messages": [{"role": "u", "content": "x"}]} {}"#,
            "data.jsonl:1:47: expected the end of the document, found '{'"
        ),
        (
            "\n" + #"{"messages": [{"role": "system", "content": "x"}], "system": "y"}"#,
            "data.jsonl:2: has both a system message and the column 'system'"
        ),
        (#"{"messages": [], "system": 1}"#, "data.jsonl:1: 'system' must be a string, not a number"),
    ])
    func refused(text: String, message: String) {
        expectError(.invalidFile, message) { try read(text) }
    }

    @Test func nothingSaid() throws {
        let tokenizer = try qwen2Tokenizer()
        expectError(.invalidFile, "data.jsonl:1: the conversation holds no message") {
            try EncodedDataset(dataset(#"{"messages": []}"#), tokenizer: tokenizer)
        }
        let data = try EncodedDataset(
            dataset("{\"messages\": []}\n" + row(hello, hi)), tokenizer: tokenizer, unusable: .drop)
        #expect(data.report.withoutTarget == [1] && data.lines == [2])
    }

    @Test func toolsAndCalls() throws {
        let call =
            #"{"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"a": 1.50}}], "reasoning_content": "r"}"#
        let data = dataset(row(hello) + #"{"tools": [{"name": "f"}], "messages": [\#(hello), \#(call)]}"#)
        let conversations = try data.conversations().map(\.messages)
        #expect(conversations.map { $0[0].fields } == ["", #"{"tools":[{"name":"f"}]}"#])
        #expect(
            conversations[1][1].fields
                == #"{"tool_calls":[{"name":"f","arguments":{"a":1.50}}],"reasoning_content":"r"}"#)
        let silent = #"{"role": "assistant", "content": null, "tool_calls": [1]}"#
        let parts = #"{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}"#
        #expect(try read(row(silent, parts))[0].messages.map(\.content) == ["", "ab"])
        expectError(.invalidFile, "data.jsonl:1: message 0: 'content' must be a string or a list of texts") {
            try read(row(#"{"role": "user", "content": [{"type": "image"}]}"#))
        }
        expectError(.invalidFile, "data.jsonl:1: 'tools' must be a list, not an object") {
            try read(#"{"tools": {"a": 1}, "messages": [\#(hello)]}"#)
        }
        expectError(
            .invalidFile,
            "data.jsonl:1: 'tools' must be a list of functions, or its JSON text (the text:1:1: expected a value, found 'x')"
        ) {
            try read(#"{"tools": "x", "messages": [\#(hello)]}"#)
        }
        let tokenizer = try qwen2Tokenizer()
        let template = ChatTemplate(
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{{ m.tool_calls | tojson if m.tool_calls }}"
                + "{{ tools | tojson if tools }}<|im_end|>\n{% endfor %}")
        let encoded = try EncodedDataset(
            data, tokenizer: tokenizer, options: .init(labelPolicy: .all, template: template))
        let ids = try encoded.batch([1]).inputIDs.map { Int32($0) }
        #expect(
            tokenizer.decode(ids)
                == "<|im_start|>user\nHello[{\"name\": \"f\"}]<|im_end|>\n<|im_start|>assistant\n"
                + "[{\"name\": \"f\", \"arguments\": {\"a\": 1.5}}][{\"name\": \"f\"}]<|im_end|>\n")
    }

    /// Tables have every key in every line; what is null or an empty list there says nothing.
    @Test func nullIsAsAbsent() throws {
        let text =
            #"{"tools": [], "messages": [{"role": "user", "content": "Hello", "weight": null, "name": null, "tool_calls": [ ]}], "id": null, "more": {}}"#
            + "\n"
            + #"{"tools": {}, "messages": [{"tool_calls": {}, "role": "assistant", "content": "Hi", "weight": 2}]}"#
        #expect(
            try read(text).map(\.messages) == [
                [Message(role: "user", content: "Hello")], [Message(role: "assistant", content: "Hi", weight: 2)],
            ])
    }

    /// Pipes, as `<(…)` and standard input are, of more than their buffer holds and in small pieces.
    @Test(arguments: [1, 3, 100_000])
    func fromAPipe(piece: Int) throws {
        let directory = try TestDirectory()
        let path = directory.path + "/pipe"
        #expect(mkfifo(path, 0o600) == 0)
        let line = row(hello, hi)
        let text = Array(String(repeating: line, count: piece == 100_000 ? 20_000 : 20).utf8)
        let writer = Thread {
            let file = open(path, O_WRONLY)
            var done = 0
            while done < text.count {
                done += text[done...].prefix(piece).withUnsafeBytes { max(0, write(file, $0.baseAddress, $0.count)) }
            }
            close(file)
        }
        writer.start()
        let data = try Dataset(path: path)
        #expect(try data.conversations().count == text.count / line.utf8.count && data.name == "pipe")
        expectError(.invalidFile, "null: holds no conversation") { try Dataset(path: "/dev/null").conversations() }
        expectError(.io, "\(directory.path): is a directory, not a file") {
            try Dataset(path: directory.path).conversations()
        }
    }

    @Test func encoded() throws {
        let tokenizer = try qwen2Tokenizer()
        let long = #"{"role": "assistant", "content": "1 2 3 4 5 6 7 8 9"}"#
        let data = dataset(row(hello, hi) + "\n" + row(hello) + row(hello, long) + row(long))
        var options = PreprocessOptions(labelPolicy: .assistant, maxLength: 12, addDefaultSystem: false)
        expectError(.noSupervisedTokens, "data.jsonl:3: no token is supervised (label policy 'assistant')") {
            try EncodedDataset(data, tokenizer: tokenizer, options: options)
        }
        let (encoded, warnings) = try catchingWarnings {
            try EncodedDataset(data, tokenizer: tokenizer, options: options, unusable: .drop)
        }
        #expect(
            warnings == [
                "data.jsonl: 2 of 3 conversations were cut to 12 tokens; the rest of them is not learned (lines 4, 5)"
            ])
        #expect(encoded.count == 3 && encoded.report.kept == 3 && encoded.report.dropped == 1)
        #expect(encoded.lines == [1, 4, 5])
        #expect(
            encoded.report.withoutTarget == [3] && encoded.report.truncated == [4, 5] && encoded.report.tooLong.isEmpty)
        #expect((0..<3).map(encoded.length) == [12, 12, 12] && encoded.report.tokens == 36)
        // The batch of a row is the batch of its conversation.
        let one = try encoded.batch([0])
        let same = try Batch([data.conversations()[0].messages], tokenizer: tokenizer, options: options)
        #expect(one.inputIDs == same.inputIDs && one.labels == same.labels && one.attentionMask == same.attentionMask)
        #expect(try encoded.batch([2, 0]).rows == 2)
        #expect(
            encoded.report.targets
                == (0..<3).reduce(0) { sum, row in
                    sum + ((try? encoded.batch([row]).labels.count { $0 != -100 }) ?? 0)
                })
        expectError(.invalidArgument, "there is no row 3 among 3") { try encoded.batch([0, 3]) }
        expectError(.invalidArgument, "a batch of 0 rows and 0 columns is empty") { try encoded.batch([]) }

        options.maxLength = 40_000
        options.contextLength = 33_004
        let huge = #"{"role": "assistant", "content": ""# + String(repeating: "1", count: 33_000) + "\"}"
        let tooLong = dataset(row(hi) + row(huge))
        expectError(
            .tooLong, "data.jsonl:2: 33005 tokens are more than the model's context of 33004; max_length cuts them"
        ) {
            try EncodedDataset(tooLong, tokenizer: tokenizer, options: options)
        }
        #expect(
            try EncodedDataset(tooLong, tokenizer: tokenizer, options: options, unusable: .drop).report.tooLong == [2])
        options.maxLength = nil  // the tokenizer's 32768, which is less than the context
        #expect(try EncodedDataset(tooLong, tokenizer: tokenizer, options: options).report.truncated == [2])
        expectError(.invalidFile, "data.jsonl:1: message 0: the role is empty") {
            try EncodedDataset(dataset(row(#"{"role": "", "content": "x"}"#)), tokenizer: tokenizer, unusable: .drop)
        }
        expectError(.noSupervisedTokens, "data.jsonl: no conversation has a supervised token") {
            try EncodedDataset(dataset(row(hello)), tokenizer: tokenizer, options: options, unusable: .drop)
        }
    }
}
