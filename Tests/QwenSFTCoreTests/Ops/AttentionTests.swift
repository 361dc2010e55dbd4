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
            _ saved: Attention.Saved, _ plan: AttentionPlan, _ shape: AttentionShape, _ compute: Compute
        ) throws {
            try (self == .float32 ? Attention.forward : BFloat16Attention.forward)(saved, plan, shape, compute)
        }

        func backward(
            _ gradient: MutableMatrix<Float>, dContext: Matrix<Float>, _ saved: Attention.Saved,
            _ plan: AttentionPlan, _ shape: AttentionShape, _ compute: Compute
        ) throws {
            try (self == .float32 ? Attention.backward : BFloat16Attention.backward)(
                gradient, dContext, saved, plan, shape, compute)
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
        let states = TestMatrix(noise.floats(rows * ld, scale: 2), rows, ld)
        let dContext = TestMatrix(noise.floats(rows * q), rows, q)
        let expected = plain(states.values.doubles, layout, c)
        for (threads, limit) in [(1, InstructionSet.avx512BF16), (2, .avx512BF16), (3, .plain)] {
            let context = TestMatrix([Float](repeating: .nan, count: rows * q), rows, q)
            let lse = TestMatrix([Float](repeating: .nan, count: rows * c.heads), c.heads, rows)
            let gradient = TestMatrix([Float](repeating: .nan, count: rows * ld), rows, ld)
            let plan = layout.attentionPlan
            try withExtendedLifetime((states, dContext, context, lse, gradient)) {
                try with(threads: threads) {
                    try withInstructionSet(limit) {
                        let saved = Attention.Saved(states: states.view, logSumExp: lse.view, context: context.view)
                        try products.forward(saved, plan, shape, compute)
                        try products.backward(
                            gradient.view, dContext: dContext.readOnly, saved, plan, shape, compute)
                    }
                }
            }
            #expect(worst(context.values, expected) < products.tolerance)
            let dOut = dContext.values
            expectGradient(
                gradient.values, at: states.values.doubles, samples: rows > 100 ? 12 : 60,
                tolerance: products.gradientTolerance
            ) {
                dot(plain($0, layout, c), dOut)
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
        let states = TestMatrix(noise.floats(rows * ld, scale: 2), rows, ld)
        let context = TestMatrix([Float](repeating: .nan, count: rows * q), rows, q)
        let lse = TestMatrix([Float](repeating: .nan, count: rows * 4), 4, rows)
        var segments: [AttentionPlan.Segment] = []
        for piece in pieces {
            let done = segments.last?.queries.upperBound ?? 0
            segments.append(.init(queries: done..<done + piece, keys: [0..<done + piece], ahead: done))
        }
        try withExtendedLifetime((states, context, lse)) {
            let saved = Attention.Saved(states: states.view, logSumExp: lse.view, context: context.view)
            try products.forward(saved, AttentionPlan(segments), shape, compute)
        }
        #expect(worst(context.values, plain(states.values.doubles, layout, c)) < products.tolerance)
    }
}
