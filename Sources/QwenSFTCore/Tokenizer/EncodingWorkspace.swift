import Synchronization

/// What encoding needs besides the tables: the word cache, scratch and the ids so far. Used by one thread at a time; kept
/// between calls, so that later texts find the words of earlier ones in the cache.
final class EncodingWorkspace: @unchecked Sendable {
    private let byteIDs: FlatArray<Int32>
    private let cache: WordCache
    private var longCache: LongWordCache
    private var merger: BytePairMerger
    /// Normalized text, where it differs from the text.
    var normalized: [UInt8] = []

    /// The ids written so far.
    private(set) var ids: UnsafeMutablePointer<Int32>
    private(set) var count = 0
    private var capacity = 1 << 14

    /// More is given back after a call; 16 MB.
    private static let keptCapacity = 1 << 22

    init(vocabulary: Vocabulary, merges: MergeTable, characters: CharacterTokens) throws(QwenSFTError) {
        cache = try WordCache()
        longCache = try LongWordCache()
        byteIDs = vocabulary.byteIDs
        merger = try BytePairMerger(merges: merges, characters: characters)
        ids = .allocate(capacity: capacity)
    }

    deinit {
        merger.deallocate()
        ids.deallocate()
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
        reserve(text.count + WordCache.mostIDs)
        let end = base + text.count
        var output = ids + count
        var p = base
        while p < end {
            let wordEnd = PreTokenizer.endOfWord(p, end)
            let length = wordEnd - p
            if length == 1 {
                output[0] = byteIDs.base[Int(p[0])]
                output += 1
            } else if length <= WordCache.longestWord {
                let key = cache.key(p, count: length, readable: end - p)
                var written = cache.read(key, to: output)
                if written == 0 { written = encode(p, wordEnd, key, to: output) }
                output += written
            } else {
                output += encode(p, wordEnd, nil, to: output)
            }
            p = wordEnd
        }
        count = output - ids
    }

    /// A word that the cache of short words does not know.
    @inline(never)
    private func encode(
        _ start: UTF8Pointer, _ end: UTF8Pointer, _ key: WordCache.Key?, to output: UnsafeMutablePointer<Int32>
    ) -> Int {
        let length = end - start
        if length > LongWordCache.longestWord { return merger.encode(start, end, to: output) }
        let hash = LongWordCache.hash(start, count: length)
        var written = longCache.read(start, count: length, hash: hash, to: output)
        if written == 0 {
            written = merger.encode(start, end, to: output)
            longCache.remember(start, count: length, hash: hash, output, idCount: written)
        }
        if let key, written <= WordCache.mostIDs { cache.remember(key, output, count: written) }
        return written
    }

    /// Hands out the ids and starts anew.
    func take<R>(_ body: (UnsafeBufferPointer<Int32>) -> R) -> R {
        let result = body(UnsafeBufferPointer(start: ids, count: count))
        count = 0
        if capacity > Self.keptCapacity {
            ids.deallocate()
            capacity = 1 << 14
            ids = .allocate(capacity: capacity)
        }
        if normalized.capacity > 4 * Self.keptCapacity { normalized = [] }
        return result
    }

    private func reserve(_ more: Int) {
        if capacity - count >= more { return }
        capacity = max(2 * capacity, count + more)
        let larger = UnsafeMutablePointer<Int32>.allocate(capacity: capacity)
        larger.update(from: ids, count: count)
        ids.deallocate()
        ids = larger
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
