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
            let read: ElementReader = { (index, elements, dtype, target) throws(QwenSFTError) in
                try tensors[index].read(elements, as: dtype, into: target)
            }
            try weights.beginFilling(threads: ThreadPool.shared.threads, from: read)
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
                try fill(weights, weights.layout.parameters[first..<next], from: read)
                done += size
            }
            try weights.endFilling()
            guard onProgress(total, total) else { throw cancelled }
        }
    }

    private static var cancelled: QwenSFTError { QwenSFTError(.cancelled, "cancelled while the weights were read") }

    /// Reads some of the parameters, each worker its share of every one.
    private static func fill(
        _ weights: ParameterStorage, _ parameters: ArraySlice<Parameter>, from read: ElementReader
    ) throws(QwenSFTError) {
        let threads = ThreadPool.shared.threads
        var failures = [QwenSFTError?](repeating: nil, count: threads)
        failures.withUnsafeMutableBufferPointer { failures in
            ThreadPool.shared.run(threads: threads) { worker in
                do throws(QwenSFTError) {
                    for parameter in parameters { try weights.fill(parameter, worker, from: read) }
                } catch { failures[worker.index] = error }
            }
        }
        for case let failure? in failures { throw failure }
    }
}
