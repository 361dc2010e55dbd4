/// How conversations become a batch.
public struct PreprocessOptions: Sendable {
    public var labelPolicy: LabelPolicy
    /// Rows are cut on the right to so many tokens; nil: a row longer than the tokenizer's `modelMaxLength` is an error.
    public var maxLength: Int?
    /// true: added tokens inside a message's content are plain text; false: they take effect.
    public var splitSpecialTokens: Bool
    /// Puts the template's default system prompt before conversations that do not begin with a system message, as chat does.
    public var addDefaultSystem: Bool
    /// Instead of the checkpoint's own.
    public var template: ChatTemplate?

    public init(
        labelPolicy: LabelPolicy = .qwen, maxLength: Int? = nil, splitSpecialTokens: Bool = true,
        addDefaultSystem: Bool = false,
        template: ChatTemplate? = nil
    ) {
        self.labelPolicy = labelPolicy
        self.maxLength = maxLength
        self.splitSpecialTokens = splitSpecialTokens
        self.addDefaultSystem = addDefaultSystem
        self.template = template
    }
}
