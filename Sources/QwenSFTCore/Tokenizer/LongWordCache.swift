import Libc

/// What became of the words that `WordCache` has no room for: clauses of Chinese, words of scripts with few tokens.
///
/// Words and ids lie one after the other in a block of memory; a table from hash to place finds them. When the block is full,
/// all is forgotten: what matters is met again soon.
struct LongWordCache {
    /// By hash: its upper half, and the place in `entries` (0: free).
    private let slots: FlatArray<UInt64>
    /// An entry: the word's length and its count of ids (4 bytes each), the word, up to 3 bytes of nothing, the ids.
    private let entries: FlatArray<UInt64>
    private var used = Self.start

    private static let slotCount = 1 << 17
    private static let capacity = 8 << 20
    private static let start = 8
    /// Places looked at, one after the other: most in one cache line.
    private static let probes = 4

    static let longestWord = 255

    init() throws(QwenSFTError) {
        slots = try FlatArray(zeros: Self.slotCount)
        entries = try FlatArray(zeros: Self.capacity / 8)
    }

    /// Of a word of 8 bytes or more, eight bytes at a time, the last of them perhaps twice; of a shorter one, byte by byte.
    @inline(__always)
    private static func hash(_ word: UTF8Pointer, count: Int) -> UInt64 {
        let p = UnsafeRawPointer(word)
        var h = UInt64(truncatingIfNeeded: count)
        var i = 0
        while i &+ 8 <= count {
            h = mix(h, p.loadUnaligned(fromByteOffset: i, as: UInt64.self))
            i &+= 8
        }
        if count >= 8 { return mix(h, p.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)) }
        for j in 0..<count { h = mix(h, UInt64(word[j])) }
        return h
    }

    @inline(__always)
    private static func mix(_ h: UInt64, _ more: UInt64) -> UInt64 {
        let product = (h ^ more) &* 0x9E37_79B9_7F4A_7C15
        return product ^ product >> 32
    }

    /// Writes the ids of a known word to `output`; returns how many, 0 if the word is not known.
    func read(_ word: UTF8Pointer, count: Int, to output: UnsafeMutablePointer<Int32>) -> Int {
        let hash = Self.hash(word, count: count)
        for probe in 0..<Self.probes {
            let slot = slots.base[place(hash, probe)]
            if slot == 0 { return 0 }
            guard slot >> 32 == hash >> 32 else { continue }
            let entry = UnsafeMutableRawPointer(entries.base) + Int(truncatingIfNeeded: slot & 0xFFFF_FFFF)
            guard entry.load(as: UInt32.self) == UInt32(truncatingIfNeeded: count), memcmp(entry + 8, word, count) == 0
            else { continue }
            let idCount = Int(entry.load(fromByteOffset: 4, as: UInt32.self))
            let ids = (entry + Self.idsOffset(count)).assumingMemoryBound(to: Int32.self)
            for i in 0..<idCount { output[i] = ids[i] }
            return idCount
        }
        return 0
    }

    mutating func remember(_ word: UTF8Pointer, count: Int, _ ids: UnsafePointer<Int32>, idCount: Int) {
        let hash = Self.hash(word, count: count)
        let size = (Self.idsOffset(count) + 4 * idCount + 7) & ~7
        if used + size > Self.capacity {
            slots.base.update(repeating: 0, count: Self.slotCount)
            used = Self.start
        }
        let entry = UnsafeMutableRawPointer(entries.base) + used
        entry.storeBytes(of: UInt32(truncatingIfNeeded: count), as: UInt32.self)
        entry.storeBytes(of: UInt32(truncatingIfNeeded: idCount), toByteOffset: 4, as: UInt32.self)
        (entry + 8).copyMemory(from: word, byteCount: count)
        (entry + Self.idsOffset(count)).copyMemory(from: ids, byteCount: 4 * idCount)
        // The first free place, else the word's own one.
        let free = (0..<Self.probes).first { slots.base[place(hash, $0)] == 0 } ?? 0
        slots.base[place(hash, free)] = hash & ~0xFFFF_FFFF | UInt64(truncatingIfNeeded: used)
        used += size
    }

    @inline(__always)
    private func place(_ hash: UInt64, _ probe: Int) -> Int {
        (Int(truncatingIfNeeded: hash) &+ probe) & (Self.slotCount &- 1)
    }

    @inline(__always)
    private static func idsOffset(_ count: Int) -> Int { (8 &+ count &+ 3) & ~3 }
}
