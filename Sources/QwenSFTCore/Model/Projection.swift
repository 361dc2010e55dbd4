/// A linear layer of a decoder: its weight, and the bias if the architecture has one.
struct Projection {
    /// What of the parameters it is made of.
    let matrix: ParameterLayout.Matrix
    let weight: Weight
    let biasVector: ParameterLayout.Vector?
    /// (1, outputs).
    let bias: Matrix<Float>?
    /// What the adapter that is set adds to the product; nil where there is none.
    var lowRank: LowRank?

    init(_ matrix: ParameterLayout.Matrix, bias: ParameterLayout.Vector? = nil, in weights: ParameterStorage) {
        self.matrix = matrix
        weight = weights.weight(matrix)
        biasVector = bias
        self.bias = bias.map { weights.vector($0).readOnly }
    }

    /// y = or += x · Wᵀ, without the bias, which goes into the pass that follows.
    func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, accumulate: Bool = false, compute: Compute
    ) throws(QwenSFTError) {
        try Linear.forward(y, x, weight, accumulate: accumulate, compute: compute)
        try lowRank?.forward(y, x, compute: compute)
    }

    /// dx = dy · W.
    /// - Parameter dx: nil where nothing below takes a gradient.
    /// - Returns: what `weightGradient` needs of an adapter, in the arena.
    func inputGradient(
        _ dx: MutableMatrix<Float>?, _ dy: Matrix<Float>, compute: Compute
    ) throws(QwenSFTError) -> LowRank.Inner? {
        let inner = try lowRank?.innerGradient(dy, compute: compute)
        guard let dx else { return inner }
        try Linear.inputGradient(dx, dy, weight, compute: compute)
        if let lowRank, let inner { try lowRank.inputGradient(dx, inner, compute: compute) }
        return inner
    }

    /// The gradients of bias and weight, dyᵀ · x, to where `sink` wants them, and those of an adapter. The weight must not be
    /// needed any more.
    /// - Parameter inner: from `inputGradient` with the same dy.
    func weightGradient(
        dy: Matrix<Float>, x: Matrix<Float>, _ inner: LowRank.Inner?, sink: GradientSink, compute: Compute
    ) throws(QwenSFTError) {
        if let biasVector, let target = sink.vector(biasVector) { Bias.backward(target, dy: dy, compute: compute) }
        try sink.take(matrix, weight, dy: dy, x: x)
        if let lowRank, let inner { try lowRank.gradients(dy: dy, x: x, inner, sink: sink, compute: compute) }
    }

    // MARK: One token

    /// What the adapter needs of x before `row`: all workers work on it together and meet at its end.
    func prepareRow(_ x: Matrix<Float>, _ memory: MutableMatrix<Float>, _ worker: ThreadPool.Worker) {
        guard let lowRank else { return }
        lowRank.prepareRow(memory, x, worker)
        worker.barrier()
    }

    /// A range of outputs, on the calling thread.
    /// - Parameter inner: the memory that `prepareRow` has filled.
    func row(
        _ y: MutableMatrix<Float>, _ x: PreparedRows, _ outputs: Range<Int>, inner: MutableMatrix<Float>,
        accumulate: Bool = false
    ) {
        guard !outputs.isEmpty else { return }
        weight.format.multiply(y, x, outputs, accumulate: accumulate)
        lowRank?.row(y, inner.readOnly, outputs)
    }
}

/// The weight of an RMSNorm.
struct Norm {
    let vector: ParameterLayout.Vector
    /// (1, width).
    let weight: Matrix<Float>
    let epsilon: Float

    init(_ vector: ParameterLayout.Vector, _ configuration: Configuration, in weights: ParameterStorage) {
        self.vector = vector
        weight = weights.vector(vector).readOnly
        epsilon = Float(configuration.rmsNormEpsilon)
    }

    /// - Parameter reciprocal: (1, rows · heads), 1 / rms of each head of x, for backward. Rows are one head where they are as
    ///   wide as the weight.
    func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, reciprocal: MutableMatrix<Float>, compute: Compute
    ) {
        RMSNorm.forward(y, reciprocal: reciprocal, x, weight: weight, epsilon: epsilon, compute: compute)
    }

    /// dx += the gradient to x.
    func backward(
        _ dx: MutableMatrix<Float>, dy: Matrix<Float>, x: Matrix<Float>, reciprocal: Matrix<Float>,
        sink: GradientSink, compute: Compute
    ) throws(QwenSFTError) {
        try RMSNorm.backward(
            dx, sink.vector(vector), reciprocal: reciprocal, dy: dy, x: x, weight: weight, compute: compute)
    }

    /// One token, on the calling thread; y may be `x`.
    func row(_ y: MutableMatrix<Float>, _ x: Matrix<Float>) {
        RMSNorm.row(y, x, weight: weight, epsilon: epsilon)
    }
}
