/// How a checkpoint wants to be sampled: its `generation_config.json`. Where a key is absent, transformers' default holds.
///
/// Nothing in this file keeps a model from opening: a value that cannot be what it should is off, with a warning, and a file
/// that cannot be read is as if it were not there.
public struct GenerationConfiguration: Sendable {
    /// Generation stops after any of these.
    public var eosTokenIDs: [Int32] = []
    /// false: always the most likely token.
    public var doSample = false
    /// Logits are divided by it.
    public var temperature = 1.0
    /// Only this many of the most likely tokens are drawn from; 0: all.
    public var topK = 50
    /// Only the most likely tokens that together reach this probability are drawn from; 1: all.
    public var topP = 1.0
    /// Only tokens at least this many times as likely as the likeliest are drawn from; 0: all.
    public var minP = 0.0
    /// Logits of tokens that have occurred are divided by it (multiplied, where negative); 1: nothing.
    public var repetitionPenalty = 1.0

    /// The whole document, to be written again when the model is saved.
    package var document = JSONObject()

    package static let fileName = "generation_config.json"

    package init() {}

    /// Reads `generation_config.json` of a checkpoint directory; without one, the stop ids are those of `config.json`.
    /// - Throws: `outOfMemory`.
    package init(directory: String, configuration: Configuration) throws(QwenSFTError) {
        var fields: JSONFields?
        do {
            let path = joinPath(directory, Self.fileName)
            if try fileKind(path) != nil { fields = try JSONFields(contentsOf: path) }
        } catch {
            if error.code == .outOfMemory { throw error }
            Warnings.send("\(error.message); the model is opened without \(Self.fileName)")
        }
        self.init(fields ?? JSONFields(file: Self.fileName), configuration: configuration)
    }

    package init(_ fields: JSONFields, configuration: Configuration) {
        document = fields.object
        var warnings: [String] = []
        eosTokenIDs =
            fields.stopIDs("eos_token_id", vocabulary: configuration.vocabularySize, &warnings)
            ?? configuration.eosTokenIDs
        for warning in warnings { Warnings.send(warning) }
        doSample = Self.flag(fields, "do_sample") ?? doSample
        if let value = fields.value("top_k") {
            // 0 and -1 are how people write "off".
            if let number = value.wholeNumber, number <= Int(Int32.max) {
                topK = max(0, number)
            } else {
                topK = 0
                Self.warn(fields, "top_k", "is not a whole number")
            }
        }
        topP = Self.number(fields, "top_p", off: topP, "above 0 and at most 1") { $0 > 0 && $0 <= 1 }
        minP = Self.number(fields, "min_p", off: minP, "from 0 to 1") { $0 >= 0 && $0 <= 1 }
        repetitionPenalty = Self.number(fields, "repetition_penalty", off: 1, "above 0") { $0 > 0 }
        if let value = fields.value("temperature")?.double, Float(value) == 0 {
            // Sampling as if the likeliest token were the only one.
            if doSample {
                Self.warn(fields, "temperature", "is 0", "the likeliest token is taken, as with do_sample false")
            }
            doSample = false
        } else {
            temperature = Self.number(fields, "temperature", off: temperature, "at least 0") { $0 > 0 }
        }
        warnOfUnused(fields)
    }

    // MARK: Values

    private static func flag(_ fields: JSONFields, _ key: String) -> Bool? {
        switch fields.value(key) {
        case nil: return nil
        case .bool(let value)?: return value
        case let value?:
            if let number = value.wholeNumber { return number != 0 }
            warn(fields, key, "is neither true nor false")
            return nil
        }
    }

    /// The number under `key`; `off` where it is absent or not what it `must` be.
    private static func number(
        _ fields: JSONFields, _ key: String, off: Double, _ must: String, _ isValid: (Double) -> Bool
    ) -> Double {
        guard let value = fields.value(key) else { return off }
        // As a float32, which is what it is used as.
        if let number = value.double, isValid(number), isValid(Double(Float(number))), Float(number).isFinite {
            return number
        }
        warn(fields, key, "is not a number \(must)")
        return off
    }

    private static func warn(
        _ fields: JSONFields, _ key: String, _ what: String, _ consequence: String = "it is off"
    ) {
        Warnings.send("\(fields.file): '\(key)' \(what); \(consequence)")
    }

    /// What transformers would use when it generates and this version does not, with the value that changes nothing.
    private static let unused: [(key: String, off: Double?)] = [
        ("num_beams", 1), ("penalty_alpha", 0), ("typical_p", 1), ("top_h", nil), ("epsilon_cutoff", 0),
        ("eta_cutoff", 0), ("diversity_penalty", 0), ("encoder_repetition_penalty", 1), ("no_repeat_ngram_size", 0),
        ("encoder_no_repeat_ngram_size", 0), ("min_length", 0), ("min_new_tokens", 0), ("guidance_scale", 1),
        ("bad_words_ids", nil), ("forced_bos_token_id", nil), ("forced_eos_token_id", nil), ("suppress_tokens", nil),
        ("begin_suppress_tokens", nil), ("sequence_bias", nil), ("exponential_decay_length_penalty", nil),
        ("stop_strings", nil),
    ]

    private func warnOfUnused(_ fields: JSONFields) {
        let names = Self.unused.filter { key, off in
            switch fields.value(key) {
            case nil: false
            case .array(let list)?: !list.isEmpty
            case let value?: value.double == nil || value.double != off
            }
        }
        if names.isEmpty { return }
        Warnings.send("\(fields.file): not used: " + names.map { "'\($0.key)'" }.joined(separator: ", "))
    }

    // MARK: Writing

    /// The document as it was read, with `stopIDs` among the ids that end generation.
    package func serialized(addingStopIDs stopIDs: [Int32] = []) -> [UInt8] {
        var document = document
        var ids = eosTokenIDs
        for id in stopIDs where !ids.contains(id) { ids.append(id) }
        if ids != eosTokenIDs || document["eos_token_id"] == nil, !ids.isEmpty {
            document["eos_token_id"] = .array(ids.map { .integer(Int($0)) })
        }
        return JSONValue.object(document).serialized(indented: true)
    }
}
