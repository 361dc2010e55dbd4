/// A JSON document as a tree: for small documents whose members are looked up by name or written again.
///
/// A number keeps the text it was written with, so that a document that is read and written again does not change.
package indirect enum JSONValue: Sendable {
    case null
    case bool(Bool)
    case number(String)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)

    package static func integer(_ value: Int) -> JSONValue { .number(String(value)) }
}

/// The members of an object in the order of the document, found by the bytes of their key: Swift's `String` takes canonically
/// equivalent keys for equal, JSON does not.
package struct JSONObject: Sendable {
    package private(set) var members: [(key: String, value: JSONValue)] = []
    private var places: [[UInt8]: Int] = [:]

    package init() {}

    package subscript(key: String) -> JSONValue? {
        get { places[Array(key.utf8)].map { members[$0].value } }
        set {
            let bytes = Array(key.utf8)
            switch (places[bytes], newValue) {
            case (let place?, let value?): members[place].value = value
            case (nil, let value?):
                places[bytes] = members.count
                members.append((key, value))
            case (let place?, nil):
                members.remove(at: place)
                places[bytes] = nil
                for i in place..<members.count { places[Array(members[i].key.utf8)] = i }
            case (nil, nil): break
            }
        }
    }
}

extension JSONValue {
    /// Parses a whole document.
    package init(
        parsing bytes: UnsafeRawBufferPointer, file: String, dialect: JSONReader.Dialect = .strict
    ) throws(QwenSFTError) {
        var reader = JSONReader(bytes, file: file, dialect: dialect)
        self = try reader.value()
        try reader.end()
    }

    /// Reads and parses the document at `path`; messages call it by its file name.
    package init(contentsOf path: String, dialect: JSONReader.Dialect = .strict) throws(QwenSFTError) {
        let contents = try FileContents(path)
        self = try contents.withBytes { (bytes) throws(QwenSFTError) in
            try JSONValue(parsing: bytes, file: fileName(path), dialect: dialect)
        }
    }
}

extension JSONReader {
    /// The next value, of any kind, as a tree. Two members of an object with the same key are an error, except in Python's
    /// dialect.
    package mutating func value() throws(QwenSFTError) -> JSONValue {
        try countValue()
        switch try peek() {
        case .null:
            try null()
            return .null
        case .bool: return .bool(try bool())
        case .number: return .number(String(decoding: try numberLiteral(), as: UTF8.self))
        case .string: return .string(String(decoding: try string(), as: UTF8.self))
        case .array:
            var elements: [JSONValue] = []
            try beginArray()
            while try nextElement() { elements.append(try value()) }
            return .array(elements)
        case .object:
            var object = JSONObject()
            try beginObject()
            while let bytes = try nextKey() {
                let key = String(decoding: bytes, as: UTF8.self)
                if dialect == .strict, object[key] != nil {
                    throw error("the key '\(printable(key))' occurs twice in an object", at: keyPosition)
                }
                object[key] = try value()
            }
            return .object(object)
        }
    }
}
