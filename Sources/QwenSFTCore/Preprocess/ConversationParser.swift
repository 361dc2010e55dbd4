/// Makes conversations of rows of one format, and counts the keys it does not use.
///
/// A key whose value is null is as if it were not there (tables that are written as JSON have every key in every row), and so are empty
/// lists and objects.
struct ConversationParser {
    /// Of the first row, or as asked for.
    private(set) var layout: DataLayout?
    /// In the order of their first appearance.
    private(set) var unknownKeys: [Dataset.UnknownKey] = []
    private let format: DataFormat?
    private let names: ColumnNames

    init(format: DataFormat?, names: ColumnNames) {
        self.format = format
        self.names = names
    }

    /// - Returns: the messages; none where the row has an empty list of them.
    mutating func parse(_ row: JSONValue, line: Int) throws(DataFault) -> [Message] {
        guard case .object(let object) = row else { throw DataFault("a row must be an object, not \(row.kind)") }
        if layout == nil { layout = try DataLayout(of: object, format: format, names: names) }
        guard let layout else { return [] }
        let known = layout.format.columns.map { layout.names[$0] }
        for (key, value) in object.members where !known.contains(where: { $0.utf8.elementsEqual(key.utf8) }) {
            count(key, value, line)
        }
        let columns = DataRow(object, layout)
        var messages: [Message]
        switch layout.format {
        case .messages: messages = try list(columns, "messages", line)
        case .shareGPT: messages = try list(columns, "conversations", line)
        case .alpaca: messages = try columns.alpaca()
        case .promptCompletion: messages = try promptAndCompletion(columns, line)
        }
        if let system = try columns.text("system"), !system.isEmpty {
            if messages.first?.role == "system" {
                throw DataFault("has both a system message and the column '\(layout.names["system"])'")
            }
            messages.insert(Message(role: "system", content: system), at: 0)
        }
        if let weight = try columns.weight() { for i in messages.indices { messages[i].weight *= weight } }
        if !messages.isEmpty, let tools = try columns.tools() { try messages[0].add("tools", tools) }
        return messages
    }

    private mutating func promptAndCompletion(_ row: DataRow, _ line: Int) throws(DataFault) -> [Message] {
        var messages: [Message]
        if case .array? = row["prompt"] {
            messages = try list(row, "prompt", line)
            // What is to be learned is the completion.
            for i in messages.indices where messages[i].role != "system" && messages[i].role != "user" {
                messages[i].weight = 0
            }
        } else {
            messages = [Message(role: "user", content: try row.requiredText("prompt"))]
        }
        if case .array? = row["completion"] { return messages + (try list(row, "completion", line)) }
        return messages + [Message(role: "assistant", content: try row.requiredText("completion"))]
    }

    /// A list of messages in a column.
    private mutating func list(_ row: DataRow, _ column: String, _ line: Int) throws(DataFault) -> [Message] {
        let value = try row.required(column)
        let name = row.names[column]
        guard case .array(let elements) = value else {
            throw DataFault("'\(name)' must be a list of messages, not \(value.kind)")
        }
        var messages: [Message] = []
        for (i, element) in elements.enumerated() {
            guard case .object(let object) = element else {
                throw DataFault("message \(i) must be an object, not \(element.kind)")
            }
            let message = DataMessage(object, row.names)
            do { messages.append(try message.message()) } catch { throw DataFault("message \(i): \(error.message)") }
            for key in message.unusedKeys { count("\(name)[].\(key)", .bool(true), line) }
        }
        return messages
    }

    private mutating func count(_ key: String, _ value: JSONValue, _ line: Int) {
        if value.isEmpty { return }
        if let i = unknownKeys.firstIndex(where: { $0.key.utf8.elementsEqual(key.utf8) }) {
            unknownKeys[i] = .init(key: key, count: unknownKeys[i].count + 1, line: unknownKeys[i].line)
        } else if unknownKeys.count < 100 {  // more of them would only be noise
            unknownKeys.append(.init(key: key, count: 1, line: line))
        }
    }
}

/// A row's columns, by the names that formats have for them.
struct DataRow {
    private let object: JSONObject
    private let format: DataFormat
    let names: ColumnNames

    init(_ object: JSONObject, _ layout: DataLayout) {
        self.object = object
        format = layout.format
        names = layout.names
    }

    subscript(column: String) -> JSONValue? {
        guard let value = object[names[column]], !value.isNull else { return nil }
        return value
    }

    func required(_ column: String) throws(DataFault) -> JSONValue {
        if let value = self[column] { return value }
        throw DataFault(
            "'\(printable(names[column]))' is missing, which the format '\(format.rawValue)' needs; found \(object.keys)"
        )
    }

    func text(_ column: String) throws(DataFault) -> String? {
        guard let value = self[column] else { return nil }
        guard let text = value.string else { throw DataFault("'\(names[column])' must be a string, not \(value.kind)") }
        return text
    }

    func requiredText(_ column: String) throws(DataFault) -> String {
        _ = try required(column)
        return try text(column) ?? ""
    }

    func weight() throws(DataFault) -> Float? { try self["weight"].map(dataWeight) }

    /// Functions that the model may call: a list, or its text. nil for none.
    func tools() throws(DataFault) -> JSONValue? {
        guard var value = self["tools"], !value.isEmpty else { return nil }
        let name = names["tools"]
        if let text = value.string {
            if text.utf8.allSatisfy({ $0 == 0x20 }) { return nil }
            value = try parsed(text, "'\(name)' must be a list of functions, or its JSON text")
        }
        guard case .array(let list) = value else { throw DataFault("'\(name)' must be a list, not \(value.kind)") }
        if list.isEmpty { return nil }
        return format == .messages ? value : .array(list.map(\.asTool))
    }

    func alpaca() throws(DataFault) -> [Message] {
        var messages: [Message] = []
        if let history = self["history"] {
            guard case .array(let turns) = history else {
                throw DataFault("'\(names["history"])' must be a list of [question, answer], not \(history.kind)")
            }
            for turn in turns {
                guard case .array(let pair) = turn, pair.count == 2, let question = pair[0].string,
                    let answer = pair[1].string
                else { throw DataFault("'\(names["history"])' must be a list of [question, answer]") }
                messages.append(Message(role: "user", content: question))
                messages.append(Message(role: "assistant", content: answer))
            }
        }
        let parts = [try requiredText("instruction"), try text("input") ?? ""].filter { !$0.isEmpty }
        messages.append(Message(role: "user", content: parts.joined(separator: "\n")))
        messages.append(Message(role: "assistant", content: try requiredText("output")))
        return messages
    }
}

/// A message of a list, in OpenAI's keys or ShareGPT's.
struct DataMessage {
    private let object: JSONObject
    private let names: ColumnNames
    /// ShareGPT's.
    private let isShared: Bool

    init(_ object: JSONObject, _ names: ColumnNames) {
        self.object = object
        self.names = names
        isShared = object[names["role"]] == nil && object[names["from"]] != nil
    }

    private var roleKey: String { names[isShared ? "from" : "role"] }
    private var contentKey: String { names[isShared ? "value" : "content"] }

    /// What chat templates look for in a message beside these.
    private static let templateKeys: Set<String> = [
        "tool_calls", "tool_call_id", "name", "reasoning_content", "reasoning", "thinking",
    ]

    /// Keys that say something and are not used.
    var unusedKeys: [String] {
        object.members.filter { key, value in
            ![roleKey, contentKey, "weight"].contains(key) && !Self.templateKeys.contains(key) && !value.isEmpty
        }.map(\.key)
    }

    func message() throws(DataFault) -> Message {
        var role = try role()
        var fields = JSONObject()
        for (key, value) in object.members where Self.templateKeys.contains(key) && !value.isEmpty {
            fields[key] = value
        }
        var content = try content()
        if isShared {
            switch role {
            case "human", "user": role = "user"
            case "gpt", "assistant", "chatgpt", "bing": role = "assistant"
            case "system": break
            case "observation", "tool": role = "tool"
            case "function_call":
                role = "assistant"
                fields["tool_calls"] = try calls(content ?? "")
                content = ""
            default:
                throw DataFault(
                    "'\(roleKey)' is '\(printable(role))', expected human, user, gpt, assistant, chatgpt, bing, system, observation, tool or function_call"
                )
            }
        }
        // Who calls a function often says nothing.
        if fields["tool_calls"] != nil { content = content ?? "" }
        guard let content else { throw DataFault("'\(contentKey)' is missing; found \(object.keys)") }
        let more = fields.members.isEmpty ? "" : String(decoding: JSONValue.object(fields).serialized(), as: UTF8.self)
        return Message(role: role, content: content, weight: try weight(), fields: more)
    }

    private func role() throws(DataFault) -> String {
        guard let value = object[roleKey], !value.isNull else {
            throw DataFault("'\(roleKey)' is missing; found \(object.keys)")
        }
        guard let role = value.string else { throw DataFault("'\(roleKey)' must be a string, not \(value.kind)") }
        return role
    }

    /// A text, or a list of texts as multimodal data has it: `[{"type": "text", "text": "…"}]`.
    private func content() throws(DataFault) -> String? {
        switch object[contentKey] {
        case nil, .null: return nil
        case .string(let text): return text
        case .array(let parts):
            var content = ""
            for part in parts {
                guard case .object(let object) = part, object["type"]?.string == "text",
                    let text = object["text"]?.string
                else { throw DataFault("'\(contentKey)' must be a string or a list of texts") }
                content += text
            }
            return content
        case let other?: throw DataFault("'\(contentKey)' must be a string, not \(other.kind)")
        }
    }

    private func weight() throws(DataFault) -> Float {
        guard let value = object["weight"], !value.isNull else { return 1 }
        return try dataWeight(value)
    }

    /// A call, or a list of them, as JSON text.
    private func calls(_ text: String) throws(DataFault) -> JSONValue {
        let expected = "a function_call must be the JSON text of {\"name\": …, \"arguments\": …} or a list of such"
        let value = try parsed(text, expected)
        var calls: [JSONValue] = []
        for call in value.elements ?? [value] {
            guard case .object(let object) = call, object["name"]?.string != nil, object["arguments"] != nil else {
                throw DataFault(expected)
            }
            calls.append(call.asTool)
        }
        if calls.isEmpty { throw DataFault(expected) }
        return .array(calls)
    }
}

/// A weight of a row or a message.
private func dataWeight(_ value: JSONValue) throws(DataFault) -> Float {
    guard let weight = value.double.map({ Float($0) }), weight.isFinite, weight >= 0 else {
        throw DataFault("'weight' must be a non-negative number")
    }
    return weight
}

/// JSON in a text.
private func parsed(_ text: String, _ expected: String) throws(DataFault) -> JSONValue {
    do { return try chatJSON(text, "the text") } catch { throw DataFault("\(expected) (\(error.message))") }
}

extension Message {
    /// Adds to what the template sees.
    fileprivate mutating func add(_ key: String, _ value: JSONValue) throws(DataFault) {
        do {
            var more = try moreFields(0)
            more[key] = value
            fields = String(decoding: JSONValue.object(more).serialized(), as: UTF8.self)
        } catch { throw DataFault(error.message) }
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

    fileprivate var isNull: Bool { if case .null = self { true } else { false } }

    fileprivate var elements: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }

    /// A function or a call of one, as OpenAI has it: chat templates expect `{"type": "function", "function": {…}}`.
    fileprivate var asTool: JSONValue {
        guard case .object(let object) = self, object["name"] != nil, object["function"] == nil else { return self }
        var tool = JSONObject()
        tool["type"] = .string("function")
        tool["function"] = self
        return .object(tool)
    }

    /// For messages.
    fileprivate var kind: String {
        switch self {
        case .null: "null"
        case .bool: "true or false"
        case .number: "a number"
        case .string: "a string"
        case .array: "a list"
        case .object: "an object"
        }
    }
}
