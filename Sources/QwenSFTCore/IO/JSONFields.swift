/// An object of a configuration file, read member by member with errors that name file and member:
/// "config.json: 'rope_scaling.factor' must be a number".
///
/// Where a default is given or an optional returned, `null` counts as absent, as in the files of transformers.
package struct JSONFields: Sendable {
    package let file: String
    package let object: JSONObject
    /// The names of the objects around this one, with a dot after each.
    private let path: String

    /// Reads the document at `path`, which must be an object, as Python's json module does: it wrote the file and is what
    /// everybody else reads it with.
    package init(contentsOf path: String) throws(QwenSFTError) {
        try self.init(try JSONValue(contentsOf: path, dialect: .python), file: fileName(path))
    }

    package init(_ document: JSONValue, file: String) throws(QwenSFTError) {
        guard case .object(let object) = document else {
            throw QwenSFTError(.invalidFile, "\(file): the document must be an object")
        }
        self.init(file: file, object: object, path: "")
    }

    /// No members.
    package init(file: String) { self.init(file: file, object: JSONObject(), path: "") }

    private init(file: String, object: JSONObject, path: String) {
        self.file = file
        self.object = object
        self.path = path
    }

    /// The member, unless it is absent or null.
    package func value(_ key: String) -> JSONValue? {
        if let value = object[key] {
            if case .null = value { return nil }
            return value
        }
        return nil
    }

    // MARK: Members

    package func object(_ key: String) throws(QwenSFTError) -> JSONFields? {
        guard let value = value(key) else { return nil }
        guard case .object(let object) = value else { throw wrong(key, "must be an object") }
        return JSONFields(file: file, object: object, path: path + key + ".")
    }

    package func string(_ key: String) throws(QwenSFTError) -> String? {
        guard let value = value(key) else { return nil }
        guard case .string(let string) = value else { throw wrong(key, "must be a string") }
        return string
    }

    package func bool(_ key: String) throws(QwenSFTError) -> Bool? {
        guard let value = value(key) else { return nil }
        guard case .bool(let bool) = value else { throw wrong(key, "must be true or false") }
        return bool
    }

    /// An integer in `range`, which `must` puts into words: "must be a positive integer".
    package func integer(_ key: String, in range: ClosedRange<Int>, _ must: String) throws(QwenSFTError) -> Int? {
        guard let value = value(key) else { return nil }
        guard let integer = value.integer, range.contains(integer) else { throw wrong(key, must) }
        return integer
    }

    /// A size: at least 1 and at most 2³¹ − 1, so that the product of two is no overflow.
    package func size(_ key: String) throws(QwenSFTError) -> Int {
        guard let size = try optionalSize(key) else { throw missing(key) }
        return size
    }

    package func optionalSize(_ key: String) throws(QwenSFTError) -> Int? {
        guard let value = value(key) else { return nil }
        guard let size = value.integer, size > 0 else { throw wrong(key, "must be a positive integer") }
        guard size <= Int(Int32.max) else { throw wrong(key, "must not be larger than \(Int32.max)") }
        return size
    }

    package func number(_ key: String) throws(QwenSFTError) -> Double? {
        guard let value = value(key) else { return nil }
        guard let number = value.double else { throw wrong(key, "must be a number") }
        return number
    }

    package func positiveNumber(_ key: String) throws(QwenSFTError) -> Double? {
        guard let value = value(key) else { return nil }
        guard let number = value.double, number > 0 else { throw wrong(key, "must be a positive number") }
        return number
    }

    // MARK: Errors

    package func missing(_ key: String) -> QwenSFTError {
        QwenSFTError(.invalidFile, "\(file): '\(path)\(key)' is missing")
    }

    package func wrong(_ key: String, _ must: String) -> QwenSFTError {
        QwenSFTError(.invalidFile, "\(file): '\(path)\(key)' \(must)")
    }

    package func unsupported(_ key: String, _ what: String) -> QwenSFTError {
        QwenSFTError(.unsupported, "\(file): '\(path)\(key)' \(what)")
    }
}

extension JSONValue {
    /// The value as an integer: a number written without fraction or exponent that fits.
    package var integer: Int? {
        guard case .number(let literal) = self else { return nil }
        return Int(literal)
    }

    /// The value as a finite number.
    package var double: Double? {
        guard case .number(let literal) = self, let number = Double(literal), number.isFinite else { return nil }
        return number
    }

    package var string: String? {
        if case .string(let string) = self { string } else { nil }
    }
}
