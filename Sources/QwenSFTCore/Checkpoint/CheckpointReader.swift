/// Where a model came from: what saving needs to know of it.
struct CheckpointSource: Sendable {
    let companions: CheckpointCompanions
    /// How the file holds the weights.
    let dtype: DType
}

extension Model {
    /// Opens a Hugging Face checkpoint directory: config.json, generation_config.json, model.safetensors or its shards.
    ///
    /// Every tensor is checked against the configuration before any is read.
    /// - Parameters:
    ///   - dtype: how to keep matrices in memory: float32 or bfloat16.
    ///   - quantization: keep them in fewer bits instead: less memory and faster answers, for a model that is not trained.
    ///   - onProgress: called with the bytes of the weights that were read, and all of them; `false` cancels.
    /// - Throws: `notFound`, `io`, `invalidFile`, `unsupported`, `outOfMemory`, naming file and tensor; `cancelled`.
    public convenience init(
        directory: String, dtype: DType = .float32, quantization: Quantization? = nil,
        onProgress: (_ done: Int, _ total: Int) -> Bool = { _, _ in true }
    ) throws(QwenSFTError) {
        guard dtype != .float16 else {
            throw QwenSFTError(.unsupported, "weights are kept as float32 or bfloat16, not as float16")
        }
        let configuration = try Configuration(directory: directory)
        for warning in configuration.warnings { Warnings.send(warning) }
        let generationDefaults = try GenerationConfiguration(directory: directory, configuration: configuration)
        let checkpoint = try SafetensorsCheckpoint(directory: directory)
        let companions = try CheckpointCompanions(of: directory)
        let layout = ParameterLayout(configuration)
        var tensors: [StoredTensor] = []
        for parameter in layout.parameters {
            tensors.append(try checkpoint.tensor(parameter.name, shape: parameter.shape))
        }
        try checkOtherTensors(checkpoint, tensors, configuration)
        Self.warnOfTypes(tensors, configuration)
        let weights = try ParameterStorage(
            layout, dtype: quantization == nil ? dtype : .bfloat16, quantization: quantization, purpose: "weights")
        try Self.read(tensors, into: weights, onProgress)
        self.init(
            configuration, generationDefaults, weights,
            CheckpointSource(companions: companions, dtype: tensors.first?.dtype ?? .float32))
    }

    /// What config.json says of the weights' type is not used; whoever relies on it should know.
    private static func warnOfTypes(_ tensors: [StoredTensor], _ configuration: Configuration) {
        guard let first = tensors.first, let dtype = first.dtype else { return }
        let file = fileName(first.file.path)
        if let wide = tensors.first(where: \.isFloat64) {
            Warnings.send(
                "\(fileName(wide.file.path)): tensor '\(printable(wide.name))' is float64; such weights are rounded to float32"
            )
        } else if let declared = configuration.declaredDType, declared != dtype {
            Warnings.send(
                "\(file): weights are \(dtype.rawValue), not \(declared.rawValue) as config.json says; a save writes \(dtype.rawValue)"
            )
        }
    }

    /// Reads all tensors to their places, each worker its share of every one.
    private static func read(
        _ tensors: [StoredTensor], into weights: ParameterStorage, _ onProgress: (Int, Int) -> Bool
    ) throws(QwenSFTError) {
        try ThreadPool.shared.session { () throws(QwenSFTError) in
            let sizes = tensors.map { $0.elementCount * ($0.dtype ?? .float32).byteCount }
            let total = sizes.reduce(0, +)
            let codes = try weights.packed.map { (packed) throws(QwenSFTError) in
                try chooseCodes(tensors, weights.layout, packed)
            }
            var exceptions = [PackedStorage.Exceptions](repeating: .init(), count: ThreadPool.shared.threads)
            var (done, next) = (0, 0)
            while next < tensors.count {
                guard onProgress(done, total) else { throw cancelled }
                // As many as make up a hundredth of the whole.
                let first = next
                var size = 0
                while next < tensors.count, size <= total / 100 {
                    size += sizes[next]
                    next += 1
                }
                try read(tensors, first..<next, into: weights, codes, &exceptions)
                done += size
            }
            try weights.packed?.take(exceptions, purpose: "weights")
            guard onProgress(total, total) else { throw cancelled }
        }
    }

    private static var cancelled: QwenSFTError { QwenSFTError(.cancelled, "cancelled while the weights were read") }

    /// Reads some of the tensors, each worker its share of every one.
    /// - Parameter exceptions: one for every worker.
    private static func read(
        _ tensors: [StoredTensor], _ range: Range<Int>, into weights: ParameterStorage, _ codes: [[UInt8]]?,
        _ exceptions: inout [PackedStorage.Exceptions]
    ) throws(QwenSFTError) {
        var failures = [QwenSFTError?](repeating: nil, count: exceptions.count)
        exceptions.withUnsafeMutableBufferPointer { exceptions in
            failures.withUnsafeMutableBufferPointer { failures in
                ThreadPool.shared.run(threads: exceptions.count) { worker in
                    do throws(QwenSFTError) {
                        for index in range {
                            try read(tensors[index], index, into: weights, codes, worker, &exceptions[worker.index])
                        }
                    } catch { failures[worker.index] = error }
                }
            }
        }
        for case let failure? in failures { throw failure }
    }

    /// Reads a worker's share of a tensor to the place of parameter number `index`.
    private static func read(
        _ tensor: StoredTensor, _ index: Int, into weights: ParameterStorage, _ codes: [[UInt8]]?,
        _ worker: ThreadPool.Worker, _ exceptions: inout PackedStorage.Exceptions
    ) throws(QwenSFTError) {
        let target = weights.weight(weights.layout.parameters[index])
        let mine = worker.range(of: tensor.elementCount, unit: 4096)
        guard !mine.isEmpty else { return }
        let rows = worker.range(of: target.rows)
        switch target.compressed {
        case .quantized(let matrix): try quantize(tensor, rows, to: matrix)
        case .packed(let packed):
            try pack(
                tensor, rows, to: packed, codes?[index] ?? [], firstRow: weights.packed?.firstRow(of: index) ?? 0,
                &exceptions)
        case nil:
            try tensor.read(
                mine, as: target.dtype, into: target.elements + mine.lowerBound * target.dtype.byteCount)
        }
    }

    private static func quantize(
        _ tensor: StoredTensor, _ rows: Range<Int>, to target: QuantizedMatrix
    ) throws(QwenSFTError) {
        let most = max(1, (1 << 16) / max(1, target.columns))
        var failure: QwenSFTError?
        withUnsafeTemporaryAllocation(of: Float.self, capacity: most * target.columns) { values in
            guard let base = values.baseAddress else { return }
            for start in stride(from: rows.lowerBound, to: rows.upperBound, by: most) {
                let some = start..<min(start + most, rows.upperBound)
                let elements = some.lowerBound * target.columns..<some.upperBound * target.columns
                do throws(QwenSFTError) { try tensor.read(elements, as: .float32, into: base) } catch {
                    failure = error
                    return
                }
                target.quantize(base, rows: some)
            }
        }
        if let failure { throw failure }
    }
}
