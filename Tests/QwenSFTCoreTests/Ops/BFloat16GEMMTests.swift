import CKernels
import QwenSFTCore
import Testing

/// Each product against a float64 sum, on sizes around the boundaries of blocks, for every variant.
@Suite(.serialized, .processWide) struct BFloat16GEMMTests {
    enum Variant: String, CaseIterable {
        case blocks, scalarBlocks, panels, scalarPanels

        var algorithm: BFloat16GEMM.Algorithm { self == .blocks || self == .scalarBlocks ? .blocks : .panels }
        var isa: InstructionSet { self == .scalarBlocks || self == .scalarPanels ? .plain : .avx512BF16 }
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
        for size in variant.sizes {
            let (m, n, k) = (size.rows, size.outputs, size.inputs)
            let x = TestMatrix(m, k, stride: k + 3, seed: 1)
            let w = TestWeight(TestMatrix(n, k, seed: 2).bfloat16, n, k)
            let y = TestMatrix(m, n, stride: n + 5, seed: 3)
            let old = y.values
            let compute = Compute(threads: 1 + size.rows % 3)
            try withExtendedLifetime((y, x, w)) {
                try withInstructionSet(variant.isa) {
                    try BFloat16GEMM.forward(
                        y.view, x.readOnly, w.weight, accumulate: accumulate, compute: compute,
                        algorithm: variant.algorithm)
                }
            }
            let a = x.operand(rounded: variant.roundsActivations)
            let b = w.values.map(wide)
            expectClose(y, old, accumulate: accumulate, "\(size)") { r, c in
                dot(k) { (a[r * k + $0], b[c * k + $0]) }
            }
        }
    }

    @Test(arguments: Variant.allCases, [false, true])
    func inputGradientIsTheSum(_ variant: Variant, accumulate: Bool) throws {
        for size in variant.sizes {
            let (m, n, k) = (size.rows, size.outputs, size.inputs)
            let dy = TestMatrix(m, n, stride: n + 3, seed: 4)
            let w = TestWeight(TestMatrix(n, k, seed: 5).bfloat16, n, k)
            let dx = TestMatrix(m, k, stride: k + 5, seed: 6)
            let old = dx.values
            let compute = Compute(threads: 1 + size.rows % 3)
            try withExtendedLifetime((dx, dy, w)) {
                try withInstructionSet(variant.isa) {
                    try BFloat16GEMM.inputGradient(
                        dx.view, dy.readOnly, w.weight, accumulate: accumulate, compute: compute,
                        algorithm: variant.algorithm)
                }
            }
            let a = dy.operand(rounded: variant.roundsActivations)
            let b = w.values.map(wide)
            expectClose(dx, old, accumulate: accumulate, "\(size)") { r, c in
                dot(n) { (a[r * n + $0], b[$0 * k + c]) }
            }
        }
    }

    /// Panels multiply weights that were widened as they multiply weights that were float32 from the beginning.
    @Test(arguments: [Variant.panels, .scalarPanels])
    func float32WeightsGiveTheSame(_ variant: Variant) throws {
        for size in variant.sizes {
            let (m, n, k) = (size.rows, size.outputs, size.inputs)
            let narrow = TestWeight(TestMatrix(n, k, seed: 2).bfloat16, n, k)
            let wide = TestMatrix(narrow.values.map { qk_f32_from_bf16($0) }, n, k)
            let (x, dy) = (TestMatrix(m, k, seed: 1), TestMatrix(m, n, seed: 4))
            func results(_ w: some WeightFormat) throws -> [Float] {
                let (y, dx) = (TestMatrix(m, n, seed: 3), TestMatrix(m, k, seed: 6))
                try withExtendedLifetime((y, dx, x, dy)) {
                    try withInstructionSet(variant.isa) {
                        let compute = Compute(threads: 2)
                        try BFloat16GEMM.forward(y.view, x.readOnly, w, compute: compute, algorithm: .panels)
                        try BFloat16GEMM.inputGradient(dx.view, dy.readOnly, w, compute: compute, algorithm: .panels)
                    }
                }
                return y.values + dx.values
            }
            try withExtendedLifetime((narrow, wide)) {
                let (fromNarrow, fromWide) = try (results(narrow.weight), results(Float32Weight(wide.view)))
                #expect(fromNarrow == fromWide, "\(size)")
            }
        }
    }

    @Test(arguments: Variant.allCases, [Float(0), 1, 0.75])
    func weightGradientIsTheSum(_ variant: Variant, beta: Float) throws {
        for size in variant.sizes {
            let (m, n, k) = (size.rows, size.outputs, size.inputs)
            let dy = TestMatrix(m, n, stride: n + 3, seed: 7)
            let x = TestMatrix(m, k, stride: k + 1, seed: 8)
            // A gradient that was never written must not be read.
            let start = TestMatrix(n, k, seed: 9)
            let old = start.values
            let target = beta == 0 ? TestMatrix([Float](repeating: .nan, count: n * k), n, k) : start
            let compute = Compute(threads: 1 + size.rows % 3)
            try withExtendedLifetime((dy, x, target)) {
                try withInstructionSet(variant.isa) {
                    try BFloat16GEMM.weightGradient(
                        GradientDestination(.float32(.init(target.view)), alpha: 0.5, beta: beta), dy.readOnly,
                        x.readOnly, compute: compute, algorithm: variant.algorithm)
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
        let rounding = Rounding.stochastic(seed: 1, step: 2, stream: 3)
        let key = try #require(rounding.kernelKey)
        for size in variant.sizes {
            let (m, n, k) = (size.rows, size.outputs, size.inputs)
            let (dy, x) = (TestMatrix(m, n, seed: 10), TestMatrix(m, k, seed: 11))
            let updated = TestWeight(TestMatrix(n, k, seed: 12).bfloat16, n, k)
            let update = TestMatrix(updated.values.map { qk_f32_from_bf16($0) }, n, k)
            let compute = Compute(threads: 2)
            try withExtendedLifetime((dy, x, updated, update)) {
                try withInstructionSet(variant.isa) {
                    for target in [Weight.bfloat16(updated.weight), .float32(.init(update.view))] {
                        let destination = GradientDestination(
                            target, alpha: -0.01, beta: 0.99, rounding: stochastic ? rounding : .nearest)
                        try BFloat16GEMM.weightGradient(
                            destination, dy.readOnly, x.readOnly, compute: compute, algorithm: variant.algorithm)
                    }
                }
            }
            let (weight, exact) = (updated.values, update.values)
            var wrong = 0
            for r in 0..<n {
                for c in 0..<k {
                    let value = exact[r * k + c]
                    let got = weight[r * k + c]
                    let rowCounter = UInt32(truncatingIfNeeded: UInt64(r) * qk_counters_per_row(UInt64(k)))
                    let noise = qk_round_noise(key, rowCounter, UInt64(c))
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
            let compute = Compute(threads: threads)
            let (m, n, k) = (70, 300, 500)
            let (x, dy) = (TestMatrix(m, k, seed: 13), TestMatrix(m, n, seed: 14))
            let w = TestWeight(TestMatrix(n, k, seed: 15).bfloat16, n, k)
            let moved = TestWeight(w.values, n, k)
            let (y, dx, dw) = (TestMatrix(m, n, seed: 0), TestMatrix(m, k, seed: 0), TestMatrix(n, k, seed: 0))
            try withExtendedLifetime((x, dy, w, moved, y, dx, dw)) {
                try BFloat16GEMM.forward(y.view, x.readOnly, w.weight, compute: compute, algorithm: algorithm)
                try BFloat16GEMM.inputGradient(dx.view, dy.readOnly, w.weight, compute: compute, algorithm: algorithm)
                let rounding = Rounding.stochastic(seed: 5, step: 6, stream: 7)
                for destination in [
                    GradientDestination(.float32(.init(dw.view)), beta: 0),
                    GradientDestination(.bfloat16(moved.weight), alpha: -1e-4, rounding: rounding),
                ] {
                    try BFloat16GEMM.weightGradient(
                        destination, dy.readOnly, x.readOnly, compute: compute, algorithm: algorithm)
                }
            }
            (self.y, self.dx, self.dw, updated) = (y.values, dx.values, dw.values, moved.values)
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
                // Sums of up to 500 products of numbers in -1 … 1 stay below 50, where float32 has steps of 3.8e-6: room for five.
                for (a, b) in [(some.y, one.y), (some.dx, one.dx), (some.dw, one.dw)] {
                    let worst = zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
                    #expect(worst < 2e-5, "\(threads) threads")
                }
            }
        }
    }

    /// A hundred steps far below half a bfloat16 step each: stochastic rounding arrives where exact arithmetic does.
    @Test func stochasticUpdatesAreUnbiased() throws {
        let compute = Compute()
        let (m, n, k) = (4, 96, 128)
        let (dy, x) = (TestMatrix(m, n, seed: 16), TestMatrix(m, k, seed: 17))
        let start = [UInt16](repeating: qk_bf16_from_f32(1.5), count: n * k)
        let buffer = TestMatrix(n, k, seed: 0)
        func product(_ destination: GradientDestination) throws {
            try withExtendedLifetime((dy, x)) {
                try BFloat16GEMM.weightGradient(destination, dy.readOnly, x.readOnly, compute: compute)
            }
        }
        try withExtendedLifetime(buffer) { try product(GradientDestination(.float32(.init(buffer.view)), beta: 0)) }
        let gradient = buffer.values
        let alpha: Float = 2e-4
        func moved(_ rounding: (UInt64) -> Rounding) throws -> [Double] {
            let w = TestWeight(start, n, k)
            for step in 0..<100 {
                try withExtendedLifetime(w) {
                    try product(
                        GradientDestination(.bfloat16(w.weight), alpha: alpha, rounding: rounding(UInt64(step))))
                }
            }
            return w.values.map { wide($0) - 1.5 }
        }
        let stuck = try moved { _ in .nearest }
        let isStuck = stuck.allSatisfy { $0 == 0 }
        #expect(isStuck)
        let got = try moved { .stochastic(seed: 18, step: $0) }
        // Slope of the regression of the way gone on the way asked for; one weight strays by some sqrt(100 p) steps.
        let asked = gradient.map { 100 * Double(alpha) * Double($0) }
        let slope = zip(got, asked).reduce(0) { $0 + $1.0 * $1.1 } / asked.reduce(0) { $0 + $1 * $1 }
        #expect(abs(slope - 1) < 0.02)
        let bias = (got.reduce(0, +) - asked.reduce(0, +)) / Double(n * k)
        let step = 1.0 / 128
        #expect(abs(bias) < 0.1 * step)
    }

    @Test func infinitiesAndNaNsStayWhatTheyAre() throws {
        let special: [Float] = [.infinity, -.infinity, .nan, -.nan, Float(bitPattern: 0x7fff_ffff), 3.0e38, 0, -0.0]
        for rounding in [Rounding.nearest, .stochastic(seed: 1, step: 1, stream: 1)] {
            for variant in Variant.allCases {
                let old = TestWeight((0..<40).map { qk_bf16_from_f32(special[$0 % 8]) }, 1, 40)
                let (dy, x) = (TestMatrix([0], 1, 1), TestMatrix([Float](repeating: 0, count: 40), 1, 40))
                try withExtendedLifetime((old, dy, x)) {
                    try withInstructionSet(variant.isa) {
                        try BFloat16GEMM.weightGradient(
                            GradientDestination(.bfloat16(old.weight), rounding: rounding), dy.readOnly, x.readOnly,
                            compute: Compute(), algorithm: variant.algorithm)
                    }
                }
                let w = old.values
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

/// Memory with a known content. To be kept alive (`withExtendedLifetime`) while a view of it is in use.
final class TestBuffer<Element: BitwiseCopyable> {
    private let start: UnsafeMutablePointer<Element>
    private let count: Int

    init(_ values: [Element]) {
        count = values.count
        start = .allocate(capacity: max(1, count))
        start.initialize(from: values, count: count)
    }

    deinit { start.deallocate() }

    var values: [Element] { Array(UnsafeBufferPointer(start: start, count: count)) }

    func matrix(rows: Int, columns: Int, stride: Int? = nil) -> MutableMatrix<Element> {
        MutableMatrix(start, rows: rows, columns: columns, stride: stride)
    }
}

/// Reproducible numbers in -1 … 1, NaN between the rows: reading or writing there shows.
struct TestMatrix {
    let rows: Int, columns: Int, stride: Int
    let buffer: TestBuffer<Float>

    init(_ rows: Int, _ columns: Int, stride: Int? = nil, seed: UInt64) {
        (self.rows, self.columns, self.stride) = (rows, columns, stride ?? columns)
        var values = [Float](repeating: .nan, count: rows * self.stride)
        var state = seed &* 0x9e37_79b9_7f4a_7c15
        for r in 0..<rows {
            for c in 0..<columns {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                values[r * self.stride + c] = Float(Int64(bitPattern: state) >> 40) / Float(1 << 23)
            }
        }
        buffer = TestBuffer(values)
    }

    init(_ values: [Float], _ rows: Int, _ columns: Int) {
        (self.rows, self.columns, stride) = (rows, columns, columns)
        buffer = TestBuffer(values)
    }

    var values: [Float] { buffer.values }
    var view: MutableMatrix<Float> { buffer.matrix(rows: rows, columns: columns, stride: stride) }
    var readOnly: Matrix<Float> { view.readOnly }

    /// The elements without the space between rows, as bfloat16.
    var bfloat16: [UInt16] { dense.map { qk_bf16_from_f32($0) } }

    private var dense: [Float] {
        let values = values
        return (0..<rows).flatMap { values[$0 * stride..<$0 * stride + columns] }
    }

    func operand(rounded: Bool) -> [Double] {
        dense.map { rounded ? wide(qk_bf16_from_f32($0)) : Double($0) }
    }
}

/// A bfloat16 weight.
struct TestWeight {
    let rows: Int, columns: Int
    let buffer: TestBuffer<UInt16>

    init(_ values: [UInt16], _ rows: Int, _ columns: Int) {
        (self.rows, self.columns) = (rows, columns)
        buffer = TestBuffer(values)
    }

    var values: [UInt16] { buffer.values }
    var weight: BFloat16Weight { BFloat16Weight(buffer.matrix(rows: rows, columns: columns)) }
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
    _ got: TestMatrix, _ old: [Float], scale: Double = 1, accumulate: Bool, tolerance: Double = 4e-7,
    _ comment: Comment,
    sum: (Int, Int) -> (value: Double, magnitude: Double)
) {
    var worst = 0.0
    let values = got.values
    let step = max(1, got.rows * got.columns / 4000)
    var index = 0
    while index < got.rows * got.columns {
        let (r, c) = (index / got.columns, index % got.columns)
        let exact = sum(r, c)
        let before = accumulate ? scale * Double(old[r * got.stride + c]) : 0
        let error =
            abs(Double(values[r * got.stride + c]) - exact.value - before) / (exact.magnitude + abs(before) + 1e-30)
        if !(error <= worst) { worst = error.isNaN ? .infinity : error }
        index += step
    }
    #expect(worst < tolerance, comment)
    for r in 0..<got.rows {
        let between = values[(r * got.stride + got.columns)..<((r + 1) * got.stride)]
        let isUntouched = between.allSatisfy { $0.isNaN }
        #expect(isUntouched, comment)
    }
}
