/// Where conversations are: in a file, a pipe or a device, or in memory.
///
///     {"messages": [{"role": "user", "content": "2+2等于几"}, {"role": "assistant", "content": "2+2等于4。", "weight": 1}]}
///
/// A file is JSON Lines, one object a line, or a JSON array of objects, either of them as it is or compressed with gzip or zstd; lines of
/// nothing but white space are passed over. Which `DataFormat` the objects have is seen from the keys of the first. Nothing is
/// read before somebody asks, and then one conversation after another: a file may be larger than memory.
public struct Dataset: Sendable {
    /// A key of the data that is not used.
    public struct UnknownKey: Sendable, Equatable {
        /// "id", or "messages[].name" for a key of a message.
        public let key: String
        public let count: Int
        /// The first line that has it.
        public let line: Int
    }

    /// How a file is to be read.
    public struct Options: Sendable, Equatable {
        /// nil: the one that the keys of the first row fit.
        public var format: DataFormat?
        /// What the file calls its columns.
        public var names = ColumnNames()
        /// Only so many conversations are read, the first ones; nil: all.
        public var limit: Int?

        public init() {}
    }

    /// A conversation, and its line in the file, from 1; without a file its number, from 0.
    public struct Conversation: Sendable, Equatable {
        public var messages: [Message]
        public var line: Int
    }

    private enum Source: Sendable {
        case memory([[Message]])
        case file(path: String)
        case bytes([UInt8])
    }

    /// What messages call the file, or "conversations" without one.
    public let name: String
    private let source: Source
    private var options: Options

    /// - Parameters:
    ///   - path: of a file, a pipe or a device such as /dev/stdin, which is read to its end.
    ///   - options: format, columns, how many.
    /// - Throws: `notFound`.
    public init(path: String, options: Options = .init()) throws(QwenSFTError) {
        if try fileKind(path) == nil { throw QwenSFTError(.notFound, "\(path): no such file or directory") }
        name = fileName(path)
        source = .file(path: path)
        self.options = options
    }

    /// Conversations that are there already.
    public init(_ conversations: [[Message]]) {
        name = "conversations"
        source = .memory(conversations)
        options = Options()
    }

    /// What a file of this name would hold.
    package init(bytes: [UInt8], name: String, options: Options = .init()) {
        self.name = name
        source = .bytes(bytes)
        self.options = options
    }

    /// The first `count` conversations.
    public func prefix(_ count: Int) -> Dataset {
        var shorter = self
        shorter.options.limit = min(max(0, count), options.limit ?? .max)
        return shorter
    }

    /// All conversations, in memory.
    /// - Throws: `notFound`, `io`; `invalidFile` with line; `unsupported`; `outOfMemory`.
    public func conversations() throws(QwenSFTError) -> [Conversation] {
        var result: [Conversation] = []
        let reader = try reader()
        while let next = try reader.next() {
            try result.makeRoom(for: 1, purpose: name)
            result.append(next)
        }
        return result
    }

    /// Goes through the conversations once. A pipe gives no more afterwards.
    package func reader() throws(QwenSFTError) -> ConversationReader {
        switch source {
        case .memory(let conversations): ConversationReader(conversations, limit: options.limit)
        case .file(let path): ConversationReader(try ByteStream(path: path), isFile: true, options)
        case .bytes(let bytes): ConversationReader(try ByteStream(bytes: bytes, name: name), isFile: true, options)
        }
    }
}
