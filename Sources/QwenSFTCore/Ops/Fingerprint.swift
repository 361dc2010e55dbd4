/// A number of 64 bits that tells contents from others; not against malice. The same on every machine, for every number of threads.
package struct Fingerprint {
    package private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    package init() {}

    package mutating func add(_ word: UInt64) { value = Self.mix(value ^ word) }
    package mutating func add(_ number: Double) { add(number.bitPattern) }
    package mutating func add(_ flag: Bool) { add(flag ? 1 : 0 as UInt64) }

    package mutating func add(_ text: String) {
        add(UInt64(text.utf8.count))
        for byte in text.utf8 { add(UInt64(byte)) }
    }

    /// All bits of a weight whose elements stand one after the other; of others nothing.
    package mutating func add(_ weight: Weight, compute: Compute) {
        guard let (start, dtype) = weight.elements else { return }
        add(UnsafeRawBufferPointer(start: start, count: weight.count * dtype.byteCount), compute: compute)
    }

    package mutating func add(_ bytes: UnsafeRawBufferPointer, compute: Compute) {
        let pieces = (bytes.count + Self.piece - 1) / Self.piece
        let sum = withUnsafeTemporaryAllocation(of: UInt64.self, capacity: compute.threads) { sums in
            sums.initialize(repeating: 0)
            compute.run { worker in
                var sum: UInt64 = 0
                for index in worker.range(of: pieces) {
                    let first = index * Self.piece
                    let content = bytes[first..<min(first + Self.piece, bytes.count)]
                    sum &+= Self.mix(Self.hash(UnsafeRawBufferPointer(rebasing: content)) ^ UInt64(index))
                }
                sums[worker.index] = sum
            }
            return sums.reduce(0, &+)
        }
        add(sum)
    }

    private static let piece = 1 << 16

    /// Four chains at a time, so that a multiplication need not wait for the one before it.
    private static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var chains = SIMD4<UInt64>(1, 2, 3, 4)
        var offset = 0
        while offset + 32 <= bytes.count {
            let words = bytes.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
            chains = (chains ^ words) &* SIMD4(repeating: 0x9E37_79B9_7F4A_7C15)
            chains ^= chains &>> SIMD4(repeating: 29)
            offset += 32
        }
        var result = UInt64(bytes.count)
        for lane in 0..<4 { result = mix(result ^ chains[lane]) }
        while offset < bytes.count {
            result = mix(result ^ UInt64(bytes[offset]))
            offset += 1
        }
        return result
    }

    /// SplitMix64's finalizer (Steele, Lea, Flood 2014).
    private static func mix(_ word: UInt64) -> UInt64 {
        var z = word &+ 0x9E37_79B9_7F4A_7C15
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
