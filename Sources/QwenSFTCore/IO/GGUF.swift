/// The header of a GGUF file, checked completely when it is opened: after that, every tensor can be read.
///
/// Format (ggml's docs/gguf.md), little-endian: "GGUF", the version, the numbers of tensors and of keys; the keys with their
/// values; the tensors' names, sizes (innermost first), types and places; the data, where every tensor begins at a multiple of the
/// alignment and right behind the one before it.
package struct GGUFFile: Sendable {
    package let file: ReadableFile
    /// In the order of the file.
    package let entries: [GGUFEntry]
    /// In the order of the file, with its names; shapes as everywhere else, outermost first.
    package let tensors: [StoredTensor]
    private let places: [[UInt8]: Int]

    /// What begins such a file.
    private static let magic: UInt32 = 0x4655_4747
    /// Many times what any model has.
    private static let mostEntries = 1 << 16
    private static let mostTensors = 1 << 18
    private static let mostElements = 1 << 24
    private static let mostDimensions = 4
    /// ggml has room for no longer names of tensors.
    private static let longestName = 63
    private static let longestKey = (1 << 16) - 1

    /// - Throws: `notFound`, `io`; `invalidFile` for what breaks a rule of the format; `unsupported` for other versions, unknown types
    ///   and files in parts.
    package init(_ path: String) throws(QwenSFTError) {
        let file = try ReadableFile(path)
        var reader = Header(file)
        guard file.size >= 4, try reader.cursor.integer(UInt32.self) == Self.magic else {
            throw reader.broken("does not begin as a GGUF file does")
        }
        let version = try reader.cursor.integer(UInt32.self)
        guard version == 2 || version == 3 else {
            let isSwapped = version.byteSwapped == 2 || version.byteSwapped == 3
            throw reader.unsupported(
                isSwapped ? "is in big-endian order" : "has version \(version) of the format; 2 and 3 are read")
        }
        let tensorCount = try reader.cursor.integer(UInt64.self)
        let entryCount = try reader.cursor.integer(UInt64.self)
        guard tensorCount <= UInt64(Self.mostTensors), entryCount <= UInt64(Self.mostEntries) else {
            throw reader.broken("has \(tensorCount) tensors and \(entryCount) keys, more than any model")
        }
        var (entries, places) = ([GGUFEntry](), [[UInt8]: Int]())
        for _ in 0..<entryCount {
            let entry = try reader.entry()
            guard places.updateValue(entries.count, forKey: Array(entry.key.utf8)) == nil else {
                throw reader.broken("the key '\(printable(entry.key))' occurs twice")
            }
            entries.append(entry)
        }
        self.file = file
        self.entries = entries
        self.places = places
        func value(_ key: String) -> GGUFValue? { places[Array(key.utf8)].map { entries[$0].value } }
        if let parts = value("split.count")?.integer, parts > 1 {
            throw reader.unsupported(
                "is one of \(parts) parts ('split.count'); put them together with llama-gguf-split --merge")
        }
        var alignment = 32
        if let value = value("general.alignment") {
            guard let number = value.integer, number >= 8, number <= 1 << 16, number.nonzeroBitCount == 1 else {
                throw reader.broken("'general.alignment' must be a power of 2 from 8 to 65536")
            }
            alignment = number
        }
        tensors = try reader.tensors(Int(tensorCount), alignment: alignment)
    }

    // MARK: Values

    /// The value of a key, if it is there.
    package func value(_ key: String) -> GGUFValue? { places[Array(key.utf8)].map { entries[$0].value } }

    package func string(_ key: String) throws(QwenSFTError) -> String? {
        guard let value = value(key) else { return nil }
        guard case .string(let text) = value else { throw wrong(key, "must be a text") }
        return text
    }

    package func integer(_ key: String) throws(QwenSFTError) -> Int? {
        guard let value = value(key) else { return nil }
        guard let integer = value.integer else { throw wrong(key, "must be an integer") }
        return integer
    }

    func bool(_ key: String) throws(QwenSFTError) -> Bool? {
        guard let value = value(key) else { return nil }
        guard let bool = value.bool else { throw wrong(key, "must be true or false") }
        return bool
    }

    package func strings(_ key: String) throws(QwenSFTError) -> ByteTexts? {
        guard let value = value(key) else { return nil }
        guard case .strings(let texts) = value else { throw wrong(key, "must be a list of texts") }
        return texts
    }

    // MARK: Errors

    var name: String { fileName(file.path) }

    func missing(_ key: String) -> QwenSFTError { QwenSFTError(.invalidFile, "\(name): '\(key)' is missing") }

    func wrong(_ key: String, _ must: String) -> QwenSFTError {
        QwenSFTError(.invalidFile, "\(name): '\(key)' \(must)")
    }

    func unsupported(_ key: String, _ what: String) -> QwenSFTError {
        QwenSFTError(.unsupported, "\(name): '\(key)' \(what)")
    }

    // MARK: Parsing

    /// Reads the header from its beginning to its end.
    private struct Header {
        var cursor: FileCursor

        init(_ file: ReadableFile) { cursor = FileCursor(file, limit: FileContents.vocabularyLimit) }

        func broken(_ message: String) -> QwenSFTError {
            QwenSFTError(.invalidFile, "\(fileName(cursor.file.path)): \(message)")
        }

        func unsupported(_ message: String) -> QwenSFTError {
            QwenSFTError(.unsupported, "\(fileName(cursor.file.path)): \(message)")
        }

        // MARK: Keys

        mutating func entry() throws(QwenSFTError) -> GGUFEntry {
            let key = String(decoding: try text("a key", limit: GGUFFile.longestKey), as: UTF8.self)
            guard !key.isEmpty else { throw broken("has a key without a name") }
            let name = printable(key)
            switch try cursor.integer(UInt32.self) {
            case GGUFScalar.stringType:
                return GGUFEntry(key, .string(String(decoding: try text("'\(name)'"), as: UTF8.self)))
            case GGUFScalar.arrayType: return GGUFEntry(key, try array(name))
            case let number:
                guard let type = GGUFScalar(rawValue: number) else {
                    throw broken("'\(name)' has the unknown type \(number)")
                }
                var bits: UInt64 = 0
                for (i, byte) in try cursor.bytes(type.byteCount).enumerated() {
                    bits |= UInt64(byte) << UInt64(8 * i)
                }
                if type == .bool, bits > 1 { throw broken("'\(name)' is \(bits), neither true nor false") }
                return GGUFEntry(key, .scalar(type, bits))
            }
        }

        private mutating func array(_ name: String) throws(QwenSFTError) -> GGUFValue {
            let number = try cursor.integer(UInt32.self)
            let count = try cursor.integer(UInt64.self)
            guard count <= UInt64(GGUFFile.mostElements) else {
                throw broken("'\(name)' has \(count) elements, more than any model's")
            }
            if number == GGUFScalar.stringType {
                var texts = ByteTexts()
                for _ in 0..<count {
                    try texts.append(text("'\(name)'"), purpose: fileName(cursor.file.path))
                }
                return .strings(texts)
            }
            guard number != GGUFScalar.arrayType else { throw unsupported("'\(name)' is a list of lists") }
            guard let type = GGUFScalar(rawValue: number) else {
                throw broken("'\(name)' has elements of the unknown type \(number)")
            }
            return .array(type, Array(try cursor.bytes(Int(count) * type.byteCount)))
        }

        /// A length and as many bytes of UTF-8.
        private mutating func text(_ what: String, limit: Int = .max) throws(QwenSFTError) -> ArraySlice<UInt8> {
            let length = try cursor.integer(UInt64.self)
            guard length <= UInt64(cursor.remaining) else {
                throw broken("\(what) has \(length) bytes, more than the file")
            }
            guard length <= UInt64(limit) else {
                throw broken("\(what) has \(length) bytes, more than the format allows")
            }
            let bytes = try cursor.bytes(Int(length))
            if let bad = bytes.withUnsafeBytes({ firstInvalidUTF8(in: $0) }) {
                throw broken("\(what) is no UTF-8 at byte \(bad)")
            }
            return bytes
        }

        // MARK: Tensors

        mutating func tensors(_ count: Int, alignment: Int) throws(QwenSFTError) -> [StoredTensor] {
            var found: [(name: String, type: GGUFElementType, shape: [Int], count: Int, offset: UInt64)] = []
            var seen: Set<[UInt8]> = []
            for _ in 0..<count {
                let bytes = try text("a tensor's name", limit: GGUFFile.longestName)
                let name = String(decoding: bytes, as: UTF8.self)
                guard !name.isEmpty, seen.insert(Array(bytes)).inserted else {
                    throw broken(
                        name.isEmpty
                            ? "has a tensor without a name" : "the tensor '\(printable(name))' occurs twice")
                }
                let (shape, elements) = try shape(name)
                let number = try cursor.integer(UInt32.self)
                guard let type = GGUFElementType(number: number) else {
                    throw unsupported("tensor '\(printable(name))' has the unknown type \(number)")
                }
                guard (shape.last ?? 1).isMultiple(of: type.elements) else {
                    throw broken(
                        "tensor '\(printable(name))' has the shape \(shape), whose rows are not made of \(type.name)'s blocks of \(type.elements)"
                    )
                }
                found.append((name, type, shape, elements, try cursor.integer(UInt64.self)))
            }
            let start = (cursor.position + alignment - 1) / alignment * alignment
            var tensors: [StoredTensor] = []
            for (name, type, shape, elements, offset) in found {
                let (byteCount, overflow) = (elements / type.elements).multipliedReportingOverflow(by: type.bytes)
                guard !overflow, start <= cursor.file.size, byteCount <= cursor.file.size - start,
                    offset <= UInt64(cursor.file.size - start - byteCount)
                else {
                    throw broken(
                        "tensor '\(printable(name))', \(type.name) \(shape) at \(offset), lies outside of the file")
                }
                guard offset.isMultiple(of: UInt64(alignment)) else {
                    throw broken(
                        "tensor '\(printable(name))' lies at \(offset), which is no multiple of \(alignment)")
                }
                tensors.append(
                    StoredTensor(
                        name: name, elementType: type.name, shape: shape, elementCount: elements,
                        offset: start + Int(offset), byteCount: byteCount, file: cursor.file))
            }
            try checkCoverage(tensors, start: start, alignment: alignment)
            return tensors
        }

        private mutating func shape(_ name: String) throws(QwenSFTError) -> ([Int], count: Int) {
            let dimensions = try cursor.integer(UInt32.self)
            guard (1...UInt32(GGUFFile.mostDimensions)).contains(dimensions) else {
                throw broken("tensor '\(printable(name))' has \(dimensions) dimensions, not 1 to 4")
            }
            var (shape, count) = ([Int](), 1)
            for _ in 0..<dimensions {
                let size = try cursor.integer(UInt64.self)
                guard let size = Int(exactly: size), size > 0 else {
                    throw broken("tensor '\(printable(name))' has the size \(size)")
                }
                let (product, overflow) = count.multipliedReportingOverflow(by: size)
                guard !overflow else { throw broken("tensor '\(printable(name))' is too large for any memory") }
                count = product
                shape.insert(size, at: 0)
            }
            return (shape, count)
        }

        private func checkCoverage(_ tensors: [StoredTensor], start: Int, alignment: Int) throws(QwenSFTError) {
            var end = start
            var previous = ""
            for tensor in tensors.sorted(by: { $0.offset < $1.offset }) {
                let here = "tensor '\(printable(tensor.name))'"
                if tensor.offset < end { throw broken("\(here) overlaps tensor '\(printable(previous))'") }
                let gap = tensor.offset - (end + alignment - 1) / alignment * alignment
                if gap > 0 { throw broken("\(gap) unused bytes lie before \(here)") }
                end = tensor.offset + tensor.byteCount
                previous = tensor.name
            }
            // The last one may be padded or not.
            let most = max((end + alignment - 1) / alignment * alignment, cursor.position)
            if cursor.file.size > most {
                throw broken("\(cursor.file.size - most) unused bytes lie after the last tensor")
            }
        }
    }
}
