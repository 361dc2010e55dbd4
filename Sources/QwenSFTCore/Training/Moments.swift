/// What an optimizer remembers of every trained parameter: momentum, or first or second moments. In float32 or, where it is asked
/// for, in 8 bits for all but small parameters, as bitsandbytes has it.
final class Moments {
    private let list: ParameterList
    /// By parameter: whether there is memory for it.
    let included: [Bool]
    /// All, or the small ones.
    let floats: ParameterStorage
    private let blocks: BlockwiseMoments?
    private let code: DynamicCode

    /// Zeros.
    /// - Parameters:
    ///   - bits: 32 or 8.
    ///   - isSigned: second moments are not.
    init(
        _ list: ParameterList, included: [Bool], bits: Int, isSigned: Bool, purpose: String
    ) throws(QwenSFTError) {
        (self.list, self.included) = (list, included)
        code = isSigned ? .signed : .unsigned
        let parameters = list.parameters
        floats = try ParameterStorage(
            list, dtype: .float32,
            included: parameters.map { included[$0.index] && !Self.isInBlocks($0, bits: bits) }, purpose: purpose)
        blocks =
            bits == 32
            ? nil
            : try BlockwiseMoments(
                parameters.map { included[$0.index] && Self.isInBlocks($0, bits: bits) ? $0.count : 0 },
                purpose: purpose)
    }

    /// Vectors and small matrices are few numbers, of which some matter much.
    private static let leastCount = 4096

    private static func isInBlocks(_ parameter: Parameter, bits: Int) -> Bool {
        bits == 8 && parameter.isMatrix && parameter.count >= leastCount
    }

    /// Bytes for all of a list's parameters.
    static func byteCount(_ list: ParameterList, bits: Int) -> Int {
        let inBlocks = list.parameters.filter { isInBlocks($0, bits: bits) }
        return (list.matrixCount + list.vectorCount - inBlocks.reduce(0) { $0 + $1.count }) * 4
            + inBlocks.reduce(0) { $0 + BlockwiseMoments.byteCount($1.count) }
    }

    /// The codes and scales of a parameter that is kept in 8 bits; nil for others.
    func blocks(of parameter: Parameter)
        -> (codes: UnsafeMutableRawBufferPointer, scales: UnsafeMutableBufferPointer<Float>)?
    {
        guard let blocks, Self.isInBlocks(parameter, bits: 8), included[parameter.index] else { return nil }
        return (blocks.codes(parameter.index), blocks.scales(parameter.index))
    }

    /// Some numbers of a parameter to be changed: in place, or in `scratch`, from where `store` takes them back.
    func load(
        _ parameter: Parameter, _ start: Int, _ count: Int, _ scratch: UnsafeMutablePointer<Float>
    ) -> UnsafeMutablePointer<Float> {
        guard let blocks, Self.isInBlocks(parameter, bits: 8) else { return floats.floats(parameter).base + start }
        blocks.read(parameter.index, start, count, as: code, to: scratch)
        return scratch
    }

    func store(_ parameter: Parameter, _ start: Int, _ count: Int, _ numbers: UnsafePointer<Float>) {
        guard let blocks, Self.isInBlocks(parameter, bits: 8) else { return }
        blocks.write(parameter.index, start, count, as: code, from: numbers)
    }

    /// Takes over what both have memory for.
    func copy(from other: Moments) {
        floats.copy(from: other.floats)
        guard let blocks, let others = other.blocks else { return }
        for parameter in list.parameters
        where Self.isInBlocks(parameter, bits: 8) && included[parameter.index] && other.included[parameter.index] {
            blocks.copy(parameter.index, from: others)
        }
    }

    /// What no number exceeds.
    func bound(_ compute: Compute) -> Double {
        list.parameters.filter { !$0.isMatrix || included[$0.index] }.map { parameter in
            guard let (_, scales) = blocks(of: parameter) else {
                return Elements.norm(floats.floats(parameter).readOnly, compute: compute)
            }
            return scales.reduce(0) { max($0, Double($1)) }
        }.reduce(0) { max($0, $1) }
    }

    /// All of it.
    func add(to fingerprint: inout Fingerprint, compute: Compute) {
        for parameter in list.parameters where included[parameter.index] {
            if let (codes, scales) = blocks(of: parameter) {
                fingerprint.add(UnsafeRawBufferPointer(codes), compute: compute)
                fingerprint.add(UnsafeRawBufferPointer(scales), compute: compute)
            } else {
                fingerprint.add(floats.weight(parameter), compute: compute)
            }
        }
    }
}
