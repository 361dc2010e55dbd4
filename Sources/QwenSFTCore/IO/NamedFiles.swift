/// A file that is in memory.
final class MemoryFile: Sendable {
    let name: String
    /// What messages call it.
    let shownName: String
    let contents: FileContents

    init(_ name: String, shownName: String? = nil, _ contents: consuming FileContents) {
        self.name = name
        self.shownName = shownName ?? name
        self.contents = contents
    }
}

/// Files under the names that a checkpoint gives them: those of a directory, or some that are in memory.
enum NamedFiles: Sendable {
    case directory(String)
    case memory([MemoryFile], of: String)

    /// Where they are, for messages.
    var place: String {
        switch self {
        case .directory(let path): path
        case .memory(_, let place): place
        }
    }

    /// The names that end so.
    func names(ending suffix: String) throws(QwenSFTError) -> [String] {
        switch self {
        case .directory(let path): try listDirectory(path).filter { $0.hasSuffix(suffix) }
        case .memory(let files, _): files.map(\.name).filter { $0.hasSuffix(suffix) }
        }
    }

    /// What `body` makes of a file's bytes and of what messages call it; nil where there is no file of that name.
    func read<R>(
        _ name: String, limit: Int = FileContents.documentLimit,
        _ body: (_ bytes: UnsafeRawBufferPointer, _ file: String) throws(QwenSFTError) -> R
    ) throws(QwenSFTError) -> R? {
        switch self {
        case .directory(let directory):
            let path = joinPath(directory, name)
            guard try fileExists(path) else { return nil }
            return try FileContents(path, limit: limit).withBytes { (bytes) throws(QwenSFTError) in
                try body(bytes, name)
            }
        case .memory(let files, _):
            guard let file = files.first(where: { $0.name == name }) else { return nil }
            return try file.contents.withBytes { (bytes) throws(QwenSFTError) in try body(bytes, file.shownName) }
        }
    }

    /// The JSON object in a file, read as Python's json module reads it; nil where there is no file of that name.
    func fields(_ name: String) throws(QwenSFTError) -> JSONFields? {
        try read(name) { (bytes, file) throws(QwenSFTError) in
            try JSONFields(try JSONValue(parsing: bytes, file: file, dialect: .python), file: file)
        }
    }

    /// The UTF-8 text in a file; nil where there is none of that name.
    func text(_ name: String) throws(QwenSFTError) -> String? {
        try read(name) { (bytes, file) throws(QwenSFTError) in
            if let bad = firstInvalidUTF8(in: bytes) {
                throw QwenSFTError(.invalidFile, "\(file): byte \(bad) is no UTF-8")
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }
}
