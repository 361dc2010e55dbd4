/// How a row of data says what a conversation is. Every format may also have `system`, `tools` (functions that the model may call, a
/// list or its JSON text) and `weight` (multiplied to that of every message).
public enum DataFormat: String, Sendable, CaseIterable {
    /// `messages`: a list of `{"role": …, "content": …, "weight": …}`, as OpenAI has it.
    case messages
    /// `conversations`: a list of `{"from": …, "value": …}`, as ShareGPT has it.
    case shareGPT = "sharegpt"
    /// `instruction`, `input`, `output`, `history`: one question and its answer, and earlier ones.
    case alpaca
    /// `prompt` and `completion`: texts, or lists of messages.
    case promptCompletion = "prompt_completion"

    /// Columns without which there is no conversation.
    var required: [String] {
        switch self {
        case .messages: ["messages"]
        case .shareGPT: ["conversations"]
        case .alpaca: ["instruction", "output"]
        case .promptCompletion: ["prompt", "completion"]
        }
    }

    /// All columns that are read.
    var columns: [String] { required + (self == .alpaca ? ["input", "history"] : []) + ["system", "tools", "weight"] }

    /// What else the required columns are called where nothing says so.
    fileprivate var spellings: [[String]] {
        self == .promptCompletion ? [required, ["question", "answer"], ["prompt", "response"]] : [required]
    }
}

/// What columns are called in a file whose names for them are its own: `prompt=question,completion=answer`. On the left stands a
/// column of a format, or `role`, `content`, `from` or `value` for the keys of a message.
public struct ColumnNames: Sendable, Equatable {
    /// The file's name by the format's.
    private(set) var names: [String: String] = [:]

    public init() {}

    /// - Throws: `invalidArgument` for what is no list of such pairs, and for a column that no format has.
    public init(_ text: String) throws(QwenSFTError) {
        for pair in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
                throw QwenSFTError(
                    .invalidArgument,
                    "the map '\(printable(text))' is not of the form 'prompt=question,completion=answer'")
            }
            let name = String(parts[0])
            guard Self.possible.contains(name) else {
                throw QwenSFTError(
                    .invalidArgument,
                    "the map names '\(printable(name))', which no format has; there are "
                        + Self.possible.joined(separator: ", "))
            }
            guard names.updateValue(String(parts[1]), forKey: name) == nil else {
                throw QwenSFTError(.invalidArgument, "the map names '\(name)' twice")
            }
        }
    }

    private static let possible: [String] = {
        var result: [String] = []
        for name in DataFormat.allCases.flatMap(\.columns) + ["role", "content", "from", "value"]
        where !result.contains(name) { result.append(name) }
        return result
    }()

    subscript(name: String) -> String { names[name] ?? name }
}

/// A format, and what the file calls its columns.
struct DataLayout: Equatable {
    let format: DataFormat
    private(set) var names: ColumnNames

    /// - Parameters:
    ///   - row: the first of the data; columns that are null there count as missing.
    ///   - format: what was asked for; nil: the one that the columns fit.
    /// - Throws: what is wrong, without the place.
    init(of row: JSONObject, format: DataFormat?, names: ColumnNames) throws(DataFault) {
        var fitting: [DataLayout] = []
        for candidate in format.map({ [$0] }) ?? DataFormat.allCases {
            for spelling in candidate.spellings {
                var layout = DataLayout(candidate, names)
                for (name, column) in zip(candidate.required, spelling) where names.names[name] == nil {
                    layout.names.rename(name, column)
                }
                guard candidate.required.allSatisfy({ row.has(layout.names[$0]) }) else { continue }
                fitting.append(layout)
                break
            }
        }
        if fitting.count == 1 {
            self = fitting[0]
            return
        }
        let expected =
            format.map { "format '\($0.rawValue)' needs " + $0.required.listed }
            ?? "expected "
            + DataFormat.allCases.map { $0.required.map { "'\($0)'" }.joined(separator: " and ") }.joined(
                separator: ", or ")
        if fitting.isEmpty {
            throw DataFault(
                "\(expected); found \(row.keys); a map (prompt=question,completion=answer) says which column is what")
        }
        throw DataFault(
            "the columns (\(row.keys)) fit the formats "
                + fitting.map { "'\($0.format.rawValue)'" }.joined(separator: " and ")
                + "; name the one that is meant")
    }

    private init(_ format: DataFormat, _ names: ColumnNames) {
        self.format = format
        self.names = names
    }

    /// "prompt_completion (prompt=question, completion=answer)".
    var description: String {
        let renamed = format.required.filter { names[$0] != $0 }.map { "\($0)=\(printable(names[$0]))" }
        return format.rawValue + (renamed.isEmpty ? "" : " (\(renamed.joined(separator: ", ")))")
    }
}

extension ColumnNames {
    fileprivate mutating func rename(_ name: String, _ column: String) { names[name] = column }
}

/// What is wrong with a row; whoever knows where it stands says so.
struct DataFault: Error {
    let message: String
    init(_ message: String) { self.message = message }
}

extension [String] {
    fileprivate var listed: String { map { "'\(printable($0))'" }.joined(separator: ", ") }
}

extension JSONObject {
    /// The names of its members, for messages.
    var keys: String { members.isEmpty ? "no key" : members.prefix(20).map(\.key).listed }

    /// Whether it has a member that says something.
    fileprivate func has(_ key: String) -> Bool {
        switch self[key] {
        case nil, .null: false
        default: true
        }
    }
}
