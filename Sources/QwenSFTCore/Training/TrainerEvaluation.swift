/// What is measured with the weights as they are; nothing is changed.
extension Trainer {
    /// The loss of `batch` with the weights as they are.
    public func evaluate(_ batch: Batch, onProgress: Progress = { _, _ in true }) throws(QwenSFTError) -> StepMetrics {
        try evaluate(accumulating: [batch], onProgress: onProgress)
    }

    /// The loss over all of `batches` together, in the memory of the largest.
    public func evaluate(
        accumulating batches: [Batch], onProgress: Progress = { _, _ in true }
    ) throws(QwenSFTError) -> StepMetrics {
        try evaluate(batches.count, onProgress) { batches[$0] }
    }

    /// The loss over a dataset with the weights as they are.
    /// - Parameters:
    ///   - data: the conversations.
    ///   - how: `batchSize` and `maxBatchTokens` of it say how many conversations are computed together.
    ///   - onProgress: as in `step`.
    public func evaluate(
        _ data: EncodedDataset, _ how: TrainingRunOptions = .init(), onProgress: Progress = { _, _ in true }
    ) throws(QwenSFTError) -> StepMetrics {
        try evaluate(data, how, onProgress: onProgress) { _, _, _ in }
    }

    /// - Parameter onLosses: called with the rows of `data` that were computed together, their batch, and what each target costs.
    func evaluate(
        _ data: EncodedDataset, _ how: TrainingRunOptions, onProgress: Progress,
        onLosses: (_ rows: [Int], Batch, [TrainingPass.TargetLoss]) -> Void
    ) throws(QwenSFTError) -> StepMetrics {
        try how.validate()
        let order = DataOrder(
            lengths: try data.lengths(), rowsPerStep: how.batchSize, seed: nil)
        let passes = order.steps(ofEpoch: 0).flatMap { order.passes($0, count: 1, maxTokens: how.maxBatchTokens) }
        func tell(_ index: Int, _ batch: Batch, _ losses: [TrainingPass.TargetLoss]) {
            onLosses(passes[index], batch, losses)
        }
        return try evaluate(passes.count, onProgress, onLosses: tell) { (index) throws(QwenSFTError) in
            try data.batch(passes[index])
        }
    }

    /// The loss over `count` batches, each made when its turn comes.
    private func evaluate(
        _ count: Int, _ onProgress: Progress,
        onLosses: (_ index: Int, Batch, [TrainingPass.TargetLoss]) -> Void = { _, _, _ in },
        _ batch: (Int) throws(QwenSFTError) -> Batch
    ) throws(QwenSFTError) -> StepMetrics {
        try timed { () throws(QwenSFTError) in
            try requireAdapter()
            let work =
                count * TrainingPass.Work.total(layers: model.configuration.layers, backward: false, recomputes: false)
            var done = 0
            func advance(_ part: Int) throws(QwenSFTError) {
                done += part
                try ask(done, of: work, onProgress)
            }
            try advance(0)
            var metrics = StepMetrics()
            var weight = 0.0
            for index in 0..<count {
                let batch = try batch(index)
                weight += batch.sequences.targetWeight
                let losses = try model.compute.session { () throws(QwenSFTError) in
                    var pass = try TrainingPass(
                        model, batch, sharing: options.sharesPrefixes, recomputes: false, training: trained)
                    return try pass.finiteLosses(keeps: false, advance: advance)
                }
                metrics.loss += losses.sum
                metrics.supervisedTokens += losses.all.count
                onLosses(index, batch, losses.all)
            }
            try requireTargets(weight, isOne: count == 1)
            metrics.loss /= weight
            return metrics
        }
    }

    /// Cross-entropy of every supervised token of `batch` with the weights as they are.
    /// - Returns: (rows, columns), at the places of the labels; NaN where nothing is supervised.
    public func tokenLosses(_ batch: Batch) throws(QwenSFTError) -> [Float] {
        let count = batch.rows * batch.columns
        try Memory.require(count, of: Float.self, for: "the losses of \(count) tokens")
        var result = [Float](repeating: .nan, count: count)
        try forEachLoss(of: batch) { source, loss in result[source] = loss }
        return result
    }

    /// The cross-entropy of every supervised token and its place in the (rows, columns) arrays.
    func forEachLoss(of batch: Batch, _ body: (_ source: Int, _ loss: Float) -> Void) throws(QwenSFTError) {
        try model.exclusively { () throws(QwenSFTError) in
            try requireAdapter()
            _ = try totalWeight(of: [batch])
            try model.compute.session { () throws(QwenSFTError) in
                var pass = try TrainingPass(
                    model, batch, sharing: options.sharesPrefixes, recomputes: false, training: trained)
                for target in try pass.forward(keeps: false) { body(target.source, target.loss) }
            }
        }
    }

    /// L2 norm of every parameter's gradient on `batch`, in the order of `parameters` of the model or the adapter. Changes nothing.
    public func gradientNorms(_ batch: Batch) throws(QwenSFTError) -> [Double] {
        try ofGradients(batch) { parameter, gradients in
            gradients.map { Elements.sumOfSquares($0.floats(parameter), compute: model.compute).squareRoot() } ?? 0
        }
    }

    /// Every parameter's gradient on `batch`, in the order of `parameters` of the model or the adapter. Changes nothing; for tests.
    package func gradients(_ batch: Batch) throws(QwenSFTError) -> [[Float]] {
        try ofGradients(batch) { parameter, gradients in
            gradients?.weight(parameter).values ?? Array(repeating: 0, count: parameter.count)
        }
    }

    /// - Parameter body: is given nil for a parameter that is frozen, and has no gradient.
    private func ofGradients<T>(
        _ batch: Batch, _ body: (_ parameter: Parameter, _ gradients: ParameterStorage?) -> T
    ) throws(QwenSFTError) -> [T] {
        try model.exclusively { () throws(QwenSFTError) in
            try requireAdapter()
            let gradients = try clearedGradients()
            _ = try run([batch], try totalWeight(of: [batch]), .buffer(gradients), { _, _ in true })
            return trained.parameters.map { body($0, gradients.included[$0.index] ? gradients : nil) }
        }
    }
}
