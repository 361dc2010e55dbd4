import Libc

/// Formats that keep weights in blocks with a scale of their own, as ggml's files have them. They are widened when they are read;
/// the arithmetic is ggml's, so that the same float32 numbers come out.
///
/// A scale is a float16; the elements of a block are in the order of the row.
enum BlockFormat: String, Sendable {
    /// 32 elements q · d with one byte each.
    case q8 = "Q8_0"
    /// 32 elements (q − 8) · d with 4 bits each: the lower half of the block in the low bits.
    case q4 = "Q4_0"
    /// The same as q · d + m.
    case q4Minimum = "Q4_1"
    /// 32 elements (q − 16) · d: as 4 bits, the fifth bits on their own.
    case q5 = "Q5_0"
    case q5Minimum = "Q5_1"
    /// 256 elements in 8 groups, (d · scale) · q − dmin · minimum, with 6 bits for each scale and minimum.
    case q4Groups = "Q4_K"
    case q5Groups = "Q5_K"
    /// 256 elements in 16 groups, (d · scale) · (q − 32), with a byte for each scale.
    case q6Groups = "Q6_K"

    /// Elements of a block.
    var elements: Int {
        switch self {
        case .q8, .q4, .q4Minimum, .q5, .q5Minimum: 32
        case .q4Groups, .q5Groups, .q6Groups: 256
        }
    }

    /// Bytes of a block.
    var bytes: Int {
        switch self {
        case .q8: 34
        case .q4: 18
        case .q4Minimum: 20
        case .q5: 22
        case .q5Minimum: 24
        case .q4Groups: 144
        case .q5Groups: 176
        case .q6Groups: 210
        }
    }

    /// Widens `count` blocks to float32.
    func widen(_ blocks: UnsafePointer<UInt8>, count: Int, to values: UnsafeMutablePointer<Float>) {
        for index in 0..<count {
            let (block, y) = (blocks + index * bytes, values + index * elements)
            switch self {
            case .q8: Self.widenQ8(block, y)
            case .q4: Self.widenNibbles(block + 2, nil, scale: half(block), minimum: -8 * half(block), y)
            case .q4Minimum: Self.widenNibbles(block + 4, nil, scale: half(block), minimum: half(block + 2), y)
            case .q5: Self.widenNibbles(block + 6, block + 2, scale: half(block), minimum: -16 * half(block), y)
            case .q5Minimum:
                Self.widenNibbles(block + 8, block + 4, scale: half(block), minimum: half(block + 2), y)
            case .q4Groups: Self.widenGroups(block, nil, block + 16, y)
            case .q5Groups: Self.widenGroups(block, block + 16, block + 48, y)
            case .q6Groups: Self.widenQ6(block, y)
            }
        }
    }

    private static func widenQ8(_ block: UnsafePointer<UInt8>, _ y: UnsafeMutablePointer<Float>) {
        let scale = half(block)
        for i in 0..<32 { y[i] = Float(Int8(bitPattern: block[2 + i])) * scale }
    }

    /// d · q + m with 4 or 5 bits.
    /// - Parameters:
    ///   - fifth: 32 bits, one for each element; nil: there are none.
    ///   - minimum: what is added. A multiple of the scale by a power of two is exact, and so is what (q − 8) · d rounds to.
    private static func widenNibbles(
        _ nibbles: UnsafePointer<UInt8>, _ fifth: UnsafePointer<UInt8>?, scale: Float, minimum: Float,
        _ y: UnsafeMutablePointer<Float>
    ) {
        var high: UInt32 = 0
        if let fifth { for i in 0..<4 { high |= UInt32(fifth[i]) << UInt32(8 * i) } }
        for i in 0..<16 {
            let (low, up) = (UInt32(nibbles[i] & 0xF), UInt32(nibbles[i] >> 4))
            y[i] = scale * Float(low | (high >> UInt32(i) & 1) << 4) + minimum
            y[i + 16] = scale * Float(up | (high >> UInt32(i + 16) & 1) << 4) + minimum
        }
    }

    /// - Parameter fifth: a byte for each place of 32, with one bit for each group; nil: there are none.
    private static func widenGroups(
        _ block: UnsafePointer<UInt8>, _ fifth: UnsafePointer<UInt8>?, _ nibbles: UnsafePointer<UInt8>,
        _ y: UnsafeMutablePointer<Float>
    ) {
        let (scale, minimum) = (half(block), half(block + 2))
        let packed = block + 4
        for group in 0..<8 {
            let (s, m): (UInt8, UInt8)
            if group < 4 {
                (s, m) = (packed[group] & 63, packed[group + 4] & 63)
            } else {
                s = packed[group + 4] & 0xF | (packed[group - 4] >> 6) << 4
                m = packed[group + 4] >> 4 | (packed[group] >> 6) << 4
            }
            let (d, least) = (scale * Float(s), minimum * Float(m))
            let source = nibbles + group / 2 * 32
            let shift = UInt8(group % 2 * 4)
            for i in 0..<32 {
                var q = source[i] >> shift & 0xF
                if let fifth { q |= (fifth[i] >> UInt8(group) & 1) << 4 }
                y[32 * group + i] = d * Float(q) - least
            }
        }
    }

    private static func widenQ6(_ block: UnsafePointer<UInt8>, _ y: UnsafeMutablePointer<Float>) {
        let scale = half(block + 208)
        for quarter in 0..<8 {
            // 32 elements: four bits of them in half of 64 bytes, two bits in a quarter of each of 32 bytes.
            let (part, place) = (quarter / 4, quarter % 4)
            let low = block + 64 * part + place % 2 * 32
            let high = block + 128 + 32 * part
            for i in 0..<32 {
                let q = low[i] >> UInt8(place / 2 * 4) & 0xF | (high[i] >> UInt8(2 * place) & 3) << 4
                let s = Int8(bitPattern: block[192 + 2 * quarter + i / 16])
                y[32 * quarter + i] = (scale * Float(s)) * Float(Int(q) - 32)
            }
        }
    }

    /// Rounds `count` blocks of 32 to Q8_0, as ggml's reference does it: bit by bit the same.
    /// - Returns: false where a block's scale has no room in a float16.
    static func narrowQ8(
        _ values: UnsafePointer<Float>, count: Int, to blocks: UnsafeMutablePointer<UInt8>
    ) -> Bool {
        var largest: UInt16 = 0
        for index in 0..<count {
            let (x, block) = (values + 32 * index, blocks + 34 * index)
            var most: Float = 0
            for i in 0..<32 { most = max(most, x[i].magnitude) }
            let scale = most / 127
            let inverse = scale == 0 ? 0 : 1 / scale
            let bits = float16(scale.bitPattern)
            largest = max(largest, bits)
            (block[0], block[1]) = (UInt8(truncatingIfNeeded: bits), UInt8(truncatingIfNeeded: bits >> 8))
            for i in 0..<32 {
                // Half away from zero.
                let scaled = x[i] * inverse
                let magnitude = min(scaled.magnitude, 127)
                var whole = Int32(magnitude)
                if magnitude - Float(whole) >= 0.5 { whole += 1 }
                block[2 + i] = UInt8(bitPattern: Int8(scaled < 0 ? -whole : whole))
            }
        }
        return largest < 0x7C00
    }
}

/// The float16 that stands at a place, little-endian.
@inline(__always)
private func half(_ place: UnsafePointer<UInt8>) -> Float {
    let bits = UInt32(place[0]) | UInt32(place[1]) << 8
    let (sign, magnitude) = ((bits & 0x8000) << 16, bits & 0x7FFF)
    if magnitude < 0x400 { return Float(bitPattern: (Float(magnitude) * 0x1p-24).bitPattern | sign) }
    if magnitude >= 0x7C00 { return Float(bitPattern: sign | 0x7F80_0000 | (magnitude & 0x3FF) << 13) }
    return Float(bitPattern: sign | (magnitude << 13 &+ 0x3800_0000))
}

extension StoredTensor {
    /// The format of its blocks; nil where every element stands on its own.
    var blockFormat: BlockFormat? { BlockFormat(rawValue: elementType) }

    /// `read` of elements in blocks, whose ends need not be those of the range.
    func readBlocks(
        _ format: BlockFormat, _ range: Range<Int>, as dtype: DType, into target: UnsafeMutableRawPointer
    ) throws(QwenSFTError) {
        let most = (1 << 15) / format.elements
        let size = most * (format.bytes + 4 * format.elements)
        guard let memory = malloc(size) else {
            throw QwenSFTError(.outOfMemory, "\(file.path): no memory to read it")
        }
        defer { free(memory) }
        let values = memory.bindMemory(to: Float.self, capacity: most * format.elements)
        let blocks = (memory + 4 * most * format.elements).assumingMemoryBound(to: UInt8.self)
        var done = 0
        while done < range.count {
            let first = (range.lowerBound + done) / format.elements
            let skipped = (range.lowerBound + done) % format.elements
            let end = (range.upperBound + format.elements - 1) / format.elements
            let count = min(end - first, most)
            try file.read(
                into: UnsafeMutableRawBufferPointer(start: blocks, count: count * format.bytes),
                at: offset + first * format.bytes)
            format.widen(blocks, count: count, to: values)
            let part = min(count * format.elements - skipped, range.count - done)
            convertElements(
                from: values + skipped, .float32, to: target + done * dtype.byteCount, dtype, count: part)
            done += part
        }
    }
}
