/// Where a model came from: what saving needs to know of it.
struct CheckpointSource: Sendable {
    /// Or a GGUF file.
    let directory: String
    /// `BaseIdentity` of its files; "" where the weights in memory tell it themselves.
    let identity: String
    let companions: CheckpointCompanions
    /// How the file holds the weights.
    let dtype: DType
    /// What a GGUF file says of itself; of a directory, its name.
    let notes: GGUFNotes
}

extension Model {
    /// Opens a Hugging Face checkpoint directory: config.json, generation_config.json, model.safetensors or its shards. Or a GGUF
    /// file, whose weights are widened where it has them in fewer bits.
    ///
    /// Every tensor is checked against the configuration before any is read.
    /// - Parameters:
    ///   - directory: where it stands, or the path of a GGUF file.
    ///   - dtype: how to keep matrices in memory: float32 or bfloat16; nil: as in the files, in bfloat16 where all of them are and
    ///     in float32 where they are not.
    ///   - quantization: keep them in fewer bits instead: less memory and faster answers, for a model that is not trained.
    ///   - onProgress: called with the bytes of the weights that were read, and all of them; `false` cancels.
    /// - Throws: `notFound`, `io`, `invalidFile`, `unsupported`, `outOfMemory`, naming file and tensor; `cancelled`.
    public convenience init(
        directory: String, dtype: DType? = .float32, quantization: Quantization? = nil,
        onProgress: (_ done: Int, _ total: Int) -> Bool = { _, _ in true }
    ) throws(QwenSFTError) {
        guard dtype != .float16 else {
            throw QwenSFTError(.unsupported, "weights are kept as float32 or bfloat16, not as float16")
        }
        let opened = try Self.open(directory)
        let configuration = opened.configuration
        for warning in configuration.warnings + opened.companions.warnings { Warnings.send(warning) }
        let layout = ParameterLayout(configuration)
        let tensors = try Self.tensors(of: opened, layout)
        try checkOtherTensors(opened.tensors, tensors, configuration)
        let dtype = dtype ?? Self.exactDType(of: tensors, layout)
        Self.warnOfTypes(tensors, configuration)
        if let quantization, !quantization.isFast {
            Warnings.send(
                "\(quantization.rawValue): this processor has no instructions that make it fast; answers take longer than with bfloat16"
            )
        }
        let weights = try ParameterStorage(
            layout.list, dtype: quantization == nil ? dtype : .bfloat16, quantization: quantization, purpose: "weights")
        try Self.read(tensors, into: weights, onProgress)
        var identity = ""
        if quantization != nil {
            identity = try BaseIdentity(layout.list.parameters) { (index, range, dtype, target) throws(QwenSFTError) in
                try tensors[index].read(range, as: dtype, into: target)
            }.text
        }
        if try fileExists(joinPath(directory, LoRAConfiguration.fileName)) {
            Warnings.send(
                "\(directory): \(LoRAConfiguration.fileName) is beside the model; the model is opened without that adapter"
            )
        }
        self.init(
            configuration, opened.generationDefaults, layout, weights,
            CheckpointSource(
                directory: directory, identity: identity, companions: opened.companions,
                dtype: tensors.first?.dtype ?? .float32, notes: opened.notes))
    }

    /// Whether the matrices of a checkpoint are all bfloat16, so that `dtype: nil` and lossless weights keep what the files have.
    /// Only the headers of its files are read.
    /// - Throws: as for opening the model.
    public static func isBFloat16(directory: String) throws(QwenSFTError) -> Bool {
        let opened = try open(directory)
        let layout = ParameterLayout(opened.configuration)
        return exactDType(of: try tensors(of: opened, layout), layout) == .bfloat16
    }

    /// Every parameter's tensor, of the shape that the configuration says.
    private static func tensors(
        of opened: OpenedCheckpoint, _ layout: ParameterLayout
    ) throws(QwenSFTError) -> [StoredTensor] {
        var tensors: [StoredTensor] = []
        for parameter in layout.list.parameters {
            tensors.append(try opened.tensors.tensor(parameter.name, shape: parameter.shape))
        }
        return tensors
    }

    /// The smaller type in memory that holds all matrices as they are. float16 has more digits than bfloat16.
    private static func exactDType(of tensors: [StoredTensor], _ layout: ParameterLayout) -> DType {
        let isExact = zip(layout.list.parameters, tensors).allSatisfy { !$0.isMatrix || $1.dtype == .bfloat16 }
        return isExact ? .bfloat16 : .float32
    }

    private static func open(_ path: String) throws(QwenSFTError) -> OpenedCheckpoint {
        try fileExists(path) ? OpenedCheckpoint(gguf: path) : openFiles(path)
    }

    /// Opens what belongs together: a save that replaces the checkpoint meanwhile is noticed, and all is opened anew.
    private static func openFiles(_ directory: String) throws(QwenSFTError) -> OpenedCheckpoint {
        for _ in 0..<10 {
            let before = CheckpointStamp(directory)
            let opened: OpenedCheckpoint
            do throws(QwenSFTError) {
                let configuration = try Configuration(directory: directory)
                opened = OpenedCheckpoint(
                    configuration: configuration,
                    generationDefaults: try GenerationConfiguration(
                        directory: directory, configuration: configuration),
                    tensors: try SafetensorsCheckpoint(directory: directory),
                    companions: try CheckpointCompanions(of: directory),
                    notes: GGUFNotes(name: fileName(directory)))
            } catch {
                if CheckpointStamp(directory) == before { throw CheckpointDirectory.explain(error, directory) }
                continue
            }
            if CheckpointStamp(directory) == before { return opened }
        }
        throw QwenSFTError(.io, "\(directory): is replaced again and again while it is opened")
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
                try tensors[index].readFinite(elements, as: dtype, into: target)
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
                try fill(weights, weights.list.parameters[first..<next], from: read)
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

/// What changes when a checkpoint is replaced.
private struct CheckpointStamp: Equatable {
    private let numbers: [Int]

    init(_ directory: String) {
        let paths = [
            directory, joinPath(directory, CheckpointFileKind.marker),
            joinPath(directory, SafetensorsCheckpoint.fileName),
        ]
        numbers = paths.flatMap { path -> [Int] in
            guard let info = fileStatus(path) else { return [0] }
            return [Int(clamping: info.st_dev), Int(clamping: info.st_ino)]
        }
    }
}

extension StoredTensor {
    /// Reads elements of a weight as `read` does, to an aligned place.
    /// - Throws: `invalidFile` naming one that is infinite or not a number, `unsupported` naming one that `dtype` has no room for.
    func readFinite(
        _ range: Range<Int>, as dtype: DType, into target: UnsafeMutableRawPointer
    ) throws(QwenSFTError) {
        // What was just read is still in the processor's cache.
        let piece = 1 << 17
        for start in stride(from: range.lowerBound, to: range.upperBound, by: piece) {
            let part = start..<min(start + piece, range.upperBound)
            let elements = target + (start - range.lowerBound) * dtype.byteCount
            try read(part, as: dtype, into: elements)
            if let index = firstNonFinite(elements, dtype, count: part.count) {
                throw nonFinite(at: start + index, as: dtype)
            }
        }
    }

    private func nonFinite(at index: Int, as dtype: DType) -> QwenSFTError {
        var value: Float = 0
        var failure: QwenSFTError?
        withUnsafeMutableBytes(of: &value) { bytes in
            guard let base = bytes.baseAddress else { return }
            do throws(QwenSFTError) { try read(index..<index + 1, as: .float32, into: base) } catch { failure = error }
        }
        if let failure { return failure }
        let place =
            "\(fileName(file.path)): tensor '\(printable(name))' is \(value) at \(elementPlace(index, shape: shape))"
        return value.isFinite
            ? QwenSFTError(.unsupported, "\(place), which \(dtype.rawValue) has no room for; float32 has")
            : QwenSFTError(.invalidFile, place)
    }
}
