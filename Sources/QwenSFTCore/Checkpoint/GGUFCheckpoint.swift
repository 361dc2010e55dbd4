/// What a model is made of, before its weights are read.
struct OpenedCheckpoint {
    let configuration: Configuration
    let generationDefaults: GenerationConfiguration
    let tensors: SafetensorsCheckpoint
    let companions: CheckpointCompanions
    let notes: GGUFNotes
}

/// What a GGUF file says of itself and of where it comes from: its name, license, authors.
struct GGUFNotes: Sendable {
    let name: String
    /// Keys that a new file takes over as they are.
    var entries: [GGUFEntry] = []
    /// How the file has matrices, if that is a type which is written too.
    var type: GGUFType?
}

extension OpenedCheckpoint {
    /// Opens a GGUF file as if it were a checkpoint directory.
    init(gguf path: String) throws(QwenSFTError) {
        let gguf = try GGUFFile(path)
        configuration = try Configuration(gguf: gguf)
        generationDefaults = GenerationConfiguration(
            try JSONFields(.object(GGUFConfiguration.generation(gguf)), file: gguf.name), configuration: configuration)
        var tensors: [StoredTensor] = []
        for tensor in gguf.tensors {
            guard let name = GGUFNames.parameter(named: tensor.name) else {
                throw QwenSFTError(
                    .unsupported,
                    "\(gguf.name): tensor '\(printable(tensor.name))' is not part of a '\(configuration.modelType)'")
            }
            guard tensor.dtype != nil else {
                throw QwenSFTError(
                    .unsupported,
                    "\(gguf.name): tensor '\(printable(tensor.name))' is \(tensor.elementType); of GGUF's types this version reads F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K"
                )
            }
            tensors.append(tensor.named(name))
        }
        self.tensors = SafetensorsCheckpoint(tensors, directory: path)
        do throws(QwenSFTError) { companions = CheckpointCompanions(try GGUFTokenizer.files(gguf)) } catch {
            if error.code == .outOfMemory { throw error }
            companions = CheckpointCompanions(
                [], warnings: ["\(error.message); a checkpoint that is saved will be without a tokenizer"])
        }
        notes = try GGUFNotes(gguf)
    }
}

extension GGUFNotes {
    /// Keys under "general." that are written anew.
    private static let own: Set<String> = [
        GGUFKeys.architecture, GGUFKeys.type, GGUFKeys.name, GGUFKeys.fileType, GGUFKeys.quantizationVersion,
        "general.alignment",
    ]

    init(_ gguf: GGUFFile) throws(QwenSFTError) {
        name = try gguf.string(GGUFKeys.name) ?? gguf.name
        entries = gguf.entries.filter {
            $0.key.hasPrefix("general.") && !$0.key.hasPrefix("general.sampling.") && !Self.own.contains($0.key)
        }
        let kinds = Set(gguf.tensors.filter { $0.shape.count == 2 }.map(\.elementType))
        // What is in fewer bits is closest to Q8_0 of those that are written.
        type = kinds.count == 1 ? GGUFType.allCases.first { kinds.contains($0.elementType.name) } : .q8
        if type == nil { type = .q8 }
    }
}

extension StoredTensor {
    fileprivate func named(_ name: String) -> StoredTensor {
        StoredTensor(
            name: name, elementType: elementType, shape: shape, elementCount: elementCount, offset: offset,
            byteCount: byteCount, file: file)
    }
}
