import CKernels

/// The three products of a linear layer whose weight W is bfloat16: forward, input gradient, weight gradient.
///
/// W is row-major, `outputs` × `inputs`, dense. Activations are float32 in memory, their rows `…Stride` elements apart
/// (dense unless given). Sums are float32. With bfloat16 instructions activations are rounded to bfloat16 on their way
/// into the product; without them W is widened tile by tile and OpenBLAS multiplies in float32. `outputs` and `inputs` are
/// at least 1; `rows` may be 0.
///
/// With bfloat16 instructions every element of a result is summed in one fixed order, so results do not depend on the
/// number of threads. Without them OpenBLAS's order depends on each worker's part: as many threads give the same bits.
/// Scratch memory comes from `arena` and is given back before returning; only that can fail (`outOfMemory`).
package enum BFloat16GEMM {
    /// Y[rows, outputs] = X[rows, inputs] · Wᵀ, or += with `accumulate`. A few rows go to `MatrixVector`.
    package static func forward(
        _ y: UnsafeMutablePointer<Float>, yStride: Int? = nil,
        _ x: UnsafePointer<Float>, xStride: Int? = nil,
        _ w: UnsafePointer<UInt16>,
        rows: Int, outputs: Int, inputs: Int, accumulate: Bool = false,
        arena: Arena, threads: Int = ThreadPool.shared.threads, algorithm: Algorithm? = nil
    ) throws(QwenSFTError) {
        if algorithm == nil, rows <= MatrixVector.mostRows {
            return try MatrixVector.forward(
                y, yStride: yStride ?? outputs, x, xStride: xStride ?? inputs, w, rows: rows, outputs: outputs,
                inputs: inputs,
                accumulate: accumulate, arena: arena, threads: threads)
        }
        let y = Matrix(y, rows, outputs, yStride)
        let x = ConstMatrix(x, rows, inputs, xStride)
        let product = (algorithm ?? .fastest) == .blocks ? BFloat16Blocks.forward : BFloat16Panels.forward
        try product(y, x, .bfloat16(ConstMatrix(w, outputs, inputs)), accumulate, arena, threads)
    }

    /// dX[rows, inputs] = dY[rows, outputs] · W, or += with `accumulate`.
    package static func inputGradient(
        _ dx: UnsafeMutablePointer<Float>, dxStride: Int? = nil,
        _ dy: UnsafePointer<Float>, dyStride: Int? = nil,
        _ w: UnsafePointer<UInt16>,
        rows: Int, outputs: Int, inputs: Int, accumulate: Bool = false,
        arena: Arena, threads: Int = ThreadPool.shared.threads, algorithm: Algorithm = .fastest
    ) throws(QwenSFTError) {
        let dx = Matrix(dx, rows, inputs, dxStride)
        let dy = ConstMatrix(dy, rows, outputs, dyStride)
        let product = algorithm == .blocks ? BFloat16Blocks.inputGradient : BFloat16Panels.inputGradient
        try product(dx, dy, ConstMatrix(w, outputs, inputs), accumulate, arena, threads)
    }

    /// target[outputs, inputs] = beta · target + alpha · dYᵀ[outputs, rows] · X[rows, inputs], in the target's type:
    /// the gradient buffer's or, in place, the weight's. The sum over all rows is rounded once.
    package static func weightGradient(
        _ target: GradientTarget,
        _ dy: UnsafePointer<Float>, dyStride: Int? = nil,
        _ x: UnsafePointer<Float>, xStride: Int? = nil,
        rows: Int, outputs: Int, inputs: Int,
        arena: Arena, threads: Int = ThreadPool.shared.threads, algorithm: Algorithm = .fastest
    ) throws(QwenSFTError) {
        let dy = ConstMatrix(dy, rows, outputs, dyStride)
        let x = ConstMatrix(x, rows, inputs, xStride)
        let product = algorithm == .blocks ? BFloat16Blocks.weightGradient : BFloat16Panels.weightGradient
        try product(target.kernelForm(columns: inputs), dy, x, arena, threads)
    }

    /// Two ways to the same product; tests ask for one, all others for the fastest.
    package enum Algorithm: Sendable {
        /// The blocks of `BFloat16Blocks`; activations are rounded to bfloat16.
        case blocks
        /// Float32 tiles of W through OpenBLAS; activations are not rounded.
        case panels

        /// Blocks where the processor multiplies bfloat16 itself.
        package static var fastest: Self { qk_isa() >= QK_ISA_AVX512_BF16 ? .blocks : .panels }
    }
}

/// Where a weight gradient goes.
package struct GradientTarget {
    private let form: qk_gradient

    /// buffer = beta · buffer + alpha · gradient. With beta = 0 the buffer is not read.
    package static func buffer(_ buffer: UnsafeMutablePointer<Float>, alpha: Float = 1, beta: Float = 1) -> Self {
        Self(
            form: qk_gradient(target: buffer, columns: 0, alpha: alpha, beta: beta, bf16: 0, rounding: 0, key: .init()))
    }

    /// weight = round(beta · weight + alpha · gradient): a step of SGD with rate −alpha.
    package static func weight(
        _ weight: UnsafeMutablePointer<UInt16>, alpha: Float, beta: Float = 1, rounding: Rounding
    ) -> Self {
        var form = qk_gradient(target: weight, columns: 0, alpha: alpha, beta: beta, bf16: 1, rounding: 0, key: .init())
        if case .stochastic(let key) = rounding {
            form.rounding = Int32(QK_ROUND_STOCHASTIC)
            form.key = key.kernelKey
        }
        return Self(form: form)
    }

    func kernelForm(columns: Int) -> qk_gradient {
        var form = form
        form.columns = columns
        return form
    }
}

/// How float32 becomes bfloat16.
package enum Rounding: Sendable {
    /// To the nearest, ties to even.
    case nearest
    /// Up or down at random such that the expected value is exact: updates far below half a step still count.
    case stochastic(RoundingKey)
}

/// Names the random bits of one stochastic rounding. An element's bits depend on the key and its place in the tensor only.
package struct RoundingKey: Sendable, Equatable {
    /// The key in the form the kernels take.
    package let kernelKey: qk_round_key

    /// - Parameters:
    ///   - step: the optimizer step.
    ///   - stream: the tensor's number.
    package init(seed: UInt64, step: UInt64, stream: UInt64) {
        // SplitMix64's finalizer (Steele, Lea, Flood 2014) over each number in turn.
        var state: UInt64 = 0
        for number in [seed, step, stream] {
            state = (state ^ number) &+ 0x9e37_79b9_7f4a_7c15
            state = (state ^ state >> 30) &* 0xbf58_476d_1ce4_e5b9
            state = (state ^ state >> 27) &* 0x94d0_49bb_1331_11eb
            state ^= state >> 31
        }
        kernelKey = qk_round_key(a: UInt32(truncatingIfNeeded: state), b: UInt32(truncatingIfNeeded: state >> 32))
    }

    package static func == (a: Self, b: Self) -> Bool {
        a.kernelKey.a == b.kernelKey.a && a.kernelKey.b == b.kernelKey.b
    }
}

/// A row-major matrix somewhere in memory.
struct Matrix {
    let base: UnsafeMutablePointer<Float>
    let rows: Int, columns: Int, stride: Int

    init(_ base: UnsafeMutablePointer<Float>, _ rows: Int, _ columns: Int, _ stride: Int? = nil) {
        (self.base, self.rows, self.columns, self.stride) = (base, rows, columns, stride ?? columns)
    }

    func at(_ row: Int, _ column: Int) -> UnsafeMutablePointer<Float> { base + row * stride + column }
}

/// The same to read from.
struct ConstMatrix<Element: BitwiseCopyable> {
    let base: UnsafePointer<Element>
    let rows: Int, columns: Int, stride: Int

    init(_ base: UnsafePointer<Element>, _ rows: Int, _ columns: Int, _ stride: Int? = nil) {
        (self.base, self.rows, self.columns, self.stride) = (base, rows, columns, stride ?? columns)
    }

    func at(_ row: Int, _ column: Int) -> UnsafePointer<Element> { base + row * stride + column }
}
