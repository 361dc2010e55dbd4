/// How matrices are written to a GGUF file; vectors are float32 in any case.
public enum GGUFType: String, Sendable, CaseIterable {
    case float32 = "f32"
    case bfloat16 = "bf16"
    case float16 = "f16"
    /// 8 bits with a scale for every 32 weights.
    case q8 = "q8_0"

    init(_ dtype: DType) {
        self =
            switch dtype {
            case .float32: .float32
            case .bfloat16: .bfloat16
            case .float16: .float16
            }
    }

    var elementType: GGUFElementType {
        switch self {
        case .float32: .float32
        case .bfloat16: .bfloat16
        case .float16: .float16
        case .q8: .q8
        }
    }

    /// llama.cpp's number for a file of mostly this type.
    fileprivate var fileType: Int {
        switch self {
        case .float32: 0
        case .float16: 1
        case .q8: 7
        case .bfloat16: 32
        }
    }

    /// What the numbers of a matrix go through.
    fileprivate var dtype: DType {
        switch self {
        case .float32, .q8: .float32
        case .bfloat16: .bfloat16
        case .float16: .float16
        }
    }
}

extension Model {
    /// Writes the model as one GGUF file, which llama.cpp and what is built on it open: weights, tokenizer, chat template, and where
    /// answers end. Adapters are not part of it (`saveAdapterGGUF`, or `mergeAdapter` before; where one is set, a warning says so). A file at the same place stays
    /// whole until the new one is complete.
    /// - Parameters:
    ///   - path: of the file to write.
    ///   - type: of the matrices; nil: as the files had them that the model was opened from. A matrix whose rows are not made of blocks
    ///     of 32 is written as float16 in place of q8_0.
    ///   - onProgress: called with the bytes of the weights that were written, and all of them; `false` cancels.
    /// - Throws: `nonFinite` naming a weight that is not finite or too large for the type; `unsupported` for a quantized model and for
    ///   a tokenizer that cannot be written; `io`, `outOfMemory`, `busy`, `cancelled`.
    public func saveGGUF(
        to path: String, type: GGUFType? = nil, onProgress: (_ done: Int, _ total: Int) -> Bool = { _, _ in true }
    ) throws(QwenSFTError) {
        try requireFullWeights("it cannot be saved")
        let warnings = try exclusively { () throws(QwenSFTError) in
            let type = type ?? source.notes.type ?? GGUFType(source.dtype)
            let entries = try ggufEntries(type)
            let loss = try WeightCheck(self) { ggufType(of: $0, type).dtype }.warning()
            var tensors: [GGUFTensorSource] = []
            for parameter in parameters {
                guard let (start, dtype) = weights.weight(parameter).elements,
                    let name = GGUFNames.name(of: parameter.name)
                else { continue }
                tensors.append(
                    GGUFTensorSource(
                        name: name, shape: parameter.shape, values: start, valuesType: dtype,
                        type: ggufType(of: parameter, type).elementType))
            }
            let warning = try replaceFile(path) { (file: inout WritableFile) throws(QwenSFTError) in
                try writeGGUF(entries, tensors, to: &file, onProgress: onProgress)
            }
            return [loss, warning, adapterWarning]
        }
        for case let warning? in warnings { Warnings.send(warning) }
    }

    private func ggufType(of parameter: Parameter, _ type: GGUFType) -> GGUFType {
        guard parameter.isMatrix else { return .float32 }
        return parameter.shape[1].isMultiple(of: type.elementType.elements) ? type : .float16
    }

    private func ggufEntries(_ type: GGUFType) throws(QwenSFTError) -> [GGUFEntry] {
        var entries = [
            GGUFEntry(GGUFKeys.architecture, .string(configuration.modelType)),
            GGUFEntry(GGUFKeys.type, .string("model")),
        ]
        entries += GGUFConfiguration.samplingEntries(generationDefaults)
        entries.append(GGUFEntry(GGUFKeys.name, .string(source.notes.name)))
        entries += source.notes.entries
        entries += try GGUFConfiguration.entries(configuration)
        entries += [
            GGUFEntry(GGUFKeys.fileType, .uint32(type.fileType)), GGUFEntry(GGUFKeys.quantizationVersion, .uint32(2)),
        ]
        var stopIDs = generationDefaults.eosTokenIDs
        for id in learnedStopIDs where !stopIDs.contains(id) { stopIDs.append(id) }
        let otherIDs = [("bos_token_id", "bos_token_id"), ("padding_token_id", "pad_token_id")].compactMap {
            key, name in
            configuration.document[name]?.integer.flatMap {
                (0..<configuration.vocabularySize).contains($0) ? (key: key, id: $0) : nil
            }
        }
        let files = try TokenizerFiles(.memory(source.companions.files, of: source.directory))
        return try entries
            + GGUFTokenizer.entries(
                files, vocabularySize: configuration.vocabularySize, stopIDs: stopIDs, otherIDs: otherIDs)
    }

    /// Writes an adapter as a GGUF file of its own, which llama.cpp adds to a model when it is loaded (`--lora`): A and B in float32.
    /// - Throws: `invalidArgument` for a name that no adapter has; `unsupported` for one with rows of tokens; `nonFinite`, `io`, `busy`.
    public func saveAdapterGGUF(to path: String, name: String = "default") throws(QwenSFTError) {
        let warning = try exclusively { () throws(QwenSFTError) in
            let adapter = try adapter(named: name)
            guard adapter.embeddingTokens == nil, adapter.headTokens == nil else {
                throw QwenSFTError(
                    .unsupported,
                    "the adapter '\(printable(name))' has rows of tokens (\(LoRAConfiguration.tokensKey)), for which adapters in GGUF have no place; merge it, and write the model"
                )
            }
            let (alpha, tensors) = try adapter.ggufTensors()
            let entries = [
                GGUFEntry(GGUFKeys.architecture, .string(configuration.modelType)),
                GGUFEntry(GGUFKeys.type, .string("adapter")), GGUFEntry("adapter.type", .string("lora")),
                GGUFEntry(GGUFKeys.name, .string(name)), GGUFEntry("adapter.lora.alpha", .float32(alpha)),
                GGUFEntry(GGUFKeys.quantizationVersion, .uint32(2)),
            ]
            return try replaceFile(path) { (file: inout WritableFile) throws(QwenSFTError) in
                try writeGGUF(entries, tensors, to: &file) { _, _ in true }
            }
        }
        if let warning { Warnings.send(warning) }
    }
}

extension Adapter {
    /// A and B of every layer, and the one alpha that llama.cpp divides by each one's rank. Where that does not give a layer's
    /// scale, the rest is in its B.
    fileprivate func ggufTensors() throws(QwenSFTError) -> (alpha: Double, [GGUFTensorSource]) {
        let parts = lowRanks.compactMap(\.self).flatMap { lowRank in
            lowRank.parts.map { (b: $0.b.parameters, scale: Double($0.scale), rank: $0.ranks.count) }
        }
        let first = parts.first { $0.scale != 0 }
        // Of alpha 0 it would take 1 for the scale.
        let alpha = first.map { $0.scale * Double($0.rank) } ?? 1
        var factors = [Double](repeating: 1, count: parameters.count)
        for part in parts {
            let factor = part.scale * Double(part.rank) / alpha
            for index in part.b where abs(factor - 1) > 1e-7 { factors[index] = factor }
        }
        var tensors: [GGUFTensorSource] = []
        for parameter in parameters {
            let values = storage.floats(parameter).base
            if let index = firstNonFinite(values, .float32, count: parameter.count) {
                throw QwenSFTError(
                    .nonFinite,
                    "\(parameter.name): the value at \(elementPlace(index, shape: parameter.shape)) is \(values[index]); nothing was saved"
                )
            }
            let isA = parameter.name.hasSuffix(Self.suffixA)
            let module = parameter.name.dropFirst(Self.prefix.count).dropLast((isA ? Self.suffixA : Self.suffixB).count)
            guard let name = GGUFNames.name(of: module + ".weight") else { continue }
            tensors.append(
                GGUFTensorSource(
                    name: name + (isA ? ".lora_a" : ".lora_b"), shape: parameter.shape, values: values,
                    valuesType: .float32, type: .float32, factor: Float(factors[parameter.index])))
        }
        return (alpha, tensors)
    }
}
