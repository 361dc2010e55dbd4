/// Who attends to whom, as row ranges: the same for every layer and head.
package struct AttentionPlan {
    package struct Segment {
        /// Rows that ask, in order of their positions.
        package let queries: Range<Int>
        /// Rows they see. All of the ranges but the last, and of the last the first `ahead` rows and one more for every query.
        package let keys: [Range<Int>]
        package let ahead: Int

        package init(queries: Range<Int>, keys: [Range<Int>], ahead: Int) {
            self.queries = queries
            self.keys = keys
            self.ahead = ahead
        }
    }
    /// Some queries of a segment, and the cost of all blocks up to and including this one.
    package struct Block {
        package let segment: Int
        package let queries: Range<Int>
        package let costSoFar: Int
    }

    package let segments: [Segment]
    package let blocks: [Block]

    /// Queries and keys of one score matrix: 128 × 128 floats stay in the L1 and L2 caches.
    static let blockRows = 128

    package init(_ segments: [Segment]) {
        self.segments = segments
        var blocks: [Block] = []
        var cost = 0
        for (index, segment) in segments.enumerated() {
            let before = segment.keys.dropLast().reduce(segment.ahead) { $0 + $1.count }
            var start = segment.queries.lowerBound
            while start < segment.queries.upperBound {
                let end = min(start + Self.blockRows, segment.queries.upperBound)
                cost += (end - start) * (before + end - segment.queries.lowerBound + 64)
                blocks.append(Block(segment: index, queries: start..<end, costSoFar: cost))
                start = end
            }
        }
        self.blocks = blocks
    }

    /// Calls `body` with every (head, block) of `worker`'s share, cut by cost.
    package func forEach(of worker: ThreadPool.Worker, heads: Int, _ body: (_ head: Int, _ block: Block) -> Void) {
        guard let whole = blocks.last?.costSoFar else { return }
        let total = whole * heads
        for head in 0..<heads {
            var before = 0
            for block in blocks {
                let middle = head * whole + (before + block.costSoFar) / 2
                before = block.costSoFar
                if middle * worker.count / total == worker.index { body(head, block) }
            }
        }
    }
}

/// Sizes of grouped-query attention: `heads` query heads share `keyValueHeads` heads of keys and values.
package struct AttentionShape {
    let heads: Int
    let keyValueHeads: Int
    let headDimension: Int

    package init(heads: Int, keyValueHeads: Int, headDimension: Int) {
        self.heads = heads
        self.keyValueHeads = keyValueHeads
        self.headDimension = headDimension
    }

    /// A head filled up to whole vectors of the bfloat16 kernels.
    var paddedDimension: Int { roundUp(headDimension, 16) }
    package var queryWidth: Int { heads * headDimension }
    package var keyValueWidth: Int { keyValueHeads * headDimension }
    /// Width of a row that holds queries, keys and values side by side.
    package var width: Int { queryWidth + 2 * keyValueWidth }
    func keyValueHead(of head: Int) -> Int { head / (heads / keyValueHeads) }
}
