import CText
import Libc

/// New words on their way to become ids. A merge has to wait for the table that says what the next one is, so up to four words
/// are kept until the processor can work on one while it waits for another (`qk_merge_words`).
///
/// A waiting word has its symbols already in the output, and the ids of later words stand behind them. Merged, it leaves a gap;
/// `closeGaps` moves the later ones up.
struct WaitingWords {
    struct Word {
        let start: UTF8Pointer
        let length: Int
        /// Of a short one, for the cache.
        let key: WordCache.Key?
        let symbols: UnsafeMutablePointer<Int32>
        let symbolCount: Int
    }

    private let words: UnsafeMutablePointer<Word>
    /// The same words for the kernel.
    private let merging: UnsafeMutablePointer<qk_merge_word>
    private(set) var count = 0

    private static let capacity = Int(QK_MERGE_WORDS)

    init() {
        words = .allocate(capacity: Self.capacity)
        merging = .allocate(capacity: Self.capacity)
    }

    func deallocate() {
        words.deallocate()
        merging.deallocate()
    }

    var isFull: Bool { count == Self.capacity }

    mutating func append(_ word: Word) {
        (words + count).initialize(to: word)
        merging[count] = qk_merge_word(symbols: word.symbols, count: Int64(word.symbolCount))
        count += 1
    }

    /// Merges them. What they became, and then all that follows up to `end`, moves up; returns the new end. `merged` is told the
    /// ids of each.
    mutating func closeGaps(
        _ table: qk_merge_table, end: UnsafeMutablePointer<Int32>,
        _ merged: (Word, UnsafePointer<Int32>, _ count: Int) -> Void
    ) -> UnsafeMutablePointer<Int32> {
        if count == 0 { return end }
        for i in count..<Self.capacity { merging[i] = qk_merge_word(symbols: nil, count: 0) }
        var table = table
        qk_merge_words(&table, merging)
        var output = merging[0].symbols ?? end
        for i in 0..<count {
            let word = words[i]
            let idCount = Int(merging[i].count)
            merged(word, word.symbols, idCount)
            output = Self.move(word.symbols, word.symbols + idCount, to: output)
            let next = i + 1 < count ? words[i + 1].symbols : end
            output = Self.move(word.symbols + word.symbolCount, next, to: output)
        }
        count = 0
        return output
    }

    @inline(__always)
    private static func move(
        _ start: UnsafeMutablePointer<Int32>, _ end: UnsafeMutablePointer<Int32>, to output: UnsafeMutablePointer<Int32>
    ) -> UnsafeMutablePointer<Int32> {
        memmove(output, start, (end - start) * MemoryLayout<Int32>.stride)
        return output + (end - start)
    }
}
