/// How conversations become a batch.
public struct PreprocessOptions: Sendable {
    public var labelPolicy: LabelPolicy
    /// Rows are cut on the right to this many tokens, with a warning; nil: to the tokenizer's `modelMaxLength`, where its files
    /// give one.
    public var maxLength: Int?
    /// The context of the model that the rows are for: one that is longer is an error. nil: it is not known here; the model refuses
    /// such a row when it meets it.
    public var contextLength: Int?
    /// true: added tokens inside a message's content are plain text; false: they take effect.
    public var splitSpecialTokens: Bool
    /// Whether conversations that do not begin with a system message get the template's default system prompt, as in chat. nil: they do, so
    /// that what is trained is what chat sends; only in a batch made with the policy `qwen`, the article's own, they do not.
    public var addDefaultSystem: Bool?
    /// Instead of the checkpoint's own.
    public var template: ChatTemplate?

    public init(
        labelPolicy: LabelPolicy = .qwen, maxLength: Int? = nil, contextLength: Int? = nil,
        splitSpecialTokens: Bool = true, addDefaultSystem: Bool? = nil, template: ChatTemplate? = nil
    ) {
        self.labelPolicy = labelPolicy
        self.maxLength = maxLength
        self.contextLength = contextLength
        self.splitSpecialTokens = splitSpecialTokens
        self.addDefaultSystem = addDefaultSystem
        self.template = template
    }
}
