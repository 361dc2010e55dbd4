import Glibc
import QwenSFTCore
import Testing

/// Attention against its definition: every token of a sequence attends to the tokens before it and to itself.
@Suite(.serialized, .processWide) struct AttentionTests {
    struct Case: CustomTestStringConvertible {
        let name: String
        let sequences: [[Int32]]
        var isShared = true
        var heads = 4, keyValueHeads = 2, d = 6
        var testDescription: String { name }

        static let all: [Case] = [
            .init(name: "one token", sequences: [[1]]),
            .init(name: "one segment", sequences: [tokens(9)], keyValueHeads: 4),
            .init(name: "several segments", sequences: [tokens(3), tokens(1), tokens(20)], isShared: false),
            .init(
                name: "blocks", sequences: [tokens(128), tokens(129), tokens(300)], isShared: false, heads: 3,
                keyValueHeads: 1, d: 4),
            .init(name: "shared beginning", sequences: [tokens(20) + [1, 2, 3], tokens(20) + [2, 4], tokens(20)]),
            .init(
                name: "shared by blocks and unevenly",
                sequences: [
                    tokens(150) + [1] + tokens(140), tokens(150) + [1] + tokens(10) + [9, 9], tokens(150) + [2, 2],
                    tokens(150),
                    [7] + tokens(12),
                ], heads: 2, keyValueHeads: 1, d: 4),
        ]

        static func tokens(_ count: Int) -> [Int32] { (0..<count).map { Int32(3 + $0 % 5) } }
    }

    let compute = Compute()

    /// context of every row, from queries | keys | values in rows.
    private func plain(_ states: [Double], _ layout: RowLayout, _ c: Case) -> [Double] {
        let (q, kv) = (c.heads * c.d, c.keyValueHeads * c.d)
        let ld = q + 2 * kv
        var context = [Double](repeating: .nan, count: layout.count * q)
        for rows in layout.rowOf {
            for position in rows.indices where context[Int(rows[position]) * q].isNaN {
                let row = Int(rows[position])
                for head in 0..<c.heads {
                    let group = head / (c.heads / c.keyValueHeads)
                    let scores = rows[...position].map { key in
                        (0..<c.d).reduce(0.0) {
                            $0 + states[row * ld + head * c.d + $1] * states[Int(key) * ld + q + group * c.d + $1]
                        } / Double(c.d).squareRoot()
                    }
                    let most = scores.max() ?? 0
                    let weights = scores.map { exp($0 - most) }
                    let sum = weights.reduce(0, +)
                    for i in 0..<c.d {
                        context[row * q + head * c.d + i] = zip(rows[...position], weights).reduce(0.0) {
                            $0 + $1.1 / sum * states[Int($1.0) * ld + q + kv + group * c.d + i]
                        }
                    }
                }
            }
        }
        return context
    }

    @Test(arguments: Case.all, [1, 2, 3])
    func forwardAndBackward(_ c: Case, threads: Int) throws {
        try with(threads: threads) {
            let layout = RowLayout(c.sequences, sharing: c.isShared)
            let shape = AttentionShape(heads: c.heads, keyValueHeads: c.keyValueHeads, headDimension: c.d)
            let (rows, q, ld) = (layout.count, shape.queryWidth, shape.width)
            var noise = Noise(rows)
            var states = noise.floats(rows * ld, scale: 2)
            var dContext = noise.floats(rows * q)
            var context = [Float](repeating: .nan, count: rows * q)
            var lse = [Float](repeating: .nan, count: rows * c.heads)
            var gradient = [Float](repeating: .nan, count: rows * ld)
            let plan = layout.attentionPlan
            let kv = shape.keyValueWidth
            try states.withUnsafeMutableBufferPointer { states in
                try context.withUnsafeMutableBufferPointer { context in
                    let start = states.baseAddress!
                    try Attention.forward(
                        context: .init(start: context.baseAddress!, ld: q), logSumExp: &lse, queryRows: rows,
                        query: .init(start: start, ld: ld), key: .init(start: start + q, ld: ld),
                        value: .init(start: start + q + kv, ld: ld), plan: plan, shape: shape, compute: compute)
                    try gradient.withUnsafeMutableBufferPointer { gradient in
                        try dContext.withUnsafeMutableBufferPointer { dContext in
                            try Attention.backward(
                                gradient: .init(start: gradient.baseAddress!, ld: ld),
                                states: .init(start: start, ld: ld),
                                context: .init(start: context.baseAddress!, ld: q),
                                dContext: .init(start: dContext.baseAddress!, ld: q), logSumExp: lse, rows: rows,
                                plan: plan,
                                shape: shape, compute: compute)
                        }
                    }
                }
            }
            #expect(worst(context, plain(states.doubles, layout, c)) < 2e-6)
            expectGradient(gradient, at: states.doubles, samples: rows > 100 ? 12 : 60) {
                dot(plain($0, layout, c), dContext)
            }
        }
    }

    /// New rows that attend to keys of earlier ones, as in generation, in pieces of several sizes.
    @Test(arguments: [[1, 1, 1], [5, 1, 1, 2], [130, 1, 140], [256, 3]])
    func withEarlierKeys(_ pieces: [Int]) throws {
        let shape = AttentionShape(heads: 4, keyValueHeads: 2, headDimension: 6)
        let c = Case(name: "", sequences: [Case.tokens(pieces.reduce(0, +))])
        let layout = RowLayout(c.sequences, sharing: false)
        let (rows, q, ld) = (layout.count, shape.queryWidth, shape.width)
        var noise = Noise(rows)
        var states = noise.floats(rows * ld, scale: 2)
        var context = [Float](repeating: .nan, count: rows * q)
        try states.withUnsafeMutableBufferPointer { states in
            try context.withUnsafeMutableBufferPointer { context in
                let start = states.baseAddress!
                var done = 0
                for piece in pieces {
                    try Attention.forward(
                        context: .init(start: context.baseAddress! + done * q, ld: q), logSumExp: nil, queryRows: piece,
                        query: .init(start: start + done * ld, ld: ld), key: .init(start: start + q, ld: ld),
                        value: .init(start: start + q + shape.keyValueWidth, ld: ld),
                        plan: AttentionPlan([.init(queries: 0..<piece, keys: [0..<done + piece], ahead: done)]),
                        shape: shape,
                        compute: compute)
                    done += piece
                }
            }
        }
        #expect(worst(context, plain(states.doubles, layout, c)) < 2e-6)
    }
}
