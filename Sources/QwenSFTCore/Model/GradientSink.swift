/// Takes up weight gradients in backward: into buffers, or for plain SGD straight into the weights.
final class GradientSink {
    enum Mode {
        /// Added up in `gradients`, float32.
        case buffer(ParameterStorage)
        /// W ← (1 − rate·decay)·W − rate·G at once.
        case update(rate: Float, decay: Float, decaysVectors: Bool, rounding: Rounding)
    }

    let mode: Mode
    private let weights: ParameterStorage
    private let compute: Compute
    private let isTrainable: [Bool]
    /// Vectors are so small that their gradients are always buffered, those of frozen ones too.
    private let vectors: MutableMatrix<Float>

    init(_ mode: Mode, weights: ParameterStorage, isTrainable: [Bool], compute: Compute) throws(QwenSFTError) {
        self.mode = mode
        self.weights = weights
        self.compute = compute
        self.isTrainable = isTrainable
        if case .buffer(let gradients) = mode {
            vectors = gradients.allVectors
        } else {
            vectors = try compute.zeros(rows: 1, columns: weights.layout.vectorCount)
        }
    }

    /// Where a vector's gradient is to be added.
    func vector(_ vector: ParameterLayout.Vector) -> MutableMatrix<Float> {
        vectors[columns: vector.offset..<vector.offset + vector.count]
    }

    /// Where the gradient of rows `rows` of a matrix goes.
    func destination(_ matrix: ParameterLayout.Matrix, rows: Range<Int>) -> GradientDestination {
        switch mode {
        case .buffer(let gradients):
            return GradientDestination(gradients.weight(matrix, rows: rows))
        case .update(let rate, let decay, _, let rounding):
            let target = weights.weight(matrix).slice(rows)
            return GradientDestination(
                target, alpha: -rate, beta: 1 - rate * decay, rounding: rounding.at(target.offset))
        }
    }

    /// dW = dyᵀ · x for a (fused) matrix, without the parts of it that are frozen.
    func take(
        _ matrix: ParameterLayout.Matrix, _ weight: Weight, dy: Matrix<Float>, x: Matrix<Float>
    ) throws(QwenSFTError) {
        for part in trainableRows(of: matrix) {
            try Linear.weightGradient(
                destination(matrix, rows: part), dy[columns: part], x, of: weight.slice(part), compute: compute)
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
        guard case .update(let rate, let decay, _, let rounding) = mode else {
            return destination(matrix, rows: 0..<matrix.rows)
        }
        let weight = weights.weight(matrix)
        if decay != 0, !sharedWithHead {
            Elements.scale(weight, by: 1 - rate * decay, rounding: rounding.at(weight.offset), compute: compute)
        }
        return GradientDestination(weight, alpha: -rate, rounding: rounding.at(weight.offset, pass: 1))
    }

    /// The same for a rehearsal of what follows.
    func rehearsing(_ compute: Compute) throws(QwenSFTError) -> GradientSink {
        try GradientSink(mode, weights: weights, isTrainable: isTrainable, compute: compute)
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
            Elements.axpy(
                weight, -rate, vectors.readOnly[columns: parameter.offset..<parameter.offset + parameter.count],
                compute: compute)
        }
    }
}
