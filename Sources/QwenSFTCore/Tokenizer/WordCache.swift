/// What words became, so that a word met again (most are) costs one look: a table of cache lines.
///
/// A slot holds a word of up to 31 bytes and its up to 8 ids in 64 bytes. Which slot is decided by the word's hash; a new word
/// takes the place of the old one. No list, no growth, nothing to tidy up.
struct WordCache {
    /// A word as its slot begins: the length in the first byte, then the bytes, then zeros.
    struct Key {
        var words: (UInt64, UInt64, UInt64, UInt64)

        static let longest = 31

        /// Of a word of 1...31 bytes. `readable`: bytes from `start` that may be read, at least the word.
        @inline(__always)
        init(_ start: UTF8Pointer, count: Int, readable: Int) {
            words = (0, 0, 0, 0)
            if readable >= 32 {
                let p = UnsafeRawPointer(start)
                // Shifted by a byte to make room for the length; what follows the word is masked away.
                let a = p.loadUnaligned(as: UInt64.self)
                let length = UInt64(truncatingIfNeeded: count)
                if count <= 7 {
                    words.0 = (a << 8) & Self.mask(count &+ 1) | length
                    return
                }
                let b = p.loadUnaligned(fromByteOffset: 7, as: UInt64.self)
                words.0 = a << 8 | length
                if count <= 15 {
                    words.1 = b & Self.mask(count &- 7)
                    return
                }
                words.1 = b
                let c = p.loadUnaligned(fromByteOffset: 15, as: UInt64.self)
                if count <= 23 {
                    words.2 = c & Self.mask(count &- 15)
                    return
                }
                words.2 = c
                words.3 = p.loadUnaligned(fromByteOffset: 23, as: UInt64.self) & Self.mask(count &- 23)
            } else {
                withUnsafeMutableBytes(of: &words) { bytes in
                    bytes[0] = UInt8(truncatingIfNeeded: count)
                    for i in 0..<count { bytes[i + 1] = start[i] }
                }
            }
        }

        /// The lowest `count` bytes, 1...8.
        @inline(__always)
        private static func mask(_ count: Int) -> UInt64 { UInt64.max &>> UInt64(truncatingIfNeeded: 64 &- 8 &* count) }

        @inline(__always)
        var hash: UInt64 {
            var h = words.0 &* 0x9E37_79B9_7F4A_7C15
            h ^= h >> 32
            h = (h ^ words.1) &* 0xC2B2_AE3D_27D4_EB4F
            h ^= (words.2 &* 0x1656_67B1_9E37_79F9) ^ (words.3 &* 0x27D4_EB2F_1656_67C5)
            return h ^ h >> 29
        }
    }

    private struct Slot: BitwiseCopyable {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        /// The upper bits of the first byte hold how many, less one.
        var ids: SIMD8<Int32> = .zero
    }

    private static let slotBits = 16

    private let slots: UnsafeMutablePointer<Slot>

    init() {
        // A free slot has length 0, which no word has.
        slots = .allocate(capacity: 1 << Self.slotBits)
        slots.initialize(repeating: Slot(), count: 1 << Self.slotBits)
    }

    func deallocate() { slots.deallocate() }

    @inline(__always)
    private func slot(_ hash: UInt64) -> UnsafeMutablePointer<Slot> {
        slots + Int(truncatingIfNeeded: hash & UInt64(1 << Self.slotBits - 1))
    }

    /// Writes the ids of a known word to `output`, which must have room for 8; returns how many, 0 if the word is unknown.
    @inline(__always)
    func read(_ key: Key, hash: UInt64, to output: UnsafeMutablePointer<Int32>) -> Int {
        let slot = slot(hash)
        let stored = slot.pointee.words
        let difference =
            ((stored.0 ^ key.words.0) & ~0xE0) | (stored.1 ^ key.words.1) | (stored.2 ^ key.words.2)
            | (stored.3 ^ key.words.3)
        if difference != 0 { return 0 }
        UnsafeMutableRawPointer(output).storeBytes(of: slot.pointee.ids, as: SIMD8<Int32>.self)
        return Int(truncatingIfNeeded: stored.0 >> 5 & 7) &+ 1
    }

    @inline(__always)
    func write(_ key: Key, hash: UInt64, _ ids: UnsafePointer<Int32>, count: Int) {
        if count > 8 { return }
        let slot = slot(hash)
        var words = key.words
        words.0 |= UInt64(truncatingIfNeeded: count &- 1) << 5
        slot.pointee.words = words
        var stored = SIMD8<Int32>.zero
        for i in 0..<count { stored[i] = ids[i] }
        slot.pointee.ids = stored
    }
}
