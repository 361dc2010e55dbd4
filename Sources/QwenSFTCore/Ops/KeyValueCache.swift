/// Keys and values of the tokens that a generation has seen, in every layer (`CachedKeyValues` has the order).
///
/// Memory comes in blocks of some hundred tokens when they are needed: growing copies nothing.
final class KeyValueCache {
    /// Tokens in the cache.
    private(set) var count = 0
    private let layers: Int
    private let shape: AttentionShape
    /// Tokens at most.
    private let context: Int
    private let form: CachedKeyValues.Form
    private var memory: [Memory] = []
    /// Where the blocks begin, for as many as the context has.
    private let blocks: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private let mostBlocks: Int

    private final class Memory {
        let buffer: HugeBuffer
        init(byteCount: Int) throws(QwenSFTError) {
            buffer = try HugeBuffer(byteCount: byteCount, purpose: "the key-value cache")
        }
    }

    /// An empty one.
    init(layers: Int, shape: AttentionShape, context: Int, form: CachedKeyValues.Form) {
        self.layers = layers
        self.shape = shape
        self.context = context
        self.form = form
        mostBlocks = max(1, (context + CachedKeyValues.blockTokens - 1) / CachedKeyValues.blockTokens)
        blocks = .allocate(capacity: mostBlocks)
    }

    deinit { blocks.deallocate() }

    var byteCount: Int { memory.reduce(0) { $0 + $1.buffer.byteCount } }

    private var layerByteCount: Int {
        shape.keyValueHeads * CachedKeyValues.byteCount(form, headDimension: shape.headDimension)
    }

    /// Makes room for `count` tokens.
    /// - Throws: `tooLong` beyond the context, `outOfMemory`.
    func reserve(_ count: Int) throws(QwenSFTError) {
        guard count <= context else {
            throw QwenSFTError(.tooLong, "\(count) tokens are more than the model's context of \(context)")
        }
        while memory.count * CachedKeyValues.blockTokens < count, memory.count < mostBlocks {
            let next = try Memory(byteCount: layers * layerByteCount)
            (blocks + memory.count).initialize(to: next.buffer.base)
            memory.append(next)
        }
    }

    /// Counts tokens that were stored in all layers.
    func append(_ tokens: Int) { count += tokens }

    /// Forgets the tokens after the first `count`.
    func truncate(to count: Int) { self.count = min(self.count, count) }

    func layer(_ index: Int) -> CachedKeyValues {
        CachedKeyValues(
            form: form, shape: shape, blocks: UnsafePointer(blocks), offset: index * layerByteCount)
    }
}
