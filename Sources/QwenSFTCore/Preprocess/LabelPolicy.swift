/// Which tokens of a conversation the model learns to predict. The others get the label −100.
///
/// An answer is what the template adds to its prompt for an assistant's message (see `AnswerFinder`); where it writes ChatML, a message is
/// `<|im_start|>` role `\n` content `<|im_end|>` `\n`, and the answer is content and `<|im_end|>`.
public enum LabelPolicy: String, Sendable, CaseIterable {
    /// The content of every role but system, user and tool; of every message, whoever speaks, `<|im_start|>`, `<|im_end|>` and the last newline.
    /// The policy of Qwen's own fine-tuning script, and the default. For ChatML only.
    case qwen
    /// The assistant's answers, with the token that ends them.
    case assistant
    /// The assistant's answers without the token that ends them. A model trained so does not learn to stop.
    case assistantContent = "assistant_content"
    /// The assistant's answers, with the token that ends them and the newline after it.
    case assistantNewline = "assistant_newline"
    /// The conversation's last answer, with the token that ends it.
    case lastAssistant = "last_assistant"
    /// Every token.
    case all
    /// What the template marks with `{% generation %}`.
    case generation
}
