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

    /// Says that rows were cut, if some were.
    /// - Parameters:
    ///   - lines: of the rows that were cut, where they have lines.
    ///   - name: of the data.
    func warn(cut: Int, of conversations: Int, lines: [Int] = [], in name: String? = nil) {
        guard cut > 0, let limit else { return }
        let place = name.map { "\($0): " } ?? ""
        let reason = isTokenizers ? " (the tokenizer's model_max_length; max_length sets another)" : ""
        Warnings.send(
            "\(place)\(cut) of \(conversations) conversations were cut to \(limit) tokens\(reason); the rest of them is not learned"
                + (lines.isEmpty ? "" : " (\(listed(lines)))"))
    }
}

/// "line 7", "lines 1, 2, …": the first few.
private func listed(_ lines: [Int]) -> String {
    (lines.count == 1 ? "line " : "lines ") + lines.prefix(8).map(String.init).joined(separator: ", ")
        + (lines.count > 8 ? ", …" : "")
}
