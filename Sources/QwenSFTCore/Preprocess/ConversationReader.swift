/// Reads one conversation of a dataset after another.
package final class ConversationReader {
    /// What messages call the data.
    package let name: String
    /// Whether conversations have lines, from 1; otherwise numbers, from 0.
    let isFile: Bool
    private let limit: Int
    /// Conversations that are there, where nothing is read.
    private let memory: [[Message]]
    private let records: JSONRecords?
    private var parser: ConversationParser
    let compression: Compression?
    /// Conversations given so far.
    private(set) var count = 0

    init(_ conversations: [[Message]], limit: Int?) {
        name = "conversations"
        isFile = false
        memory = conversations
        records = nil
        compression = nil
        self.limit = min(limit ?? .max, conversations.count)
        parser = ConversationParser(format: .messages, names: .init())
    }

    /// - Parameter isFile: false: rows are numbered from 0, as those of a list.
    package init(_ stream: ByteStream, isFile: Bool, _ options: Dataset.Options) {
        name = stream.name
        self.isFile = isFile
        limit = options.limit ?? .max
        memory = []
        compression = stream.compression
        records = JSONRecords(stream, name: stream.name)
        parser = ConversationParser(format: options.format, names: options.names)
    }

    var unknownKeys: [Dataset.UnknownKey] { parser.unknownKeys }
    /// The format of the data, as far as something was read; nil for conversations in memory.
    var layout: DataLayout? { parser.layout }

    /// Where the conversation of this line stands, for messages.
    func place(ofLine line: Int) -> String { isFile ? "\(name):\(line)" : "row \(line)" }

    /// The next conversation, whose messages are none where the row has an empty list of them; nil at the end.
    /// - Throws: `io`; `invalidFile` with the line; `outOfMemory`.
    package func next() throws(QwenSFTError) -> Dataset.Conversation? {
        guard count < limit else { return nil }
        guard let records else {
            count += 1
            return .init(messages: memory[count - 1], line: count - 1)
        }
        guard let record = try records.next() else {
            if count == 0 { throw QwenSFTError(.invalidFile, "\(name): holds no conversation") }
            return nil
        }
        let line = isFile ? record.line : count
        do {
            let messages = try parser.parse(record.value, line: line)
            count += 1
            return .init(messages: messages, line: line)
        } catch {
            throw QwenSFTError(isFile ? .invalidFile : .invalidArgument, "\(place(ofLine: line)): \(error.message)")
        }
    }
}
