/// A `.tiktoken` vocabulary: on each line a token in Base64, a space and its rank, which is also its id.
func entriesOfTiktoken(
    _ bytes: UnsafeRawBufferPointer, file: String
) throws(QwenSFTError) -> Vocabulary.Entries {
    var entries = Vocabulary.Entries()
    for (number, line) in lines(of: bytes).enumerated() where !line.isEmpty {
        let start = entries.text.count
        guard let space = line.firstIndex(of: UInt8(ascii: " ")),
            appendBase64(line[..<space], to: &entries.text), entries.text.count > start,
            let id = JSONReader.integer(UnsafeRawBufferPointer(rebasing: line[(space + 1)...])),
            space + 1 < line.count
        else {
            throw QwenSFTError(
                .invalidFile, "\(file):\(number + 1): must be a token in Base64, a space and its rank")
        }
        guard id >= 0, id < Vocabulary.idLimit else {
            throw QwenSFTError(.invalidFile, "\(file):\(number + 1): \(id) is no id")
        }
        entries.entries.append((Int32(id), start, entries.text.count - start))
    }
    return entries
}

/// To find a token's merge takes the square of its length.
private let longestToken = 1024

/// The merge that makes each token: encode its bytes with lower-ranked tokens only; the two that are left are its sides.
///
/// - Throws: `unsupported` where a token cannot be made that way.
func mergesOfTiktoken(
    _ entries: Vocabulary.Entries, _ vocabulary: Vocabulary, file: String
) throws(QwenSFTError) -> [MergeTable.Merge] {
    var merges: [MergeTable.Merge] = []
    merges.reserveCapacity(vocabulary.count)
    for id in 0..<vocabulary.idEnd {
        let bytes = vocabulary.bytes(of: id)
        if bytes.count < 2 { continue }
        guard bytes.count <= longestToken else {
            throw QwenSFTError(
                .unsupported, "\(file): the token of rank \(id) has \(bytes.count) bytes, more than any token")
        }
        // The parts' ends; a part's bytes are looked up in the vocabulary, whose ids are the ranks.
        var ends = Array(1...bytes.count)
        func token(_ first: Int, _ last: Int) -> Int {
            let found = vocabulary.id(
                of: UnsafeBufferPointer(rebasing: bytes[(first == 0 ? 0 : ends[first - 1])..<ends[last]]))
            return found.map { Int($0) } ?? Int.max
        }
        var joined = (0..<bytes.count - 1).map { token($0, $0 + 1) }
        while ends.count > 2 {
            guard let best = joined.indices.min(by: { joined[$0] < joined[$1] }), joined[best] < id else { break }
            ends.remove(at: best)
            joined.remove(at: best)
            if best < joined.count { joined[best] = token(best, best + 1) }
            if best > 0 { joined[best - 1] = token(best - 1, best) }
        }
        let left = token(0, 0)
        let right = ends.count == 2 ? token(1, 1) : Int.max
        guard ends.count == 2, left < id, right < id else {
            throw QwenSFTError(
                .unsupported,
                "\(file): the token of rank \(id), '\(printable(ByteAlphabet.spelling(of: bytes)))', is not made of two tokens of lower rank"
            )
        }
        merges.append(MergeTable.Merge(left: Int32(left), right: Int32(right), merged: Int32(id)))
    }
    return merges
}

/// Appends what RFC 4648 Base64 (with padding) stands for; false where it is none.
private func appendBase64(_ text: Slice<UnsafeRawBufferPointer>, to output: inout [UInt8]) -> Bool {
    guard text.count.isMultiple(of: 4), !text.isEmpty else { return false }
    var digits = text
    while digits.last == UInt8(ascii: "="), text.count - digits.count < 2 { digits = digits.dropLast() }
    var bits: UInt32 = 0
    var held = 0
    for digit in digits {
        let value: UInt8
        switch digit {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = digit - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = digit - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): value = 62
        case UInt8(ascii: "/"): value = 63
        default: return false
        }
        bits = (bits << 6 | UInt32(value)) & 0xFFFFFF
        held += 6
        if held >= 8 {
            held -= 8
            output.append(UInt8(truncatingIfNeeded: bits >> UInt32(held)))
        }
    }
    // The bits that are left over must be zero.
    return bits & (1 << UInt32(held) - 1) == 0
}
