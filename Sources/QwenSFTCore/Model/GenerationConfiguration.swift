/// How a checkpoint wants to be sampled: its `generation_config.json`. Where a key is absent, transformers' default holds.
public struct GenerationConfiguration: Sendable {
    /// Generation stops after any of these.
    public var eosTokenIDs: [Int32] = []
    /// false: always the most likely token.
    public var doSample = false
    /// Logits are divided by it.
    public var temperature = 1.0
    /// Only so many of the most likely tokens are drawn from; 0: all.
    public var topK = 50
    /// Only the most likely tokens that together reach this probability are drawn from; 1: all.
    public var topP = 1.0
    /// Logits of tokens that have occurred are divided by it (multiplied, where negative); 1: nothing.
    public var repetitionPenalty = 1.0

    /// The whole document, to be written again when the model is saved.
    package var document = JSONObject()

    package static let fileName = "generation_config.json"

    package init() {}

    /// Reads `generation_config.json` of a checkpoint directory; without one, the stop ids are those of `config.json`.
    package init(directory: String, configuration: Configuration) throws(QwenSFTError) {
        let path = joinPath(directory, Self.fileName)
        let isThere = try fileKind(path) != nil
        let fields =
            isThere ? try JSONFields(contentsOf: path) : try JSONFields(.object(JSONObject()), file: Self.fileName)
        try self.init(fields, configuration: configuration)
    }

    package init(_ fields: JSONFields, configuration: Configuration) throws(QwenSFTError) {
        document = fields.object
        eosTokenIDs =
            try fields.tokenIDs("eos_token_id", vocabulary: configuration.vocabularySize) ?? configuration.eosTokenIDs
        doSample = try fields.bool("do_sample") ?? doSample
        topK = try fields.integer("top_k", in: 0...Int(Int32.max), "must be a whole number from 0 on") ?? topK
        if let value = try fields.number("temperature") {
            guard value >= 0 else { throw fields.wrong("temperature", "must not be negative") }
            temperature = value
        }
        if let value = try fields.number("top_p") {
            guard value > 0, value <= 1 else { throw fields.wrong("top_p", "must be above 0 and at most 1") }
            topP = value
        }
        repetitionPenalty = try fields.positiveNumber("repetition_penalty") ?? repetitionPenalty
    }

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
