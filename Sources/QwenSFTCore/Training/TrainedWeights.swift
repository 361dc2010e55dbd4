/// The weights that a trainer changes, in files of their own: what is frozen, or below an adapter, is not among them.
extension Trainer {
    private static var weightPrefix: String { "weight." }
    private static var stopsKey: String { "stop_ids" }

    /// One tensor for each trained parameter, as it lies in memory. With the model taken.
    var weightTensors: [TensorSource] {
        let trained = trained
        return trained.parameters.compactMap { parameter in
            guard trained.isTrainable[parameter.index],
                let (start, dtype) = trained.storage.weight(parameter).elements
            else { return nil }
            return TensorSource(
                name: Self.weightPrefix + parameter.name, shape: parameter.shape, values: start, valuesType: dtype)
        }
    }

    /// Adds what belongs to the weights and is not a tensor.
    func addWeightNotes(to notes: inout JSONObject) {
        notes[Self.stopsKey] = .string(model.learnedStopIDs.map(String.init).joined(separator: " "))
    }

    /// Writes the trained weights to one safetensors file, bit for bit.
    func saveWeights(to path: String, notes: JSONObject) throws(QwenSFTError) {
        let warning = try model.exclusively { () throws(QwenSFTError) in
            var notes = notes
            addWeightNotes(to: &notes)
            let tensors = weightTensors
            return try replaceFile(path) { (file: inout WritableFile) throws(QwenSFTError) in
                try writeSafetensors(tensors, as: nil, metadata: notes, to: &file)
            }
        }
        if let warning { Warnings.send(warning) }
    }

    /// Takes over weights that `saveWeights` has written.
    /// - Throws: as `loadState`; the weights are as before then, unless the file breaks between two readings of it.
    func loadWeights(from path: String) throws(QwenSFTError) {
        let file = try SafetensorsFile(path)
        try model.exclusively { () throws(QwenSFTError) in
            let weights = try checkedWeights(of: file)
            try take(weights, of: file)
        }
    }

    /// The trained parameters and their tensors in the file, each read once: it has the shape and type, and is finite.
    func checkedWeights(of file: SafetensorsFile) throws(QwenSFTError) -> [(Parameter, StoredTensor)] {
        let byName = Dictionary(file.tensors.map { (Array($0.name.utf8), $0) }, uniquingKeysWith: { first, _ in first })
        let trained = trained
        var result: [(Parameter, StoredTensor)] = []
        for parameter in trained.parameters where trained.isTrainable[parameter.index] {
            guard let tensor = byName[Array((Self.weightPrefix + parameter.name).utf8)] else {
                throw QwenSFTError(
                    .invalidFile,
                    "\(file.metadata.file): holds no tensor '\(Self.weightPrefix + parameter.name)'")
            }
            let dtype = trained.storage.weight(parameter).elements?.dtype ?? .float32
            guard tensor.shape == parameter.shape, tensor.dtype == dtype, !tensor.isFloat64 else {
                throw QwenSFTError(
                    .invalidArgument,
                    "\(file.metadata.file): tensor '\(printable(tensor.name))' is \(tensor.elementType) \(tensor.shape), expected \(dtype.rawValue) \(parameter.shape)"
                )
            }
            let piece = min(1 << 20, max(parameter.count, 1))
            try withTemporary(UInt8.self, piece * dtype.byteCount) { (scratch) throws(QwenSFTError) in
                for start in stride(from: 0, to: parameter.count, by: piece) {
                    try tensor.readFinite(
                        start..<min(start + piece, parameter.count), as: dtype, into: UnsafeMutableRawPointer(scratch))
                }
            }
            result.append((parameter, tensor))
        }
        return result
    }

    /// Takes over what has been checked. With the model taken.
    func take(_ weights: [(Parameter, StoredTensor)], of file: SafetensorsFile) throws(QwenSFTError) {
        if adapter == nil { try model.ownWeights() }
        model.weightsVersion += 1
        let storage = trained.storage
        for (parameter, tensor) in weights {
            guard let (start, dtype) = storage.weight(parameter).elements else { continue }
            try tensor.read(as: dtype, into: UnsafeMutableRawPointer(mutating: start))
        }
        let stops = try file.metadata.string(Self.stopsKey) ?? ""
        model.learnedStopIDs = stops.split(separator: " ").compactMap { Int32($0) }
    }
}
