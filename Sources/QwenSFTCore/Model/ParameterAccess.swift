extension Model {
    /// The parameter of this name.
    /// - Throws: `invalidArgument` if there is none.
    public func parameter(named name: String) throws(QwenSFTError) -> Parameter {
        try parameters[index(of: name)]
    }

    /// The values of a parameter, converted to float32; shape as in `parameter`.
    public func values(of parameter: Parameter) throws(QwenSFTError) -> [Float] {
        try Memory.require(parameter.count, of: Float.self, for: parameter.name)
        let weight = weights.weight(try known(parameter))
        return try exclusively { weight.values }
    }

    /// The same into memory of the caller's, which must have room for them.
    package func readValues(
        of parameter: Parameter, to buffer: UnsafeMutableBufferPointer<Float>
    ) throws(QwenSFTError) {
        let weight = weights.weight(try known(parameter))
        try exclusively { () throws(QwenSFTError) in
            guard let base = buffer.baseAddress, buffer.count >= weight.count else { return }
            weight.format.widen(0..<weight.rows, 0..<weight.columns, to: base)
        }
    }

    /// Replaces the values of a parameter; in a bfloat16 model a matrix is rounded to the nearest.
    /// - Throws: `invalidArgument` for a wrong count, `nonFinite` for infinities and NaN and for what bfloat16 would round to
    ///   infinity, with the model as before.
    public func setValues(_ values: [Float], of parameter: Parameter) throws(QwenSFTError) {
        try values.withUnsafeBufferPointer { (values) throws(QwenSFTError) in try setValues(values, of: parameter) }
    }

    /// The same from memory of the caller's. The count is compared before anything is read.
    package func setValues(
        _ values: UnsafeBufferPointer<Float>, of parameter: Parameter
    ) throws(QwenSFTError) {
        let parameter = try known(parameter)
        let weight = weights.weight(parameter)
        guard values.count == weight.count else {
            throw QwenSFTError(
                .invalidArgument,
                "\(parameter.name): \(values.count) values, shape \(parameter.shape) needs \(weight.count)")
        }
        if let wrong = values.firstIndex(where: { !$0.isFinite }) {
            throw QwenSFTError(.nonFinite, "\(parameter.name): element \(wrong) is \(values[wrong])")
        }
        // Halfway between bfloat16's largest number and what would be the next.
        if weight.elements?.dtype == .bfloat16,
            let wrong = values.firstIndex(where: { $0.magnitude.bitPattern >= 0x7F7F_8000 })
        {
            throw QwenSFTError(
                .nonFinite, "\(parameter.name): element \(wrong) is \(values[wrong]), which bfloat16 rounds to infinity"
            )
        }
        try requireFullWeights("its values cannot be replaced")
        try exclusively { () throws(QwenSFTError) in
            try ownWeights()
            weightsVersion += 1
            weights.weight(parameter).set(values)
        }
    }

    /// Sets elements of a parameter to a value that nobody looks at: for tests of what bad weights do.
    package func setUnchecked(_ value: Float, at indices: some Sequence<Int>, of parameter: Parameter)
        throws(QwenSFTError)
    {
        let parameter = try known(parameter)
        try exclusively { () throws(QwenSFTError) in
            try ownWeights()
            guard let (start, dtype) = weights.weight(parameter).elements else { return }
            weightsVersion += 1
            for index in indices where index < parameter.count {
                withUnsafeBytes(of: value) { bytes in
                    guard let base = bytes.baseAddress else { return }
                    convertElements(from: base, .float32, to: start + index * dtype.byteCount, dtype, count: 1)
                }
            }
        }
    }

    /// - Throws: `unsupported` for a quantized model; `consequence` says what it is not good for.
    func requireFullWeights(_ consequence: String) throws(QwenSFTError) {
        guard let quantization else { return }
        throw QwenSFTError(
            .unsupported, "the model was opened in \(quantization.rawValue), not with full weights; \(consequence)")
    }

    /// Whether training changes each parameter, in the order of `parameters`.
    public var trainable: [Bool] { isTrainable }

    /// Lets training change the parameters whose names match `pattern`, or leave them as they are.
    /// - Parameters:
    ///   - value: whether they are trained.
    ///   - pattern: a name in which `*` stands for any characters: "model.layers.3.*", "*.bias".
    /// - Returns: how many match.
    /// - Throws: `invalidArgument` if none does; `busy`.
    @discardableResult
    public func setTrainable(_ value: Bool, matching pattern: String) throws(QwenSFTError) -> Int {
        let matching = parameters.indices.filter { parameters[$0].name.matches(wildcards: pattern) }
        guard !matching.isEmpty else {
            throw QwenSFTError(.invalidArgument, "no parameter's name matches '\(printable(pattern))'")
        }
        try exclusively { for index in matching { isTrainable[index] = value } }
        return matching.count
    }

    /// A copy that changes independently, so that one can chat while the other is trained.
    ///
    /// Where only adapters are likely to change (there are some, or the weights are kept in few bits), both have the same weights
    /// in memory until one of them is to change its own; the copy takes no more than its adapters then.
    public func clone() throws(QwenSFTError) -> Model {
        try exclusively { () throws(QwenSFTError) in
            let shares = !adapters.isEmpty || quantization != nil
            let copy = Model(
                configuration, generationDefaults, layout, shares ? weights : try weights.clone(), source)
            try copy.takeAdapters(of: self)
            copy.isTrainable = isTrainable
            copy.learnedStopIDs = learnedStopIDs
            return copy
        }
    }

    /// Takes over the weights and adapters of `other`, which a `clone` has set aside, say, without memory for another copy.
    /// - Throws: `invalidArgument` for a model of other sizes or another dtype, `unsupported` for a quantized one, `busy`; the
    ///   model is as before then.
    public func copyWeights(from other: Model) throws(QwenSFTError) {
        guard other !== self else { return }
        guard weights !== other.weights else {
            return try exclusively { () throws(QwenSFTError) in
                try other.exclusively { () throws(QwenSFTError) in try takeAdapters(of: other) }
            }
        }
        for model in [self, other] { try model.requireFullWeights("its weights cannot be copied") }
        guard dtype == other.dtype else {
            throw QwenSFTError(
                .invalidArgument,
                "the model keeps its weights in \(dtype.rawValue), the other in \(other.dtype.rawValue)")
        }
        let (mine, others) = (parameters, other.parameters)
        for (a, b) in zip(mine, others) where a.name != b.name || a.shape != b.shape {
            throw QwenSFTError(
                .invalidArgument, "the model has \(a.name) of shape \(a.shape), the other \(b.name) of shape \(b.shape)"
            )
        }
        guard mine.count == others.count else {
            throw QwenSFTError(
                .invalidArgument, "the model has \(mine.count) parameters, the other \(others.count)")
        }
        try exclusively { () throws(QwenSFTError) in
            try other.exclusively { () throws(QwenSFTError) in
                try ownWeights()
                try takeAdapters(of: other)
                weightsVersion += 1
                weights.copy(from: other.weights)
                learnedStopIDs = other.learnedStopIDs
            }
        }
    }

    private func index(of name: String) throws(QwenSFTError) -> Int {
        guard let index = parameters.firstIndex(where: { $0.name == name }) else {
            throw QwenSFTError(.invalidArgument, "the model has no parameter '\(printable(name))'")
        }
        return index
    }

    /// This model's own parameter of that name: a caller's may come from another model.
    private func known(_ parameter: Parameter) throws(QwenSFTError) -> Parameter {
        try parameters[index(of: parameter.name)]
    }
}

extension String {
    /// Whether the whole text matches `pattern`, in which `*` stands for any characters.
    func matches(wildcards pattern: String) -> Bool {
        let (text, pattern) = (Array(utf8), Array(pattern.utf8))
        let star = UInt8(ascii: "*")
        var (t, p) = (0, 0)
        // Where to go on when what follows the last star does not match: one character later.
        var retry: (text: Int, pattern: Int)?
        while t < text.count {
            if p < pattern.count, pattern[p] == star {
                p += 1
                retry = (t, p)
            } else if p < pattern.count, pattern[p] == text[t] {
                t += 1
                p += 1
            } else if let last = retry {
                (t, p) = (last.text + 1, last.pattern)
                retry = (t, p)
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == star }
    }
}
