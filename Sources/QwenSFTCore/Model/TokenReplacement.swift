/// An adapter's own rows for a few tokens, in place of those of the embedding, of the output matrix, or of both where they are one:
/// a parameter of the adapter and its values.
struct TokenReplacement {
    let matrix: ParameterLayout.Matrix
    let rows: ReplacedRows
}

/// Which tokens an adapter has rows for, before there is memory for them.
struct TokenReplacementPlan {
    typealias Part = (ids: [Int], matrix: ParameterLayout.Matrix)

    let embedding: Part?
    let head: Part?

    /// - Throws: `invalidArgument` for an id that the vocabulary does not have.
    init(
        _ configuration: LoRAConfiguration, _ layout: ParameterLayout, _ list: inout ParameterList
    ) throws(QwenSFTError) {
        let (tokens, outputTokens) = (configuration.trainableTokens, configuration.trainableOutputTokens)
        let vocabulary = layout.embedding.rows
        if let id = (tokens + outputTokens).first(where: { $0 >= vocabulary }) {
            throw QwenSFTError(
                .invalidArgument,
                "\(LoRAConfiguration.tokensKey): \(id) is not in the model's vocabulary of \(vocabulary)")
        }
        func part(_ ids: [Int], _ module: String) -> Part? {
            guard !ids.isEmpty else { return nil }
            let name = Adapter.prefix + module + Adapter.suffixTokens
            return (ids, list.matrix([(name, ids.count)], columns: layout.embedding.columns))
        }
        embedding = part(tokens, "model.embed_tokens")
        // As in PEFT, the two stay one unless there are other tokens for the output.
        let follows = layout.isTied && (outputTokens.isEmpty || outputTokens == tokens)
        head = follows ? embedding : part(outputTokens, "lm_head")
    }

    func replacements(in storage: ParameterStorage) -> (embedding: TokenReplacement?, head: TokenReplacement?) {
        func replacement(_ part: Part?) -> TokenReplacement? {
            part.map {
                TokenReplacement(matrix: $0.matrix, rows: ReplacedRows($0.ids, storage.floats($0.matrix).readOnly))
            }
        }
        return (replacement(embedding), replacement(head))
    }
}
