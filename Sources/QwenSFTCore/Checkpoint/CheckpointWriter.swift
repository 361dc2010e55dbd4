extension Model {
    /// Writes a checkpoint directory that transformers loads: weights, config.json, and the other files of the checkpoint the
    /// model was opened from. Adapters are not part of it (`saveAdapter`, or `mergeAdapter` before); where one is set, a warning
    /// says so. An older checkpoint at the same place stays whole until the new one is complete; files that are no checkpoint's
    /// stay where they are.
    /// - Parameters:
    ///   - directory: where to write it.
    ///   - dtype: how to write the weights; nil: as the files had them that the model was opened from.
    ///   - onProgress: called with the bytes of the weights that were written, and all of them; `false` cancels.
    /// - Throws: `nonFinite` naming a weight that is not finite or too large for `dtype`, before anything is written; `io`,
    ///   `invalidArgument`. Where the last step fails, the new checkpoint is kept and the message says where.
    public func save(
        to directory: String, dtype: DType? = nil,
        onProgress: (_ done: Int, _ total: Int) -> Bool = { _, _ in true }
    ) throws(QwenSFTError) {
        try requireFullWeights("it cannot be saved")
        let warnings = try exclusively { () throws(QwenSFTError) in
            let dtype = dtype ?? source.dtype
            let loss = try WeightCheck(self) { _ in dtype }.warning()
            var target = try prepareToSave(to: directory, dtype)
            let tensors = parameters.compactMap { parameter in
                weights.weight(parameter).elements.map {
                    TensorSource(name: parameter.name, shape: parameter.shape, values: $0.start, valuesType: $0.dtype)
                }
            }
            var file = try target.create(SafetensorsCheckpoint.fileName)
            try writeSafetensors(tensors, as: dtype, to: &file, onProgress: onProgress)
            try file.finish()
            return [loss, try target.commit(), adapterWarning]
        }
        // Outside of the turn, so that a handler may use the model.
        for case let warning? in warnings { Warnings.send(warning) }
    }

    /// What a caller should know who writes the weights while an adapter is set.
    var adapterWarning: String? {
        activeAdapter.map {
            "the adapter '\($0)', which is set, is not part of what was saved: save it, too, or merge it before"
        }
    }

    /// Whether `save` could write to this place: better known before hours of training than after them.
    ///
    /// Everything but the weights is written, and removed again; the weights must fit into what is free.
    /// - Throws: what `save` would throw. Missing parent directories are created.
    public func checkDestination(_ directory: String, dtype: DType? = nil) throws(QwenSFTError) {
        try requireFullWeights("it cannot be saved")
        try exclusively { () throws(QwenSFTError) in
            let dtype = dtype ?? source.dtype
            let target = try prepareToSave(to: directory, dtype)
            let needed = configuration.parameterCount * dtype.byteCount
            if let free = target.freeBytes, free < needed {
                throw QwenSFTError(.io, "\(directory): the weights take \(needed) bytes, and \(free) are free")
            }
        }
    }

    /// A checkpoint directory in the making with everything but the weights.
    private func prepareToSave(to directory: String, _ dtype: DType) throws(QwenSFTError) -> CheckpointDirectory {
        let target = try CheckpointDirectory(replacing: directory)
        try target.write(Configuration.fileName, configuration.serialized(dtype: dtype))
        try target.write(
            GenerationConfiguration.fileName, generationDefaults.serialized(addingStopIDs: learnedStopIDs))
        try target.copy(source.companions)
        try target.checkNames()
        return target
    }
}

/// Looks at all weights before they are written.
struct WeightCheck {
    private var dtypes: Set<DType> = []
    private let total: Int
    private var vanishing = 0

    /// - Parameter dtype: what each parameter is written as.
    /// - Throws: `nonFinite` for the first weight that is not finite, and for those that the type has no room for.
    init(_ model: Model, _ dtype: (Parameter) -> DType) throws(QwenSFTError) {
        total = model.configuration.parameterCount
        var overflowing = 0
        var place: String?
        for parameter in model.parameters {
            guard let (elements, source) = model.weights.weight(parameter).elements else { continue }
            func value(_ index: Int) -> Float {
                var value: Float = 0
                withUnsafeMutableBytes(of: &value) { bytes in
                    guard let base = bytes.baseAddress else { return }
                    convertElements(from: elements + index * source.byteCount, source, to: base, .float32, count: 1)
                }
                return value
            }
            let target = dtype(parameter)
            for finding in Self.findings(elements, source, parameter.count, target) {
                if let index = finding.nonFinite {
                    let at = elementPlace(index, shape: parameter.shape)
                    throw QwenSFTError(
                        .nonFinite,
                        "\(parameter.name): the weight at \(at) is \(value(index)); nothing was saved")
                }
                vanishing += finding.loss.vanishing
                if finding.loss.vanishing + finding.loss.overflowing > 0 { dtypes.insert(target) }
                overflowing += finding.loss.overflowing
                if place == nil, let index = finding.loss.firstOverflowing {
                    place =
                        "\(value(index)) at \(elementPlace(index, shape: parameter.shape)) of \(parameter.name)"
                }
            }
        }
        guard let place else { return }
        throw QwenSFTError(
            .nonFinite,
            "\(overflowing) of \(total) weights are too large for \(names), the first is \(place); nothing was saved"
        )
    }

    func warning() -> String? {
        guard vanishing > 0 else { return nil }
        return "\(vanishing) of \(total) weights are too small for \(names) and were saved as 0"
    }

    private var names: String { dtypes.map(\.rawValue).sorted().joined(separator: " and ") }

    private struct Finding {
        var nonFinite: Int?
        var loss = NarrowingLoss()
    }

    /// What each worker finds in its share of a weight, in the order of the elements.
    private static func findings(
        _ elements: UnsafeRawPointer, _ source: DType, _ count: Int, _ dtype: DType
    ) -> [Finding] {
        let threads = ThreadPool.shared.threads
        var findings = [Finding](repeating: Finding(), count: threads)
        findings.withUnsafeMutableBufferPointer { findings in
            ThreadPool.shared.run(threads: count < 1 << 16 ? 1 : threads) { worker in
                let mine = worker.range(of: count, unit: 4096)
                let share = elements + mine.lowerBound * source.byteCount
                var finding = Finding()
                finding.nonFinite = firstNonFinite(share, source, count: mine.count).map { mine.lowerBound + $0 }
                if finding.nonFinite == nil, dtype != source { finding.loss.add(share, source, mine, dtype) }
                findings[worker.index] = finding
            }
        }
        return findings
    }
}

extension NarrowingLoss {
    /// Adds what becomes of the elements of `range`, of which `elements` is the first.
    fileprivate mutating func add(_ elements: UnsafeRawPointer, _ source: DType, _ range: Range<Int>, _ dtype: DType) {
        let piece = 1 << 12
        withUnsafeTemporaryAllocation(of: Float.self, capacity: piece) { buffer in
            guard let values = buffer.baseAddress else { return }
            for start in stride(from: 0, to: range.count, by: piece) {
                let count = min(piece, range.count - start)
                convertElements(from: elements + start * source.byteCount, source, to: values, .float32, count: count)
                let part = NarrowingLoss(values, count: count, to: dtype)
                vanishing += part.vanishing
                overflowing += part.overflowing
                firstOverflowing = firstOverflowing ?? part.firstOverflowing.map { range.lowerBound + start + $0 }
            }
        }
    }
}
