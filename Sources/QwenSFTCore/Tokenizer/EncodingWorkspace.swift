import CKernels
import Synchronization

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
    private var capacity = 1 << 14
    private var own: UnsafeMutablePointer<Int32>
    private var ownCapacity = 1 << 14

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
        own = .allocate(capacity: ownCapacity)
        ids = own
    }

    deinit {
        waiting.deallocate()
        merger.deallocate()
        own.deallocate()
    }

    func append(_ id: Int32) {
        reserve(1)
        ids[count] = id
        count += 1
    }

    /// Appends the ids of normalized text.
    func append(words text: UnsafeBufferPointer<UInt8>) {
        guard let base = text.baseAddress, text.count > 0 else { return }
        // A token per byte at most, and a cached word writes a whole block.
        reserve(text.count + Self.slack)
        let end = base + text.count
        var output = ids + count
        var word = base
        let wordStarts = qk_word_starts_function()
        while word < end {
            // The words of the next 64 bytes at once. What they become does not decide where the next one is looked for, so the
            // processor works on several at a time.
            var starts = wordStarts?(word, end - word) ?? 0
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
        if symbols > 1, symbols <= Int(QK_MERGE_MOST), qk_merge_words_function() != nil {
            waiting.append(word)
            return waiting.isFull ? settle(output + symbols) : output + symbols
        }
        let count = symbols == 1 ? 1 : merger.merge(output, count: symbols)
        remember(word, output, count)
        return output + count
    }

    /// Merges the words that wait; `end`: where the next word's ids would go. Returns where they go now.
    private func settle(_ end: UnsafeMutablePointer<Int32>) -> UnsafeMutablePointer<Int32> {
        guard let mergeWords = qk_merge_words_function() else { return end }
        return waiting.closeGaps(mergeWords, merges.kernelTable, end: end) { remember($0, $1, $2) }
    }

    private func remember(_ word: WaitingWords.Word, _ ids: UnsafePointer<Int32>, _ count: Int) {
        if word.key == nil || count > WordCache.mostIDs {
            longCache.remember(word.start, count: word.length, ids, idCount: count)
        }
        if let key = word.key { cache.remember(key, ids, count: count) }
    }

    /// Hands out the ids and starts anew.
    func take<R>(_ body: (UnsafeBufferPointer<Int32>) -> R) -> R {
        let result = body(UnsafeBufferPointer(start: ids, count: count))
        count = 0
        if ownCapacity > Self.keptCapacity {
            own.deallocate()
            ownCapacity = 1 << 14
            own = .allocate(capacity: ownCapacity)
        }
        (ids, capacity) = (own, ownCapacity)
        if normalized.capacity > 4 * Self.keptCapacity { normalized = [] }
        return result
    }

    /// Ids go to the caller's memory, from its beginning, until `take`; for text that surely needs no more.
    func lend(_ memory: UnsafeMutableBufferPointer<Int32>) {
        guard let base = memory.baseAddress else { return }
        (ids, capacity) = (base, memory.count)
    }

    private func reserve(_ more: Int) {
        if capacity - count >= more { return }
        let largerCapacity = max(2 * capacity, count + more)
        let larger = UnsafeMutablePointer<Int32>.allocate(capacity: largerCapacity)
        larger.update(from: ids, count: count)
        own.deallocate()
        (own, ownCapacity) = (larger, largerCapacity)
        (ids, capacity) = (own, ownCapacity)
    }
}

/// The workspaces of a tokenizer that are not in use.
final class EncodingWorkspacePool: Sendable {
    private let idle = Mutex<[EncodingWorkspace]>([])
    private let make: @Sendable () throws(QwenSFTError) -> EncodingWorkspace

    init(_ make: @escaping @Sendable () throws(QwenSFTError) -> EncodingWorkspace) { self.make = make }

    func take() throws(QwenSFTError) -> EncodingWorkspace {
        if let workspace = idle.withLock({ $0.popLast() }) { return workspace }
        return try make()
    }

    func giveBack(_ workspace: EncodingWorkspace) { idle.withLock { $0.append(workspace) } }
}
