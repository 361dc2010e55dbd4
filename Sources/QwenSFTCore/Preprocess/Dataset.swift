/// Conversations read from a JSON Lines file: one object a line, its messages under `messages`.
///
///     {"messages": [{"role": "user", "content": "2+2等于几"}, {"role": "assistant", "content": "2+2等于4。", "weight": 1}]}
///
/// Lines of nothing but white space are passed over. A key whose value is null is as if it were not there (tables that are
/// written as JSON Lines have every key in every line), and so are empty lists of tools and tool calls.
public struct Dataset: Sendable {
    /// A key of the file that is not used.
    public struct UnknownKey: Sendable, Equatable {
        /// "id", or "messages[].name" for a key of a message.
        public let key: String
        public let count: Int
        /// The first line that has it.
        public let line: Int
    }

    /// What messages call the file, or "conversations" without one.
    public let name: String
    let isFile: Bool
    public private(set) var conversations: [[Message]]
    /// The line of each conversation in the file, from 1; without a file its number, from 0.
    public private(set) var lines: [Int]
    /// In the order of their first appearance.
    public let unknownKeys: [UnknownKey]

    /// - Parameter path: of a file, a pipe or a device such as /dev/stdin, which is read to its end.
    /// - Throws: `notFound`, `io`; `invalidFile` with line and column; `outOfMemory`.
    public init(jsonLines path: String) throws(QwenSFTError) {
        let contents = try FileContents(data: path)
        self = try contents.withBytes { (bytes) throws(QwenSFTError) in
            try Dataset(jsonLines: bytes, name: fileName(path))
        }
    }

    /// Conversations that are there already.
    public init(_ conversations: [[Message]]) {
        name = "conversations"
        isFile = false
        self.conversations = conversations
        lines = Array(conversations.indices)
        unknownKeys = []
    }

    /// Where the conversation of this line stands, for messages.
    func place(ofLine line: Int) -> String { isFile ? "\(name):\(line)" : "row \(line)" }

    func warnOfUnknownKeys() {
        for key in unknownKeys {
            Warnings.send(
                "\(name): the key '\(printable(key.key))' is not used (\(key.count) times, first in line \(key.line))")
        }
    }

    /// The first `count` conversations.
    public func prefix(_ count: Int) -> Dataset {
        var shorter = self
        shorter.conversations = Array(conversations.prefix(max(0, count)))
        shorter.lines = Array(lines.prefix(max(0, count)))
        return shorter
    }

    package init(jsonLines bytes: UnsafeRawBufferPointer, name: String) throws(QwenSFTError) {
        var parser = ConversationParser()
        var conversations: [[Message]] = []
        var lines: [Int] = []
        var start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0  // a byte order mark, as some editors write it
        var line = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            line += 1
            let text = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
            start = end + 1
            if text.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
            try conversations.makeRoom(for: 1, purpose: name)
            try lines.makeRoom(for: 1, purpose: name)
            conversations.append(try parser.parse(text, file: name, line: line))
            lines.append(line)
        }
        if conversations.isEmpty { throw QwenSFTError(.invalidFile, "\(name): holds no conversation") }
        self.name = name
        isFile = true
        self.conversations = conversations
        self.lines = lines
        unknownKeys = parser.unknownKeys
    }
}

/// Reads one conversation after another and counts the keys it does not know.
private struct ConversationParser {
    var unknownKeys: [Dataset.UnknownKey] = []

    mutating func parse(
        _ bytes: UnsafeRawBufferPointer, file: String, line: Int
    ) throws(QwenSFTError) -> [Message] {
        var reader = JSONReader(bytes, file: file, firstLine: line)
        var messages: [Message]?
        var tools: JSONValue?
        try reader.beginObject()
        while let key = try reader.nextKey() {
            switch String(decoding: key, as: UTF8.self) {
            case "messages" where messages == nil: messages = try parseMessages(&reader, line)
            case "messages": throw reader.error("'messages' occurs twice", at: reader.keyPosition)
            case "tools": tools = try parseTools(&reader)
            case let other: try skip(other, &reader, line)
            }
        }
        try reader.end()
        guard var messages else { throw QwenSFTError(.invalidFile, "\(file):\(line): 'messages' is missing") }
        if messages.isEmpty { throw QwenSFTError(.invalidFile, "\(file):\(line): 'messages' is empty") }
        if let tools {
            var fields = try messages[0].moreFields(0)
            fields["tools"] = tools
            messages[0].fields = String(decoding: JSONValue.object(fields).serialized(), as: UTF8.self)
        }
        return messages
    }

    /// A list of functions; nil for an empty one.
    private func parseTools(_ reader: inout JSONReader) throws(QwenSFTError) -> JSONValue? {
        _ = try reader.peek()
        let place = reader.position
        let value = try reader.value()
        if value.isEmpty { return nil }
        guard case .array = value else { throw reader.error("'tools' must be a list", at: place) }
        return value
    }

    private mutating func parseMessages(_ reader: inout JSONReader, _ line: Int) throws(QwenSFTError) -> [Message] {
        guard try reader.peek() == .array else { throw reader.error("'messages' must be a list") }
        var messages: [Message] = []
        try reader.beginArray()
        while try reader.nextElement() { messages.append(try parseMessage(&reader, messages.count, line)) }
        return messages
    }

    private mutating func parseMessage(
        _ reader: inout JSONReader, _ index: Int, _ line: Int
    ) throws(QwenSFTError) -> Message {
        guard try reader.peek() == .object else { throw reader.error("message \(index) must be an object") }
        let start = reader.position
        var role: String?
        var content: String?
        var nullContent: Int?
        var weight: Float?
        var fields = JSONObject()
        try reader.beginObject()
        while let key = try reader.nextKey() {
            switch String(decoding: key, as: UTF8.self) {
            case "role" where role == nil: role = try string("role", index, &reader)
            case "content" where content == nil && nullContent == nil:
                if try reader.peek() == .null {
                    nullContent = reader.position
                    try reader.null()
                } else {
                    content = try parseContent(index, &reader)
                }
            case "weight" where weight == nil:
                if try isNull(&reader) { continue }
                guard try reader.peek() == .number else {
                    throw reader.error("message \(index): 'weight' must be a number")
                }
                let position = reader.position
                let value = Float(try reader.number())
                guard value.isFinite, value >= 0 else {
                    throw reader.error("message \(index): 'weight' must be a number from 0 on", at: position)
                }
                weight = value
            case "role", "content", "weight":
                throw reader.error("message \(index): a key occurs twice", at: reader.keyPosition)
            case let key where Self.templateKeys.contains(key):
                if fields[key] != nil {
                    throw reader.error("message \(index): a key occurs twice", at: reader.keyPosition)
                }
                let value = try reader.value()
                if !value.isEmpty { fields[key] = value }
            case let other: try skip("messages[]." + other, &reader, line)
            }
        }
        guard let role else { throw reader.error("message \(index): 'role' is missing", at: start) }
        // Who calls a function often says nothing.
        if fields["tool_calls"] != nil { content = content ?? "" }
        if content == nil, let nullContent {
            throw reader.error("message \(index): 'content' must be a string", at: nullContent)
        }
        guard let content else { throw reader.error("message \(index): 'content' is missing", at: start) }
        let more = fields.members.isEmpty ? "" : String(decoding: JSONValue.object(fields).serialized(), as: UTF8.self)
        return Message(role: role, content: content, weight: weight ?? 1, fields: more)
    }

    /// What chat templates look for in a message beside these.
    private static let templateKeys: Set<String> = [
        "tool_calls", "tool_call_id", "name", "reasoning_content", "reasoning", "thinking",
    ]

    /// A text, or a list of texts as multimodal data has it: `[{"type": "text", "text": "…"}]`.
    private func parseContent(_ index: Int, _ reader: inout JSONReader) throws(QwenSFTError) -> String {
        guard try reader.peek() == .array else { return try string("content", index, &reader) }
        let place = reader.position
        guard case .array(let parts) = try reader.value() else { return "" }
        var content = ""
        for part in parts {
            guard case .object(let object) = part, object["type"]?.string == "text", let text = object["text"]?.string
            else {
                throw reader.error("message \(index): 'content' must be a string or a list of texts", at: place)
            }
            content += text
        }
        return content
    }

    private func string(_ key: String, _ index: Int, _ reader: inout JSONReader) throws(QwenSFTError) -> String {
        guard try reader.peek() == .string else { throw reader.error("message \(index): '\(key)' must be a string") }
        let text = try reader.string()
        try Memory.require(text.count, for: reader.file)
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads over a null, if one comes next.
    private func isNull(_ reader: inout JSONReader) throws(QwenSFTError) -> Bool {
        guard try reader.peek() == .null else { return false }
        try reader.null()
        return true
    }

    private mutating func skip(_ key: String, _ reader: inout JSONReader, _ line: Int) throws(QwenSFTError) {
        if try isNull(&reader) { return }
        if let i = unknownKeys.firstIndex(where: { $0.key.utf8.elementsEqual(key.utf8) }) {
            unknownKeys[i] = .init(key: key, count: unknownKeys[i].count + 1, line: unknownKeys[i].line)
        } else if unknownKeys.count < 100 {  // more of them would only be noise
            unknownKeys.append(.init(key: key, count: 1, line: line))
        }
        try reader.skipValue()
    }
}

extension JSONValue {
    /// What says nothing in a table that has every key in every line.
    fileprivate var isEmpty: Bool {
        switch self {
        case .null: true
        case .array(let elements): elements.isEmpty
        case .object(let object): object.members.isEmpty
        default: false
        }
    }
}
