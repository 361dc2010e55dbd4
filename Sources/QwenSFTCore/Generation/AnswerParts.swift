/// An answer taken apart: what the model thought, what it says, and which functions it calls.
///
/// The marks are those of Qwen's models: `<think>` … `</think>` at the beginning, and a `<tool_call>` … `</tool_call>` for each call.
public struct AnswerParts: Sendable, Equatable {
    /// A call of a function.
    public struct ToolCall: Sendable, Equatable {
        public let name: String
        /// What it is called with, as JSON: as a rule an object.
        public let arguments: String
    }

    /// nil: the model did not think.
    public let reasoning: String?
    /// What is left of the text without reasoning and calls.
    public let content: String
    public let toolCalls: [ToolCall]

    /// - Parameters:
    ///   - text: what the model wrote. A call that is not JSON with a name stays in the content.
    ///   - beginsInReasoning: whether the prompt has opened the reasoning, so that the answer only closes it.
    public init(_ text: String, beginsInReasoning: Bool = false) {
        var rest = Array(text.utf8)[...]
        var reasoning: ArraySlice<UInt8>?
        let start = Self.strip(rest)
        let opens = start.starts(with: Self.think)
        if opens || beginsInReasoning {
            let thought = opens ? start.dropFirst(Self.think.count) : start
            let close = Self.find(Self.endThink, in: thought)
            reasoning = Self.strip(thought[..<(close ?? thought.endIndex)])
            rest = close.map { Self.strip(thought[($0 + Self.endThink.count)...]) } ?? []
        }
        self.reasoning = reasoning.flatMap { $0.isEmpty ? nil : String(decoding: $0, as: UTF8.self) }
        var content: [UInt8] = []
        var calls: [ToolCall] = []
        while let open = Self.find(Self.call, in: rest),
            let close = Self.find(Self.endCall, in: rest[(open + Self.call.count)...])
        {
            let end = close + Self.endCall.count
            if let call = Self.toolCall(rest[(open + Self.call.count)..<close]) {
                content += rest[..<open]
                calls.append(call)
            } else {
                content += rest[..<end]
            }
            rest = rest[end...]
        }
        content += rest
        toolCalls = calls
        self.content = String(decoding: calls.isEmpty ? content[...] : Self.strip(content[...]), as: UTF8.self)
    }

    /// The calls as messages have them under "tool_calls": `[{"type": "function", "function": {"name": …, "arguments": …}}]`.
    public var toolCallsJSON: String {
        let calls = toolCalls.map { call in
            let name = String(decoding: JSONValue.string(call.name).serialized(), as: UTF8.self)
            return #"{"type": "function", "function": {"name": \#(name), "arguments": \#(call.arguments)}}"#
        }
        return "[" + calls.joined(separator: ", ") + "]"
    }

    private static let think = Array("<think>".utf8)
    private static let endThink = Array("</think>".utf8)
    private static let call = Array("<tool_call>".utf8)
    private static let endCall = Array("</tool_call>".utf8)

    private static func toolCall(_ text: ArraySlice<UInt8>) -> ToolCall? {
        let value = text.withUnsafeBytes { try? JSONValue(parsing: $0, file: "tool call") }
        guard case .object(let object)? = value, let name = object["name"]?.string else { return nil }
        let arguments = object["arguments"] ?? .object(JSONObject())
        return ToolCall(name: name, arguments: String(decoding: arguments.serialized(), as: UTF8.self))
    }

    private static func find(_ part: [UInt8], in text: ArraySlice<UInt8>) -> Int? {
        text.indices.first { text[$0...].starts(with: part) }
    }

    /// Without newlines and spaces at both ends.
    private static func strip(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        func isSpace(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\n") || byte == UInt8(ascii: " ") }
        var text = text.drop(while: isSpace)
        while let last = text.last, isSpace(last) { text.removeLast() }
        return text
    }
}

extension Generation {
    /// The answer taken apart.
    public var parts: AnswerParts { AnswerParts(text, beginsInReasoning: beginsInReasoning) }
}
