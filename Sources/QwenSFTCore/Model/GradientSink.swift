/// Takes up weight gradients in backward: into buffers, or for plain SGD straight into the weights.
final class GradientSink {
    enum Mode {
        /// Added up in `gradients`, float32.
        case buffer(ParameterStorage)
        /// W ← (1 − rate·decay)·W − rate·G at once; no weight is larger than `bound` before that.
        case update(rate: Float, decay: Float, decaysVectors: Bool, rounding: Rounding, bound: Double)
    }

    let mode: Mode
    private let trained: TrainedParameters
    private let compute: Compute
    /// What no weight exceeds after the updates so far.
    private(set) var bound = 0.0
    private var hasWritten = false
    /// Vectors are so small that their gradients are always buffered.
    private let vectors: MutableMatrix<Float>

    init(_ mode: Mode, _ trained: TrainedParameters, compute: Compute) throws(QwenSFTError) {
        self.mode = mode
        self.trained = trained
        self.compute = compute
        if case .buffer(let gradients) = mode {
            vectors = gradients.allVectors
        } else {
            vectors = try compute.zeros(rows: 1, columns: trained.storage.list.vectorCount)
        }
        if case .update(let rate, let decay, _, _, let before) = mode {
            bound = before * max(1, abs(1 - Double(rate) * Double(decay)))
        }
    }

    /// Makes sure, before an update is written, that it overflows nowhere. Every number of it is a sum of products, and such a
    /// sum is no larger than the product of the norms of its factors.
    /// - Parameters:
    ///   - gradient: what no number of the gradient exceeds.
    ///   - name: of the parameter, for the message.
    /// - Throws: `nonFinite`; what was written before is finite.
    func admit(_ gradient: Double, _ name: @autoclosure () -> String) throws(QwenSFTError) {
        guard case .update(let rate, _, _, _, _) = mode, !compute.isRehearsal else { return }
        bound += Double(rate) * gradient
        // Half of float32's range, so that no rounding leads out of it. Not so either where it is NaN.
        guard bound < Double(Float.greatestFiniteMagnitude) / 2 else {
            throw QwenSFTError(
                .nonFinite,
                "the update of \(name()) would be too large for float32; "
                    + (hasWritten
                        ? "what lies above it in the model was updated already, with finite numbers"
                        : "nothing was changed")
            )
        }
        hasWritten = true
    }

    /// Where a vector's gradient is to be added; nil where all of it is frozen.
    func vector(_ vector: ParameterLayout.Vector) -> MutableMatrix<Float>? {
        guard trained.trains(vector) else { return nil }
        return vectors[columns: vector.offset..<vector.offset + vector.count]
    }

    /// Where the gradient of an adapter's matrix goes: they are small, and always buffered. nil where it is not trained.
    func adapter(_ matrix: ParameterLayout.Matrix) -> MutableMatrix<Float>? {
        guard trained.isAdapter, case .buffer(let gradients) = mode else { return nil }
        return gradients.floats(matrix)
    }

    /// Where the gradient of rows `rows` of a matrix goes.
    func destination(_ matrix: ParameterLayout.Matrix, rows: Range<Int>) -> GradientDestination {
        switch mode {
        case .buffer(let gradients):
            return GradientDestination(gradients.weight(matrix, rows: rows))
        case .update(let rate, let decay, _, let rounding, _):
            let target = trained.storage.weight(matrix).slice(rows)
            return GradientDestination(
                target, alpha: -rate, beta: 1 - rate * decay, rounding: rounding.at(target.offset))
        }
    }

    /// dW = dyᵀ · x for a (fused) matrix, without the parts of it that are frozen.
    func take(
        _ matrix: ParameterLayout.Matrix, _ weight: Weight, dy: Matrix<Float>, x: Matrix<Float>
    ) throws(QwenSFTError) {
        let parts = trainableRows(of: matrix)
        if case .update = mode, !parts.isEmpty {
            let norm = Elements.norm(dy, compute: compute) * Elements.norm(x, compute: compute)
            try admit(norm, matrix.parameters.map { trained.storage.list.parameters[$0].name }.joined(separator: ", "))
        }
        for part in parts {
            try Linear.weightGradient(
                destination(matrix, rows: part), dy[columns: part], x, of: weight.slice(part), compute: compute)
        }
    }

    /// Runs of rows that belong to trainable parameters.
    func trainableRows(of matrix: ParameterLayout.Matrix) -> [Range<Int>] {
        guard !trained.isAdapter else { return [] }
        var result: [Range<Int>] = []
        var start = 0
        for index in matrix.parameters {
            let end = start + trained.storage.list.parameters[index].shape[0]
            if trained.isTrainable[index] {
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
    func embedding(_ matrix: ParameterLayout.Matrix, sharedWithHead: Bool) -> GradientDestination? {
        guard !trainableRows(of: matrix).isEmpty else { return nil }
        guard case .update(let rate, let decay, _, let rounding, _) = mode else {
            return destination(matrix, rows: 0..<matrix.rows)
        }
        let weight = trained.storage.weight(matrix)
        if decay != 0, !sharedWithHead {
            Elements.scale(weight, by: 1 - rate * decay, rounding: rounding.at(weight.offset), compute: compute)
        }
        return GradientDestination(weight, alpha: -rate, rounding: rounding.at(weight.offset, pass: 1))
    }

    /// The same for a rehearsal of what follows.
    func rehearsing(_ compute: Compute) throws(QwenSFTError) -> GradientSink {
        try GradientSink(mode, trained, compute: compute)
    }

    /// Finishes an update: the vectors' gradients go into the vectors.
    func finish() throws(QwenSFTError) {
        guard case .update(let rate, let decay, let decaysVectors, _, _) = mode else { return }
        try admit(Elements.norm(vectors.readOnly, compute: compute), "norms and biases")
        for (index, parameter) in trained.storage.list.parameters.enumerated()
        where trained.isTrainable[index] && !parameter.isMatrix {
            let weight = trained.storage.weight(parameter)
            if decay != 0, decaysVectors {
                Elements.scale(weight, by: 1 - rate * decay, rounding: .nearest, compute: compute)
            }
            Elements.axpy(
                weight, -rate, vectors.readOnly[columns: parameter.offset..<parameter.offset + parameter.count],
                compute: compute)
        }
    }
}
