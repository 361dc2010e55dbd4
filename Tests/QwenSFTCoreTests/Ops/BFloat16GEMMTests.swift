import CKernels
import QwenSFTCore
import Testing

/// Each product against a float64 sum, on sizes around the boundaries of blocks, for every variant.
@Suite(.serialized, .processWide) struct BFloat16GEMMTests {
    enum Variant: String, CaseIterable {
        case blocks, scalarBlocks, panels, scalarPanels

        var algorithm: BFloat16GEMM.Algorithm { self == .blocks || self == .scalarBlocks ? .blocks : .panels }
        var isa: Int { self == .scalarBlocks || self == .scalarPanels ? QK_ISA_SCALAR : QK_ISA_AVX512_BF16 }
        /// Widening instead of rounding the activations is the panels' privilege.
        var roundsActivations: Bool { algorithm == .blocks }
        /// The plain definitions are slow.
        var sizes: [Size] { self == .scalarBlocks ? Array(Size.all.prefix(12)) : Size.all }
    }

    struct Size: CustomStringConvertible {
        let rows: Int, outputs: Int, inputs: Int
        var description: String { "\(rows)x\(outputs)x\(inputs)" }
        static let all = [
            (1, 1, 1), (1, 16, 2), (2, 3, 5), (5, 17, 31), (7, 48, 64), (13, 33, 67), (16, 64, 128), (17, 49, 65),
            (31, 97, 130), (33, 80, 100), (50, 100, 192), (64, 144, 96), (65, 129, 257), (80, 112, 448), (96, 30, 63),
            (129, 95, 161), (130, 64, 1024), (200, 18, 34), (257, 52, 70), (300, 700, 66), (1, 1300, 896),
            (40, 66, 5000),
            (64, 900, 2500), (1030, 20, 40), (1100, 70, 1300), (2100, 50, 96), (3, 9000, 20),
        ].map { Size(rows: $0.0, outputs: $0.1, inputs: $0.2) }
    }

    @Test(arguments: Variant.allCases, [false, true])
    func forwardIsTheSum(_ variant: Variant, accumulate: Bool) throws {
        let arena = Arena(purpose: "scratch")
        for size in variant.sizes {
            let (m, n, k) = (size.rows, size.outputs, size.inputs)
            let x = TestMatrix(m, k, stride: k + 3, seed: 1)
            let w = TestMatrix(n, k, seed: 2).bfloat16
            var y = TestMatrix(m, n, stride: n + 5, seed: 3)
            let old = y
            try withInstructionSet(variant.isa) {
                try BFloat16GEMM.forward(
                    &y.values, yStride: y.stride, x.values, xStride: x.stride, w, rows: m, outputs: n, inputs: k,
                    accumulate: accumulate, arena: arena, threads: 1 + size.rows % 3, algorithm: variant.algorithm)
            }
            let a = x.operand(rounded: variant.roundsActivations)
            let b = w.map(wide)
            expectClose(y, old, accumulate: accumulate, "\(size)") { r, c in
                dot(k) { (a[r * k + $0], b[c * k + $0]) }
            }
        }
    }

    @Test(arguments: Variant.allCases, [false, true])
    func inputGradientIsTheSum(_ variant: Variant, accumulate: Bool) throws {
        let arena = Arena(purpose: "scratch")
        for size in variant.sizes {
            let (m, n, k) = (size.rows, size.outputs, size.inputs)
            let dy = TestMatrix(m, n, stride: n + 3, seed: 4)
            let w = TestMatrix(n, k, seed: 5).bfloat16
            var dx = TestMatrix(m, k, stride: k + 5, seed: 6)
            let old = dx
            try withInstructionSet(variant.isa) {
                try BFloat16GEMM.inputGradient(
                    &dx.values, dxStride: dx.stride, dy.values, dyStride: dy.stride, w, rows: m, outputs: n, inputs: k,
                    accumulate: accumulate, arena: arena, threads: 1 + size.rows % 3, algorithm: variant.algorithm)
            }
            let a = dy.operand(rounded: variant.roundsActivations)
            let b = w.map(wide)
            expectClose(dx, old, accumulate: accumulate, "\(size)") { r, c in
                dot(n) { (a[r * n + $0], b[$0 * k + c]) }
            }
        }
    }

    @Test(arguments: Variant.allCases, [Float(0), 1, 0.75])
    func weightGradientIsTheSum(_ variant: Variant, beta: Float) throws {
        let arena = Arena(purpose: "scratch")
        for size in variant.sizes {
            let (m, n, k) = (size.rows, size.outputs, size.inputs)
            let dy = TestMatrix(m, n, stride: n + 3, seed: 7)
            let x = TestMatrix(m, k, stride: k + 1, seed: 8)
            // A gradient that was never written must not be read.
            var target = TestMatrix(n, k, seed: 9)
            let old = target
            if beta == 0 { target.values = [Float](repeating: .nan, count: n * k) }
            try withInstructionSet(variant.isa) {
                try target.values.withUnsafeMutableBufferPointer { target in
                    try BFloat16GEMM.weightGradient(
                        .buffer(#require(target.baseAddress), alpha: 0.5, beta: beta), dy.values, dyStride: dy.stride,
                        x.values, xStride: x.stride, rows: m, outputs: n, inputs: k, arena: arena,
                        threads: 1 + size.rows % 3, algorithm: variant.algorithm)
                }
            }
            let a = dy.operand(rounded: variant.roundsActivations)
            let b = x.operand(rounded: variant.roundsActivations)
            expectClose(target, old, scale: Double(beta), accumulate: beta != 0, "\(size)") { r, c in
                let sum = dot(m) { (a[$0 * n + r], b[$0 * k + c]) }
                return (sum.value / 2, sum.magnitude / 2)
            }
        }
    }

    /// The update of a bfloat16 weight rounds the float32 update of the same weight, once.
    @Test(arguments: Variant.allCases, [false, true])
    func updateRoundsTheFloat32Update(_ variant: Variant, stochastic: Bool) throws {
        let arena = Arena(purpose: "scratch")
        let key = RoundingKey(seed: 1, step: 2, stream: 3)
        for size in variant.sizes {
            let (m, n, k) = (size.rows, size.outputs, size.inputs)
            let dy = TestMatrix(m, n, seed: 10).values
            let x = TestMatrix(m, k, seed: 11).values
            var weight = TestMatrix(n, k, seed: 12).bfloat16
            var exact = weight.map { qk_f32_from_bf16($0) }
            try withInstructionSet(variant.isa) {
                let rounding = stochastic ? Rounding.stochastic(key) : .nearest
                try weight.withUnsafeMutableBufferPointer { weight in
                    try exact.withUnsafeMutableBufferPointer { exact in
                        for target in try [
                            GradientTarget.weight(
                                #require(weight.baseAddress), alpha: -0.01, beta: 0.99, rounding: rounding),
                            .buffer(#require(exact.baseAddress), alpha: -0.01, beta: 0.99),
                        ] {
                            try BFloat16GEMM.weightGradient(
                                target, dy, x, rows: m, outputs: n, inputs: k, arena: arena, threads: 2,
                                algorithm: variant.algorithm)
                        }
                    }
                }
            }
            var wrong = 0
            for r in 0..<n {
                for c in 0..<k {
                    let value = exact[r * k + c]
                    let got = weight[r * k + c]
                    let rowCounter = UInt32(truncatingIfNeeded: UInt64(r) * qk_counters_per_row(UInt64(k)))
                    let noise = qk_round_noise(key.kernelKey, rowCounter, UInt64(c))
                    let expected = stochastic ? UInt16((value.bitPattern + noise) >> 16) : qk_bf16_from_f32(value)
                    if got != expected { wrong += 1 }
                }
            }
            #expect(wrong == 0, "\(size)")
        }
    }

    /// The three products of one layer: Y, dX, the gradient dW and a weight updated with it.
    struct Products: Equatable {
        var y: [Float], dx: [Float], dw: [Float]
        var updated: [UInt16]

        init(_ algorithm: BFloat16GEMM.Algorithm, threads: Int) throws {
            let arena = Arena(purpose: "scratch")
            let (m, n, k) = (70, 300, 500)
            let x = TestMatrix(m, k, seed: 13).values
            let dy = TestMatrix(m, n, seed: 14).values
            let w = TestMatrix(n, k, seed: 15).bfloat16
            (y, dx, dw) = ([Float](repeating: 0, count: m * n), [Float](repeating: 0, count: m * k), [])
            (dw, updated) = ([Float](repeating: 0, count: n * k), w)
            try BFloat16GEMM.forward(
                &y, x, w, rows: m, outputs: n, inputs: k, arena: arena, threads: threads, algorithm: algorithm)
            try BFloat16GEMM.inputGradient(
                &dx, dy, w, rows: m, outputs: n, inputs: k, arena: arena, threads: threads, algorithm: algorithm)
            func weightGradient(_ target: GradientTarget) throws {
                try BFloat16GEMM.weightGradient(
                    target, dy, x, rows: m, outputs: n, inputs: k, arena: arena, threads: threads, algorithm: algorithm)
            }
            try dw.withUnsafeMutableBufferPointer {
                try weightGradient(.buffer(#require($0.baseAddress), beta: 0))
            }
            try updated.withUnsafeMutableBufferPointer {
                let rounding = Rounding.stochastic(RoundingKey(seed: 5, step: 6, stream: 7))
                try weightGradient(.weight(#require($0.baseAddress), alpha: -1e-4, rounding: rounding))
            }
        }
    }

    /// Blocks add up each element in one order, whoever computes it.
    @Test(arguments: [Variant.blocks, .scalarBlocks])
    func blocksDoNotDependOnTheThreads(_ variant: Variant) throws {
        try withInstructionSet(variant.isa) {
            let one = try Products(variant.algorithm, threads: 1)
            for threads in [2, 3, 7] {
                let isSame = try Products(variant.algorithm, threads: threads) == one
                #expect(isSame, "\(threads) threads")
            }
        }
    }

    /// OpenBLAS orders a sum as the shape of the worker's part suits it: as many threads give the same bits, others a result
    /// that differs by rounding.
    @Test(arguments: [Variant.panels, .scalarPanels])
    func panelsDependOnTheThreadsByRoundingOnly(_ variant: Variant) throws {
        try withInstructionSet(variant.isa) {
            let one = try Products(variant.algorithm, threads: 1)
            for threads in [1, 2, 3, 7] {
                let some = try Products(variant.algorithm, threads: threads)
                let isSame = try Products(variant.algorithm, threads: threads) == some
                #expect(isSame, "\(threads) threads")
                // Sums of up to 500 products of numbers in -1 … 1 stay below 50; measured 6e-6.
                for (a, b) in [(some.y, one.y), (some.dx, one.dx), (some.dw, one.dw)] {
                    let worst = zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
                    #expect(worst < 2e-5, "\(threads) threads")
                }
            }
        }
    }

    /// A hundred steps far below half a bfloat16 step each: stochastic rounding arrives where exact arithmetic does.
    @Test func stochasticUpdatesAreUnbiased() throws {
        let arena = Arena(purpose: "scratch")
        let (m, n, k) = (4, 96, 128)
        let dy = TestMatrix(m, n, seed: 16).values
        let x = TestMatrix(m, k, seed: 17).values
        let start = [UInt16](repeating: qk_bf16_from_f32(1.5), count: n * k)
        var gradient = [Float](repeating: 0, count: n * k)
        try gradient.withUnsafeMutableBufferPointer {
            try BFloat16GEMM.weightGradient(
                .buffer(#require($0.baseAddress), beta: 0), dy, x, rows: m, outputs: n, inputs: k, arena: arena)
        }
        let alpha: Float = 2e-4
        func moved(_ rounding: (UInt64) -> Rounding) throws -> [Double] {
            var w = start
            for step in 0..<100 {
                try w.withUnsafeMutableBufferPointer {
                    try BFloat16GEMM.weightGradient(
                        .weight(#require($0.baseAddress), alpha: alpha, rounding: rounding(UInt64(step))), dy, x,
                        rows: m, outputs: n, inputs: k, arena: arena)
                }
            }
            return w.map { wide($0) - 1.5 }
        }
        let stuck = try moved { _ in .nearest }
        let isStuck = stuck.allSatisfy { $0 == 0 }
        #expect(isStuck)
        let got = try moved { .stochastic(RoundingKey(seed: 18, step: $0, stream: 0)) }
        // Slope of the regression of the way gone on the way asked for; one weight strays by some sqrt(100 p) steps.
        let asked = gradient.map { 100 * Double(alpha) * Double($0) }
        let slope = zip(got, asked).reduce(0) { $0 + $1.0 * $1.1 } / asked.reduce(0) { $0 + $1 * $1 }
        #expect(abs(slope - 1) < 0.02)
        let bias = (got.reduce(0, +) - asked.reduce(0, +)) / Double(n * k)
        let step = 1.0 / 128
        #expect(abs(bias) < 0.1 * step)
    }

    @Test func infinitiesAndNaNsStayWhatTheyAre() throws {
        let arena = Arena(purpose: "scratch")
        let special: [Float] = [.infinity, -.infinity, .nan, -.nan, Float(bitPattern: 0x7fff_ffff), 3.0e38, 0, -0.0]
        for rounding in [Rounding.nearest, .stochastic(RoundingKey(seed: 1, step: 1, stream: 1))] {
            for variant in Variant.allCases {
                var w = (0..<40).map { qk_bf16_from_f32(special[$0 % 8]) }
                try withInstructionSet(variant.isa) {
                    try w.withUnsafeMutableBufferPointer {
                        try BFloat16GEMM.weightGradient(
                            .weight(#require($0.baseAddress), alpha: 1, rounding: rounding), [0],
                            [Float](repeating: 0, count: 40),
                            rows: 1, outputs: 1, inputs: 40, arena: arena, algorithm: variant.algorithm)
                    }
                }
                for i in 0..<40 {
                    let value = qk_f32_from_bf16(w[i])
                    let old = special[i % 8]
                    #expect(old.isNaN ? value.isNaN : value == qk_f32_from_bf16(qk_bf16_from_f32(old)))
                }
            }
        }
    }
}

// MARK: Material

func wide(_ x: UInt16) -> Double { Double(qk_f32_from_bf16(x)) }

/// Reproducible numbers in -1 … 1, NaN between the rows: reading or writing there shows.
struct TestMatrix {
    let rows: Int, columns: Int, stride: Int
    var values: [Float]

    init(_ rows: Int, _ columns: Int, stride: Int? = nil, seed: UInt64) {
        (self.rows, self.columns, self.stride) = (rows, columns, stride ?? columns)
        values = [Float](repeating: .nan, count: rows * self.stride)
        var state = seed &* 0x9e37_79b9_7f4a_7c15
        for r in 0..<rows {
            for c in 0..<columns {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                values[r * self.stride + c] = Float(Int64(bitPattern: state) >> 40) / Float(1 << 23)
            }
        }
    }

    /// The elements without the space between rows, as bfloat16.
    var bfloat16: [UInt16] { dense.map { qk_bf16_from_f32($0) } }

    private var dense: [Float] { (0..<rows).flatMap { values[$0 * stride..<$0 * stride + columns] } }

    func operand(rounded: Bool) -> [Double] {
        dense.map { rounded ? wide(qk_bf16_from_f32($0)) : Double($0) }
    }
}

/// The sum of products and of their magnitudes.
func dot(_ count: Int, _ factors: (Int) -> (Double, Double)) -> (value: Double, magnitude: Double) {
    var sum = 0.0
    var magnitude = 0.0
    for i in 0..<count {
        let (a, b) = factors(i)
        sum += a * b
        magnitude += abs(a * b)
    }
    return (sum, magnitude)
}

/// Every element of `got` is scale * `old` + sum, up to float32 rounding of a sum of that magnitude; nothing between rows
/// was written. Of large results a sample is looked at.
func expectClose(
    _ got: TestMatrix, _ old: TestMatrix, scale: Double = 1, accumulate: Bool, tolerance: Double = 4e-7,
    _ comment: Comment,
    sum: (Int, Int) -> (value: Double, magnitude: Double)
) {
    var worst = 0.0
    let step = max(1, got.rows * got.columns / 4000)
    var index = 0
    while index < got.rows * got.columns {
        let (r, c) = (index / got.columns, index % got.columns)
        let exact = sum(r, c)
        let before = accumulate ? scale * Double(old.values[r * old.stride + c]) : 0
        let error =
            abs(Double(got.values[r * got.stride + c]) - exact.value - before) / (exact.magnitude + abs(before) + 1e-30)
        if !(error <= worst) { worst = error.isNaN ? .infinity : error }
        index += step
    }
    #expect(worst < tolerance, comment)
    for r in 0..<got.rows {
        let between = got.values[(r * got.stride + got.columns)..<((r + 1) * got.stride)]
        let isUntouched = between.allSatisfy { $0.isNaN }
        #expect(isUntouched, comment)
    }
}
