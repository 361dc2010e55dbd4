/// Follows an answer into its reasoning and out of it, token by token: from `<think>` at its beginning, or from its beginning
/// where the prompt ends within `<think>`, to `</think>` and the white space behind it.
struct Reasoning {
    private enum Place { case before, within, after, over }

    private let open: Int32
    private let close: Int32
    private var place: Place

    /// nil for a vocabulary without the two tokens.
    init?(_ tokenizer: Tokenizer, prompt: [Int32]) {
        guard let open = tokenizer.tokenID(of: "<think>"), let close = tokenizer.tokenID(of: "</think>") else {
            return nil
        }
        self.open = open
        self.close = close
        place = prompt.last { $0 == open || $0 == close } == open ? .within : .before
    }

    /// Whether the prompt has opened it.
    var isOpen: Bool { place == .within }

    /// Whether `id`, which makes `text` certain, belongs to the reasoning; its marks do.
    mutating func append(_ id: Int32, _ text: String) -> Bool {
        switch place {
        case .before where id == open: place = .within
        case .within where id == close: place = .after
        case .within: break
        case .before, .after: if !text.allSatisfy(\.isWhitespace) { place = .over }
        case .over: break
        }
        return place == .within || place == .after
    }
}
