import CText
import Libc

/// What encoding needs besides the tables: the word cache, scratch and the ids so far. Used by one thread at a time; kept
/// between calls, so that later texts find the words of earlier ones in the cache.
final class EncodingWorkspace: @unchecked Sendable {
    private let cache: WordCache
    private var longCache: LongWordCache
    private let characters: CharacterTokens
    private var waiting = WaitingWords()
    private let merges: MergeTable
    private var merger: BytePairMerger
    /// Normalized text, where it differs from the text.
    var normalized: [UInt8] = []

    /// The ids written so far: in memory of its own, or in the caller's (`lent`).
    private var ids: UnsafeMutablePointer<Int32>
    private var count = 0
    private var capacity = EncodingWorkspace.leastCapacity
    private var own: UnsafeMutablePointer<Int32>
    private var ownCapacity = EncodingWorkspace.leastCapacity

    private static let leastCapacity = 1 << 14

    /// More is given back after a call; 16 MB.
    private static let keptCapacity = 1 << 22
    /// So many ids beyond one for each byte may be written to, and then overwritten.
    static let slack = WordCache.mostIDs

    init(vocabulary: Vocabulary, merges: MergeTable, characters: CharacterTokens) throws(QwenSFTError) {
        cache = try WordCache()
        longCache = try LongWordCache()
        self.characters = characters
        self.merges = merges
        merger = try BytePairMerger(merges: merges)
        own = try Self.resize(nil, to: Self.leastCapacity)
        ids = own
    }

    deinit {
        waiting.deallocate()
        merger.deallocate()
        free(own)
    }

    func append(_ id: Int32) throws(QwenSFTError) {
        try reserve(1)
        ids[count] = id
        count += 1
    }

    /// Appends the ids of normalized text.
    /// - Throws: `outOfMemory`.
    func append(words text: UnsafeBufferPointer<UInt8>) throws(QwenSFTError) {
        guard let base = text.baseAddress, text.count > 0 else { return }
        // A token per byte at most, and a cached word writes a whole block.
        try reserve(text.count + Self.slack)
        let end = base + text.count
        var output = ids + count
        var word = base
        while word < end {
            // The words of the next 64 bytes at once. What they become does not decide where the next one is looked for, so the
            // processor works on several at a time.
            var starts = qk_word_starts(word, end - word)
            if starts == 0 {
                // The last one, one that is longer than that, or a processor without the vector units.
                let wordEnd = PreTokenizer.endOfWord(word, end)
                output = append(word, wordEnd, end, to: output)
                word = wordEnd
                continue
            }
            let block = word
            repeat {
                let wordEnd = block + starts.trailingZeroBitCount
                output = append(word, wordEnd, end, to: output)
                word = wordEnd
                starts &= starts &- 1
            } while starts != 0
        }
        count = settle(output) - ids
        try merger.check()
    }

    /// Writes the ids of a word; returns where those of the next one go.
    @inline(__always)
    private func append(
        _ start: UTF8Pointer, _ wordEnd: UTF8Pointer, _ textEnd: UTF8Pointer, to output: UnsafeMutablePointer<Int32>
    ) -> UnsafeMutablePointer<Int32> {
        let length = wordEnd - start
        if length > WordCache.longestWord { return encode(start, wordEnd, nil, to: output) }
        let key = cache.key(start, count: length, readable: textEnd - start)
        let written = cache.read(key, to: output)
        return written > 0 ? output + written : encode(start, wordEnd, key, to: output)
    }

    /// A word whose ids the cache of short words does not have.
    @inline(never)
    private func encode(
        _ start: UTF8Pointer, _ end: UTF8Pointer, _ key: WordCache.Key?, to output: UnsafeMutablePointer<Int32>
    ) -> UnsafeMutablePointer<Int32> {
        let length = end - start
        if length > LongWordCache.longestWord {
            return output + merger.merge(output, count: characters.split(start, end, to: output))
        }
        if key.map(cache.isElsewhere) ?? true {
            let known = longCache.read(start, count: length, to: output)
            if known > 0 { return output + known }
        }
        let symbols = characters.split(start, end, to: output)
        let word = WaitingWords.Word(start: start, length: length, key: key, symbols: output, symbolCount: symbols)
        if symbols > 1, symbols <= Int(QK_MERGE_MOST) {
            waiting.append(word)
            return waiting.isFull ? settle(output + symbols) : output + symbols
        }
        let count = symbols == 1 ? 1 : merger.merge(output, count: symbols)
        remember(word, output, count)
        return output + count
    }

    /// Merges the words that wait; `end`: where the next word's ids would go. Returns where they go now.
    private func settle(_ end: UnsafeMutablePointer<Int32>) -> UnsafeMutablePointer<Int32> {
        waiting.closeGaps(merges.kernelTable, end: end) { remember($0, $1, $2) }
    }

    private func remember(_ word: WaitingWords.Word, _ ids: UnsafePointer<Int32>, _ count: Int) {
        if word.key == nil || count > WordCache.mostIDs {
            longCache.remember(word.start, count: word.length, ids, idCount: count)
        }
        if let key = word.key { cache.remember(key, ids, count: count) }
    }

    /// The ids so far.
    var result: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(start: ids, count: count) }

    /// Starts anew, in memory of its own.
    func reset() {
        count = 0
        if ownCapacity > Self.keptCapacity, let small = try? Self.resize(own, to: Self.leastCapacity) {
            (own, ownCapacity) = (small, Self.leastCapacity)
        }
        (ids, capacity) = (own, ownCapacity)
        if normalized.capacity > 4 * Self.keptCapacity { normalized = [] }
    }

    /// Ids go to the caller's memory, from its beginning, until `reset`; for text that surely needs no more.
    func lend(_ memory: UnsafeMutableBufferPointer<Int32>) {
        guard let base = memory.baseAddress else { return }
        (ids, capacity) = (base, memory.count)
    }

    private func reserve(_ more: Int) throws(QwenSFTError) {
        if capacity - count >= more { return }
        let larger = max(2 * capacity, count + more)
        // Ids in the caller's memory move into our own.
        let isLent = ids != own
        let old = ids
        own = try Self.resize(own, to: larger)
        if isLent { own.update(from: old, count: count) }
        ownCapacity = larger
        (ids, capacity) = (own, ownCapacity)
    }

    private static func resize(
        _ old: UnsafeMutablePointer<Int32>?, to capacity: Int
    ) throws(QwenSFTError) -> UnsafeMutablePointer<Int32> {
        guard let memory = realloc(old, capacity * MemoryLayout<Int32>.stride) else {
            throw QwenSFTError(.outOfMemory, "token ids: no memory for \(capacity) of them")
        }
        return memory.bindMemory(to: Int32.self, capacity: capacity)
    }
}

/// The workspaces of a tokenizer that are not in use.
final class EncodingWorkspacePool: Sendable {
    private let idle = Locked<[EncodingWorkspace]>([])
    private let make: @Sendable () throws(QwenSFTError) -> EncodingWorkspace

    init(_ make: @escaping @Sendable () throws(QwenSFTError) -> EncodingWorkspace) { self.make = make }

    func take() throws(QwenSFTError) -> EncodingWorkspace {
        if let workspace = idle.withLock({ $0.popLast() }) { return workspace }
        return try make()
    }

    func giveBack(_ workspace: EncodingWorkspace) {
        workspace.reset()
        idle.withLock { $0.append(workspace) }
    }
}
