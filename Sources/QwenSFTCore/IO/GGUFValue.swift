/// A key of a GGUF file and its value.
package struct GGUFEntry: Sendable {
    package let key: String
    package let value: GGUFValue

    package init(_ key: String, _ value: GGUFValue) {
        (self.key, self.value) = (key, value)
    }
}

/// Keys that more than one part of the library looks at.
enum GGUFKeys {
    static let architecture = "general.architecture"
    static let type = "general.type"
    static let name = "general.name"
    static let fileType = "general.file_type"
    static let quantizationVersion = "general.quantization_version"
    /// Begins the keys of the tokenizer.
    static let tokenizer = "tokenizer.ggml."
    static let tokens = "tokenizer.ggml.tokens"
}

/// Types of values that are no texts.
package enum GGUFScalar: UInt32, Sendable {
    case uint8 = 0
    case int8, uint16, int16, uint32, int32, float32, bool
    case uint64 = 10
    case int64, float64

    /// The format's numbers of a text and of an array.
    static let stringType: UInt32 = 8
    static let arrayType: UInt32 = 9

    var byteCount: Int {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16: 2
        case .uint32, .int32, .float32: 4
        case .uint64, .int64, .float64: 8
        }
    }
}

/// The value of a key.
package enum GGUFValue: Sendable {
    /// Its bits, with zeros above them.
    case scalar(GGUFScalar, UInt64)
    case string(String)
    case strings(ByteTexts)
    /// Elements one after the other, little-endian.
    case array(GGUFScalar, [UInt8])

    package static func uint32(_ value: Int) -> Self { .scalar(.uint32, UInt64(UInt32(clamping: value))) }
    package static func int32(_ value: Int) -> Self {
        .scalar(.int32, UInt64(UInt32(bitPattern: Int32(clamping: value))))
    }
    package static func float32(_ value: Double) -> Self { .scalar(.float32, UInt64(Float(value).bitPattern)) }
    package static func bool(_ value: Bool) -> Self { .scalar(.bool, value ? 1 : 0) }

    /// An integer that fits, of whatever type.
    package var integer: Int? {
        guard case .scalar(let type, let bits) = self else { return nil }
        switch type {
        case .uint8, .uint16, .uint32, .uint64: return Int(exactly: bits)
        case .int8: return Int(Int8(truncatingIfNeeded: bits))
        case .int16: return Int(Int16(truncatingIfNeeded: bits))
        case .int32: return Int(Int32(truncatingIfNeeded: bits))
        case .int64: return Int(Int64(bitPattern: bits))
        case .float32, .float64, .bool: return nil
        }
    }

    /// A finite number as JSON writes it, with the digits that its type has.
    package var literal: String? {
        guard case .scalar(let type, let bits) = self else { return nil }
        switch type {
        case .float32:
            let value = Float(bitPattern: UInt32(truncatingIfNeeded: bits))
            return value.isFinite ? "\(value)" : nil
        case .float64:
            let value = Double(bitPattern: bits)
            return value.isFinite ? "\(value)" : nil
        default: return integer.map { "\($0)" }
        }
    }

    package var bool: Bool? {
        if case .scalar(.bool, let bits) = self { bits != 0 } else { nil }
    }

    /// The elements of an array of integers.
    package var integers: [Int]? {
        guard case .array(let type, let bytes) = self, type != .float32, type != .float64, type != .bool else {
            return nil
        }
        let size = type.byteCount
        return stride(from: 0, to: bytes.count, by: size).map { start in
            var bits: UInt64 = 0
            for i in 0..<size { bits |= UInt64(bytes[start + i]) << UInt64(8 * i) }
            return GGUFValue.scalar(type, bits).integer ?? .max
        }
    }
}

/// Texts one after the other: a vocabulary has too many for strings of their own.
package struct ByteTexts: Sendable {
    private var bytes: [UInt8] = []
    private var ends: [Int] = []

    package init() {}

    package var count: Int { ends.count }
    /// Bytes of all texts together.
    var byteCount: Int { bytes.count }

    /// Appends the text that consists of these bytes.
    /// - Throws: `outOfMemory`.
    package mutating func append(_ text: some Collection<UInt8>, purpose: @autoclosure () -> String)
        throws(QwenSFTError)
    {
        try bytes.makeRoom(for: text.count, purpose: purpose())
        try ends.makeRoom(for: 1, purpose: purpose())
        bytes.append(contentsOf: text)
        ends.append(bytes.count)
    }

    /// The last place of a text.
    func lastIndex(of text: [UInt8]) -> Int? { (0..<count).last { self[$0].elementsEqual(text) } }

    /// The bytes of a text.
    package subscript(index: Int) -> ArraySlice<UInt8> { bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]] }
}
