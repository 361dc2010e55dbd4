/// Keys and values of the tokens that a generation has seen, per layer: (capacity, key-value width) in float32.
final class KeyValueCache {
    struct Layer {
        let keyRows: Attention.Rows
        let valueRows: Attention.Rows
        fileprivate let start: Int
        fileprivate let width: Int

        /// Appends the keys and values of new rows; their count is added to the cache after the last layer.
        func store(key: Attention.Rows, value: Attention.Rows, rows: Int) {
            for row in 0..<rows {
                keyRows.at(start + row, 0).update(from: key.at(row, 0), count: width)
                valueRows.at(start + row, 0).update(from: value.at(row, 0), count: width)
            }
        }
    }

    /// Tokens in the cache.
    var count = 0
    let capacity: Int
    private let width: Int
    private let memory: HugeBuffer

    init(_ c: Configuration, capacity: Int) throws(QwenSFTError) {
        self.capacity = capacity
        width = c.attention.keyValueWidth
        memory = try HugeBuffer(byteCount: c.layers * 2 * capacity * width * 4, purpose: "the key-value cache")
    }

    /// Forgets the tokens after the first `count`.
    func truncate(to count: Int) { self.count = min(self.count, count) }

    func layer(_ index: Int) -> Layer {
        let start = memory.floats + index * 2 * capacity * width
        return Layer(
            keyRows: .init(start: start, ld: width), valueRows: .init(start: start + capacity * width, ld: width), start: count,
            width: width)
    }
}
