/// How many tokens a row may have: `PreprocessOptions.maxLength`, else what the tokenizer's files say.
struct RowLength {
    /// Longer rows are cut on the right to this many tokens; nil: they are not.
    let limit: Int?
    /// Nobody asked for it: it is the tokenizer's.
    private let isTokenizers: Bool

    init(_ options: PreprocessOptions, _ tokenizer: Tokenizer) throws(QwenSFTError) {
        for (name, value) in [("max_length", options.maxLength), ("context_length", options.contextLength)] {
            if let value, value < 1 {
                throw QwenSFTError(.invalidArgument, "\(name) must be at least 1, not \(value)")
            }
        }
        isTokenizers = options.maxLength == nil
        limit = options.maxLength ?? (tokenizer.modelMaxLength == .max ? nil : tokenizer.modelMaxLength)
    }

    /// What to say of rows that were cut; nil where none was.
    func cutText(_ cut: Int, of conversations: Int) -> String? {
        guard cut > 0, let limit else { return nil }
        let reason = isTokenizers ? " (the tokenizer's model_max_length; max_length sets another)" : ""
        return
            "\(cut) of \(conversations) conversations were cut to \(limit) tokens\(reason); the rest of them is not learned"
    }
}
