/// What words became, so that a word met again (most are) costs one look at one cache line.
///
/// Words of up to 15 bytes and 4 ids, which nearly all are: 32 bytes a slot, two slots to a cache line. A word's hash names
/// its line; there the new word takes the place of the older one. No lists, no growth, nothing to tidy up. Of a short word with
/// more ids it is only known that there are more; they are in `LongWordCache`, as all of longer words.
struct WordCache {
    private let slots: FlatArray<Slot>
    /// By the count of a word's bytes: which bits of its key count.
    private let masks: FlatArray<Key>

    private static let slotBits: UInt64 = 18

    static let longestWord = 15
    /// Ids of a word, at most; a read writes so many, whatever the word's count.
    static let mostIDs = 4

    init() throws(QwenSFTError) {
        // All zero: a free slot has length 0, which no word has.
        slots = try FlatArray(zeros: 1 << Int(Self.slotBits))
        masks = try FlatArray(zeros: Self.longestWord + 1)
        for count in 0...Self.longestWord {
            // The first word of the key holds the length and 7 bytes, the second 8.
            let low = UInt64.max >> UInt64(56 - 8 * min(count, 7))
            let high = count > 7 ? UInt64.max >> UInt64(64 - 8 * (count - 7)) : 0
            masks.base[count] = Key(low, high)
        }
    }

    /// The length in the first byte, then the word's bytes, then zeros.
    typealias Key = SIMD2<UInt64>

    private struct Slot: BitwiseCopyable {
        /// Bits 4 to 6 of the first byte say how many ids; 0: they are elsewhere.
        var key = Key.zero
        var ids = SIMD4<Int32>.zero
    }

    /// The key of a word of 1...15 bytes. `readable`: how many bytes from `start` on may be read.
    @inline(__always)
    func key(_ start: UTF8Pointer, count: Int, readable: Int) -> Key {
        if readable >= 16 {
            let p = UnsafeRawPointer(start)
            let low = p.loadUnaligned(as: UInt64.self) << 8 | UInt64(truncatingIfNeeded: count)
            return Key(low, p.loadUnaligned(fromByteOffset: 7, as: UInt64.self)) & masks.base[count]
        }
        var key = Key(UInt64(truncatingIfNeeded: count), 0)
        for i in 0..<count {
            let place = i &+ 1
            key[place >> 3] |= UInt64(start[i]) &<< UInt64(truncatingIfNeeded: (place & 7) &* 8)
        }
        return key
    }

    /// The first of the two slots where the word may be.
    @inline(__always)
    private func line(_ key: Key) -> UnsafeMutablePointer<Slot> {
        let h = (key[0] ^ (key[1] &* 0x9E37_79B9_7F4A_7C15)) &* 0xC2B2_AE3D_27D4_EB4F
        return slots.base + Int(truncatingIfNeeded: (h ^ h &<< 29) &>> (64 &- Self.slotBits)) & ~1
    }

    /// Writes the ids of a known word to `output`; returns how many, 0 if they are not here.
    @inline(__always)
    func read(_ key: Key, to output: UnsafeMutablePointer<Int32>) -> Int {
        let line = line(key)
        // Which of the two slots it is cannot be predicted, so it is computed; that it is one of them nearly always holds.
        let second = Self.difference(line[0], key) == 0 ? 0 : 1
        let slot = line + second
        if Self.difference(slot[0], key) != 0 { return 0 }
        UnsafeMutableRawPointer(output).storeBytes(of: slot[0].ids, as: SIMD4<Int32>.self)
        return Int(truncatingIfNeeded: slot[0].key[0] >> 4 & 7)
    }

    /// Whether a word that could not be read had too many ids (`LongWordCache` may have them).
    func isElsewhere(_ key: Key) -> Bool {
        let line = line(key)
        return Self.difference(line[0], key) == 0 || Self.difference(line[1], key) == 0
    }

    /// 0 if the slot holds the word.
    @inline(__always)
    private static func difference(_ slot: Slot, _ key: Key) -> UInt64 {
        (slot.key[0] ^ key[0]) & ~0x70 | (slot.key[1] ^ key[1])
    }

    /// Remembers a word and, if there are at most `mostIDs`, its ids; the line's older word goes.
    func remember(_ key: Key, _ ids: UnsafePointer<Int32>, count: Int) {
        let slot = line(key)
        if Self.difference(slot[0], key) == 0 { return }
        slot[1] = slot[0]
        let here = count <= Self.mostIDs ? count : 0
        // As many ids as a slot holds may be read behind any word's first.
        slot[0] = Slot(
            key: key | Key(UInt64(truncatingIfNeeded: here) << 4, 0),
            ids: UnsafeRawPointer(ids).loadUnaligned(as: SIMD4<Int32>.self))
    }
}
