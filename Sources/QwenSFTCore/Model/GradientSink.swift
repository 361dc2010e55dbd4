/// Takes up weight gradients in backward: into buffers, or for plain SGD straight into the weights.
final class GradientSink {
    enum Mode {
        /// Added up in `gradients`, float32.
        case buffer(ParameterStorage)
        /// W ← (1 − rate·decay)·W − rate·G at once.
        case update(rate: Float, decay: Float, decaysVectors: Bool, rounding: UpdateRounding)
    }

    let mode: Mode
    private let weights: ParameterStorage
    private let compute: Compute
    private let isTrainable: [Bool]
    /// Vectors are so small that their gradients are always buffered.
    private let vectors: UnsafeMutablePointer<Float>

    init(_ mode: Mode, weights: ParameterStorage, isTrainable: [Bool], compute: Compute) throws(QwenSFTError) {
        self.mode = mode
        self.weights = weights
        self.compute = compute
        self.isTrainable = isTrainable
        if case .buffer(let gradients) = mode {
            vectors = gradients.vector(.init(offset: 0, count: gradients.layout.vectorCount, parameters: 0..<0))
        } else {
            vectors = try compute.zeros(weights.layout.vectorCount)
        }
    }

    /// Where a vector's gradient is to be added.
    func vector(_ vector: ParameterLayout.Vector) -> UnsafeMutablePointer<Float> { vectors + vector.offset }

    /// Where the gradient of rows `rows` of a matrix goes.
    func destination(_ matrix: ParameterLayout.Matrix, rows: Range<Int>) -> GradientDestination {
        switch mode {
        case .buffer(let gradients): .buffer(gradients.weight(matrix).slice(rows).floats)
        case .update(let rate, let decay, _, let rounding):
            .update(rate: rate, shrink: 1 - rate * decay, rounding: rounding)
        }
    }

    /// dW = dyᵀ · x for a (fused) matrix, without the parts of it that are frozen.
    func take(
        _ matrix: ParameterLayout.Matrix, dy: UnsafePointer<Float>, ldy: Int, x: UnsafePointer<Float>, ldx: Int,
        rows: Int
    ) throws(QwenSFTError) {
        for part in trainableRows(of: matrix) {
            try Linear.weightGradient(
                destination(matrix, rows: part), dy: dy + part.lowerBound, ldy: ldy, x: x, ldx: ldx,
                weight: weights.weight(matrix).slice(part), rows: rows, compute: compute)
        }
    }

    /// Runs of rows that belong to trainable parameters.
    func trainableRows(of matrix: ParameterLayout.Matrix) -> [Range<Int>] {
        var result: [Range<Int>] = []
        var start = 0
        for index in matrix.parameters {
            let end = start + weights.layout.parameters[index].shape[0]
            if isTrainable[index] {
                if let last = result.last, last.upperBound == start {
                    result[result.count - 1] = last.lowerBound..<end
                } else {
                    result.append(start..<end)
                }
            }
            start = end
        }
        return result
    }

    /// Where the embedding's looked-up rows go, once the head is done; nil if it is frozen. An embedding of its own is
    /// shrunk here as a whole; a shared one was, by the head.
    func embedding(sharedWithHead: Bool) -> GradientDestination? {
        let matrix = weights.layout.embedding
        guard !trainableRows(of: matrix).isEmpty else { return nil }
        if case .update(let rate, let decay, _, let rounding) = mode, decay != 0, !sharedWithHead {
            let weight = weights.weight(matrix)
            Elements.scale(weight, by: 1 - rate * decay, rounding: rounding.at(weight.offset), compute: compute)
        }
        return destination(matrix, rows: 0..<matrix.rows)
    }

    /// Finishes an update: the vectors' gradients go into the vectors.
    func finish() {
        guard case .update(let rate, let decay, let decaysVectors, _) = mode else { return }
        for (index, parameter) in weights.layout.parameters.enumerated() where isTrainable[index] && !parameter.isMatrix
        {
            let weight = weights.weight(parameter)
            if decay != 0, decaysVectors {
                Elements.scale(weight, by: 1 - rate * decay, rounding: .nearest, compute: compute)
            }
            Elements.axpy(weight.floats, -rate, vectors + parameter.offset, count: parameter.count)
        }
    }
}
