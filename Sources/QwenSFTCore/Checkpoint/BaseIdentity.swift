/// A number that tells a base from others: of the names and shapes of its parameters, and of some values from all over each.
/// They are taken as bfloat16, so that it is the same in whatever format the model is opened or was saved.
struct BaseIdentity {
    private var state: UInt64 = 0xCBF2_9CE4_8422_2325

    /// 16 hexadecimal digits.
    var text: String {
        let digits = String(state, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// - Parameter read: gives elements of a parameter as bfloat16.
    init(_ parameters: [Parameter], _ read: ElementReader) throws(QwenSFTError) {
        for parameter in parameters {
            add(parameter.name.utf8)
            for size in parameter.shape { add("\(size)".utf8) }
            let piece = min(Self.pieceCount, parameter.count)
            try withTemporary(UInt16.self, piece) { (values) throws(QwenSFTError) in
                for place in 0..<Self.places {
                    let start = (parameter.count - piece) * place / max(Self.places - 1, 1)
                    try read(parameter.index, start..<start + piece, .bfloat16, values)
                    add(UnsafeRawBufferPointer(start: values, count: 2 * piece))
                }
            }
        }
    }

    private static let places = 5
    private static let pieceCount = 64

    /// FNV-1a.
    private mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }
    }
}

extension Model {
    /// What an adapter's file says of the base that it was made on: 16 hexadecimal digits, the same for one checkpoint in whatever
    /// format it is opened. Weights that were trained are another base.
    package var baseIdentity: String {
        quantization == nil ? identity(of: parameters) ?? source.identity : source.identity
    }

    /// The same of some of its parameters; nil where they are kept in few bits.
    func identity(of some: [Parameter]) -> String? {
        let identity = try? BaseIdentity(some) { (index, range, dtype, target) throws(QwenSFTError) in
            guard let (start, kept) = weights.weight(parameters[index]).elements else { return }
            convertElements(
                from: start + range.lowerBound * kept.byteCount, kept, to: target, dtype, count: range.count)
        }
        return quantization == nil ? identity?.text : nil
    }
}
