import CKernels
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
            .init(name: "wide heads", sequences: [tokens(65), tokens(131)], isShared: false, heads: 2, d: 80),
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

    /// The two ways that products are made, and how far from the definition they may be, relative to the largest number:
    /// twice what was measured, which for bfloat16 is 5.1e-3 and, of gradients, 2.8e-3 (its numbers have 8 bits).
    enum Products: CaseIterable {
        case float32, bfloat16

        func forward(
            _ context: Attention.Rows, _ logSumExp: UnsafeMutablePointer<Float>, _ states: Attention.Rows, _ rows: Int,
            _ plan: AttentionPlan, _ shape: AttentionShape, _ compute: Compute
        ) throws {
            try (self == .float32 ? Attention.forward : BFloat16Attention.forward)(
                context, logSumExp, states, rows, plan, shape, compute)
        }

        func backward(
            _ gradient: Attention.Rows, _ states: Attention.Rows, _ context: Attention.Rows, _ dContext: Attention.Rows,
            _ logSumExp: UnsafePointer<Float>, _ rows: Int, _ plan: AttentionPlan, _ shape: AttentionShape,
            _ compute: Compute
        ) throws {
            try (self == .float32 ? Attention.backward : BFloat16Attention.backward)(
                gradient, states, context, dContext, logSumExp, rows, plan, shape, compute)
        }

        var tolerance: Double { self == .float32 ? 2e-6 : 1e-2 }
        var gradientTolerance: Double { self == .float32 ? 1e-5 : 6e-3 }
    }

    @Test(arguments: Case.all, Products.allCases)
    func forwardAndBackward(_ c: Case, products: Products) throws {
        let layout = RowLayout(c.sequences, sharing: c.isShared)
        let shape = AttentionShape(heads: c.heads, keyValueHeads: c.keyValueHeads, headDimension: c.d)
        let (rows, q, ld) = (layout.count, shape.queryWidth, shape.width)
        var noise = Noise(rows)
        var states = noise.floats(rows * ld, scale: 2)
        var dContext = noise.floats(rows * q)
        let expected = plain(states.doubles, layout, c)
        for (threads, limit) in [(1, QK_ISA_AVX512_BF16), (2, QK_ISA_AVX512_BF16), (3, QK_ISA_SCALAR)] {
            var context = [Float](repeating: .nan, count: rows * q)
            var lse = [Float](repeating: .nan, count: rows * c.heads)
            var gradient = [Float](repeating: .nan, count: rows * ld)
            let plan = layout.attentionPlan
            try with(threads: threads) {
                try withInstructionSet(limit) {
                    try states.withUnsafeMutableBufferPointer { states in
                        try context.withUnsafeMutableBufferPointer { context in
                            try gradient.withUnsafeMutableBufferPointer { gradient in
                                try dContext.withUnsafeMutableBufferPointer { dContext in
                                    let states = Attention.Rows(start: states.baseAddress!, ld: ld)
                                    let context = Attention.Rows(start: context.baseAddress!, ld: q)
                                    try products.forward(context, &lse, states, rows, plan, shape, compute)
                                    try products.backward(
                                        .init(start: gradient.baseAddress!, ld: ld), states, context,
                                        .init(start: dContext.baseAddress!, ld: q), lse, rows, plan, shape, compute)
                                }
                            }
                        }
                    }
                }
            }
            #expect(worst(context, expected) < products.tolerance)
            expectGradient(
                gradient, at: states.doubles, samples: rows > 100 ? 12 : 60, tolerance: products.gradientTolerance
            ) {
                dot(plain($0, layout, c), dContext)
            }
        }
    }

    /// Rows that come in pieces and attend to all earlier ones.
    @Test(arguments: [[1, 1, 1], [5, 1, 1, 2], [130, 1, 140], [256, 3]], Products.allCases)
    func withEarlierKeys(_ pieces: [Int], products: Products) throws {
        let shape = AttentionShape(heads: 4, keyValueHeads: 2, headDimension: 6)
        let c = Case(name: "", sequences: [Case.tokens(pieces.reduce(0, +))])
        let layout = RowLayout(c.sequences, sharing: false)
        let (rows, q, ld) = (layout.count, shape.queryWidth, shape.width)
        var noise = Noise(rows)
        var states = noise.floats(rows * ld, scale: 2)
        var context = [Float](repeating: .nan, count: rows * q)
        var lse = [Float](repeating: .nan, count: rows * 4)
        var segments: [AttentionPlan.Segment] = []
        for piece in pieces {
            let done = segments.last?.queries.upperBound ?? 0
            segments.append(.init(queries: done..<done + piece, keys: [0..<done + piece], ahead: done))
        }
        try states.withUnsafeMutableBufferPointer { states in
            try context.withUnsafeMutableBufferPointer { context in
                try products.forward(
                    .init(start: context.baseAddress!, ld: q), &lse, .init(start: states.baseAddress!, ld: ld), rows,
                    AttentionPlan(segments), shape, compute)
            }
        }
        #expect(worst(context, plain(states.doubles, layout, c)) < products.tolerance)
    }
}
