extension Trainer {
    /// Writes all that the next step depends on, beside the model's weights: the optimizer with its numbers and its
    /// memory (of frozen parameters there is none), the number of steps taken and the seed. One safetensors file; an older one stays whole until it is complete.
    ///
    /// With the model saved as float32 (or in its own bfloat16), k steps, saving, opening and N − k steps give the same
    /// bits as N steps.
    public func saveState(to path: String) throws(QwenSFTError) { try saveState(to: path, adding: JSONObject()) }

    /// - Parameters:
    ///   - others: what else is to stand in the file's metadata, texts under keys with a point.
    ///   - withWeights: the trained weights are part of it.
    func saveState(to path: String, adding others: JSONObject, withWeights: Bool = false) throws(QwenSFTError) {
        let warning = try model.exclusively { () throws(QwenSFTError) in
            try requireAverage()
            try state.cover(trained.isTrainable, isFirstStep: stepCount == 0)
            var tensors: [TensorSource] = []
            for (prefix, moments) in stateTensors {
                for parameter in trained.parameters where moments.included[parameter.index] {
                    if let (codes, scales) = moments.blocks(of: parameter), let start = codes.baseAddress,
                        let numbers = scales.baseAddress
                    {
                        if let (index, value) = firstUnusable(numbers, scales.count, isSecond: true) {
                            throw QwenSFTError(
                                .nonFinite,
                                "the optimizer's memory of \(parameter.name) is \(value) in block \(index); nothing was saved"
                            )
                        }
                        tensors.append(
                            TensorSource(name: prefix + parameter.name, shape: parameter.shape, bytes: start))
                        tensors.append(
                            TensorSource(
                                name: Self.scalesPrefix + prefix + parameter.name, shape: [scales.count],
                                values: numbers, valuesType: .float32))
                        continue
                    }
                    let values = moments.floats.floats(parameter).base
                    if let (index, value) = firstUnusable(
                        values, parameter.count, isSecond: prefix == Self.secondPrefix)
                    {
                        throw QwenSFTError(
                            .nonFinite,
                            "the optimizer's memory of \(parameter.name) is \(value) at \(elementPlace(index, shape: parameter.shape)); nothing was saved"
                        )
                    }
                    tensors.append(
                        TensorSource(
                            name: prefix + parameter.name, shape: parameter.shape, values: values, valuesType: .float32)
                    )
                }
            }
            var notes = stateNotes
            for (key, value) in others.members { notes[key] = value }
            if withWeights {
                tensors += weightTensors
                addWeightNotes(to: &notes)
            }
            return try replaceFile(path) { (file: inout WritableFile) throws(QwenSFTError) in
                try writeSafetensors(tensors, as: nil, metadata: notes, to: &file)
            }
        }
        if let warning { Warnings.send(warning) }
    }

    /// Takes up what `saveState` wrote, the learning rate of that time included. Needs memory for a second copy of the
    /// optimizer's memory meanwhile.
    /// - Throws: `invalidArgument` when the file is of another optimizer or another model; `notFound`, `io`, `invalidFile`,
    ///   `outOfMemory`. The trainer is as before then, whatever became of the file while it was read.
    public func loadState(from path: String) throws(QwenSFTError) {
        try loadState(from: path) { (_: JSONFields) throws(QwenSFTError) in }
    }

    /// - Parameters:
    ///   - withWeights: the trained weights are part of it, and taken over too.
    ///   - check: looks at the metadata before anything is taken over.
    package func loadState(
        from path: String, withWeights: Bool = false, check: (JSONFields) throws(QwenSFTError) -> Void
    ) throws(QwenSFTError) {
        let file = try SafetensorsFile(path)
        let name = fileName(path)
        let notes = file.metadata
        let kind = try notes.string("optimizer") ?? "nothing"
        guard kind == stateKind else {
            throw QwenSFTError(
                .invalidArgument,
                "\(name): is the state of \(printable(kind)), but this trainer's optimizer is \(stateKind)")
        }
        func number<T: LosslessStringConvertible>(_ key: String) throws(QwenSFTError) -> T {
            guard let text = try notes.string(key) else { throw notes.missing(key) }
            guard let value = T(text) else { throw notes.wrong(key, "must be a number") }
            return value
        }
        var restored = optimizer
        restored.learningRate = try number("lr")
        do { try restored.validate() } catch { throw QwenSFTError(.invalidFile, "\(name): \(error.message)") }
        let steps: Int = try number("step")
        let seed: UInt64 = try number("seed")
        let worldSize: Int = try number("world_size")
        let mine = collective?.worldSize ?? 1
        guard worldSize == mine else {
            throw QwenSFTError(
                .invalidArgument,
                "\(name): was saved with world_size \(worldSize), and this trainer's is \(mine)")
        }
        guard (0...1 << 53).contains(steps) else { throw notes.wrong("step", "is no possible number of steps") }
        try check(notes)
        let byName = Dictionary(file.tensors.map { (Array($0.name.utf8), $0) }, uniquingKeysWith: { first, _ in first })
        try model.exclusively { () throws(QwenSFTError) in
            // Read to memory of its own: the file may end early, or hold what an optimizer cannot have computed.
            try state.cover(trained.isTrainable, isFirstStep: stepCount == 0)
            let new = try OptimizerState(
                optimizer, trained.storage.list, isTrainable: state.included, hasOuter: state.outer != nil)
            func tensor(_ tensorName: String, _ type: String, _ shape: [Int]) throws(QwenSFTError) -> StoredTensor {
                guard let tensor = byName[Array(tensorName.utf8)] else {
                    throw QwenSFTError(.invalidFile, "\(name): holds no tensor '\(tensorName)'")
                }
                guard tensor.shape == shape, tensor.elementType == type else {
                    throw QwenSFTError(
                        .invalidArgument,
                        "\(name): tensor '\(tensor.name)' is \(tensor.elementType) \(tensor.shape), expected \(type) \(shape)"
                    )
                }
                return tensor
            }
            func readNumbers(
                _ tensor: StoredTensor, to values: UnsafeMutablePointer<Float>, isSecond: Bool
            ) throws(QwenSFTError) {
                try tensor.read(as: .float32, into: values)
                if let (index, value) = firstUnusable(values, tensor.elementCount, isSecond: isSecond) {
                    throw QwenSFTError(
                        .invalidFile,
                        "\(name): tensor '\(tensor.name)' is \(value) at \(elementPlace(index, shape: tensor.shape))")
                }
            }
            for (prefix, moments) in Self.tensors(of: new) {
                for parameter in trained.parameters where moments.included[parameter.index] {
                    let own = prefix + parameter.name
                    if let (codes, scales) = moments.blocks(of: parameter), let numbers = scales.baseAddress {
                        try tensor(own, "U8", parameter.shape).readBytes(into: codes)
                        try readNumbers(
                            tensor(Self.scalesPrefix + own, "F32", [scales.count]), to: numbers, isSecond: true)
                    } else {
                        try readNumbers(
                            tensor(own, "F32", parameter.shape), to: moments.floats.floats(parameter).base,
                            isSecond: prefix == Self.secondPrefix)
                    }
                }
            }
            if withWeights { try take(try checkedWeights(of: file), of: file) }
            state = new
            restore(optimizer: restored, stepCount: steps, seed: seed)
        }
    }

    private static var secondPrefix: String { "second." }
    /// Of what is kept in 8 bits.
    private static var scalesPrefix: String { "scales." }

    private var stateTensors: [(prefix: String, moments: Moments)] { Self.tensors(of: state) }

    private static func tensors(of state: OptimizerState) -> [(prefix: String, moments: Moments)] {
        [("first.", state.first), (secondPrefix, state.second), ("outer.", state.outer)].compactMap { prefix, moments in
            moments.map { (prefix, $0) }
        }
    }

    private var stateKind: String {
        let kind =
            switch optimizer {
            case .sgd(let sgd): sgd.momentum == 0 ? "SGD" : "SGD with momentum"
            case .adamW(let adamW): adamW.stateBits == 8 ? "AdamW in 8 bits" : "AdamW"
            }
        return state.outer == nil ? kind : kind + " and an outer optimizer"
    }

    private var stateNotes: JSONObject {
        var notes = JSONObject()
        notes["optimizer"] = .string(stateKind)
        notes["lr"] = .string("\(learningRate)")
        notes["step"] = .string("\(stepCount)")
        notes["seed"] = .string("\(options.seed)")
        notes["world_size"] = .string("\(collective?.worldSize ?? 1)")
        return notes
    }
}

/// The first value that is not finite or, where it is to be a second moment, below 0.
private func firstUnusable(
    _ values: UnsafeMutablePointer<Float>, _ count: Int, isSecond: Bool
) -> (index: Int, value: Float)? {
    let index =
        firstNonFinite(values, .float32, count: count) ?? (isSecond ? (0..<count).first { values[$0] < 0 } : nil)
    return index.map { ($0, values[$0]) }
}
