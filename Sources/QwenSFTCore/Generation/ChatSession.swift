/// A conversation that remembers what the model has computed: a turn costs its own tokens, not those of all turns before.
///
/// Nothing is assumed about what the model has seen. Every turn renders the whole conversation and compares its ids with
/// those in the cache; what they have in common at the beginning is kept, the rest is computed. So an answer is what
/// `Model.chat` would say to the same messages, and after training, which makes the cache worthless, everything is
/// computed anew.
///
/// One turn at a time; `stop` may be called from any thread. Several sessions may share a model, and take turns on it.
public final class ChatSession: @unchecked Sendable {
    public let model: Model
    public let tokenizer: Tokenizer
    /// How answers are generated, unless a turn says otherwise.
    public let options: GenerationOptions
    private let template: ChatTemplate
    private let initial: [Message]
    private let conversation: Locked<[Message]>
    private let stopFlag = StopFlag()
    private let exclusively = Exclusive()

    // Only with the model taken.
    private let cache: KeyValueCache
    private var cachedIDs: [Int32] = []
    private var weightsVersion = 0

    /// - Parameters:
    ///   - model: what answers.
    ///   - tokenizer: that of the checkpoint.
    ///   - messages: what the conversation begins with: a system message, or turns from elsewhere. Where no system message
    ///     is among them, the template's default one becomes part of the conversation, as it is of what the model sees.
    ///   - options: how answers are chosen, and when they end.
    ///   - template: nil: the checkpoint's.
    /// - Throws: `unsupported` for a template that is not known or a tokenizer without chat tokens; `invalidArgument` for
    ///   options out of range.
    public init(
        _ model: Model, _ tokenizer: Tokenizer, messages: [Message] = [], options: GenerationOptions = .init(),
        template: ChatTemplate? = nil
    ) throws(QwenSFTError) {
        self.model = model
        self.tokenizer = tokenizer
        self.template = try tokenizer.resolve(template)
        self.options = options
        _ = try options.settings(model.generationDefaults)
        if !messages.isEmpty { _ = try tokenizer.applyChatTemplate(messages, template: self.template) }
        let prompt = messages.first?.role == "system" ? nil : self.template.defaultSystemPrompt
        initial = (prompt.map { [Message(role: "system", content: $0)] } ?? []) + messages
        conversation = Locked(initial)
        cache = model.makeCache()
    }

    /// The conversation so far, all that the model saw of it: with a better answer in place of the last one these messages
    /// are what to train on.
    public var messages: [Message] { conversation.withLock { $0 } }

    /// Says `content` to the model and waits for its answer. Both become part of the conversation, also when the answer was
    /// stopped.
    /// - Parameters:
    ///   - content: the message.
    ///   - role: who says it.
    ///   - options: for this turn; nil: the session's.
    ///   - onPiece: called with every new id and the text that it makes certain; `false` stops the answer.
    /// - Throws: `tooLong` when the conversation fills the model's context (go back or reset); `busy`; as `Model.generate`.
    ///   The conversation is as before then.
    public func send(
        _ content: String, role: String = "user", options: GenerationOptions? = nil,
        onPiece: (GenerationPiece) -> Bool = { _ in true }
    ) throws(QwenSFTError) -> Generation {
        try exclusively("session") { () throws(QwenSFTError) in
            let messages = self.messages + [Message(role: role, content: content)]
            let answer = try answer(messages, options ?? self.options, onPiece)
            let all = messages + [Message(role: "assistant", content: answer.text)]
            conversation.withLock { $0 = all }
            return answer
        }
    }

    /// Ends the answer that is under way on another thread; without one, does nothing.
    public func stop() { stopFlag.set() }

    /// Adds messages to the conversation without an answer from the model: turns that happened elsewhere.
    /// - Throws: `invalidArgument` or `unsupported` where the template does not take them; `busy`. The conversation is as
    ///   before then.
    public func append(_ messages: [Message]) throws(QwenSFTError) {
        try exclusively("session") { () throws(QwenSFTError) in
            let all = self.messages + messages
            if !all.isEmpty { _ = try tokenizer.applyChatTemplate(all, template: template) }
            conversation.withLock { $0 = all }
        }
    }

    /// Puts another answer in the place of the last one; what the model has computed is kept as far as the two agree.
    /// - Throws: `invalidArgument` where the conversation does not end with an answer; `busy`.
    public func replaceAnswer(_ content: String) throws(QwenSFTError) {
        try exclusively("session") { () throws(QwenSFTError) in
            guard let last = messages.last, last.role == "assistant" else {
                throw QwenSFTError(.invalidArgument, "the conversation does not end with an answer to replace")
            }
            let answer = Message(role: last.role, content: content, weight: last.weight)
            conversation.withLock { $0[$0.count - 1] = answer }
        }
    }

    /// Takes back the last question and what was answered to it.
    /// - Returns: whether there was one.
    /// - Throws: `busy`.
    @discardableResult
    public func goBack() throws(QwenSFTError) -> Bool {
        try exclusively("session") {
            conversation.withLock { messages in
                guard messages.count > initial.count else { return false }
                let question = messages[initial.count...].lastIndex { $0.role != "assistant" }
                messages.removeSubrange((question ?? initial.count)...)
                return true
            }
        }
    }

    /// Begins the conversation anew.
    /// - Throws: `busy`.
    public func reset() throws(QwenSFTError) {
        try exclusively("session") { conversation.withLock { $0 = initial } }
    }

    private func answer(
        _ messages: [Message], _ options: GenerationOptions, _ onPiece: (GenerationPiece) -> Bool
    ) throws(QwenSFTError) -> Generation {
        guard options.numReturnSequences == 1 else {
            throw QwenSFTError(
                .invalidArgument, "num_return_sequences must be 1 in a session, which goes on from one answer")
        }
        let ids = try tokenizer.applyChatTemplate(messages, template: template, addGenerationPrompt: true)
        let context = model.configuration.maxPositions
        guard ids.count < context else {
            throw QwenSFTError(
                .tooLong,
                "the conversation has \(ids.count) tokens, and the model's context ends at \(context): go back or begin anew"
            )
        }
        let request = try GenerationRequest(ids, model, tokenizer, options.endingTurns(tokenizer))
        return try model.exclusively { () throws(QwenSFTError) in
            stopFlag.reset()
            model.generationStop.reset()
            let isStopped = { [stopFlag, model] in stopFlag.isSet || model.generationStop.isSet }
            keepCommonBeginning(with: ids)
            let kept = cache.count
            var answer = request.emptyAnswer(isCancelled: false)
            do throws(QwenSFTError) {
                answer = try model.compute.session { () throws(QwenSFTError) in
                    guard request.mostTokens > 0,
                        let logits = try model.prefill(Array(ids[kept...]), cache, shouldContinue: { !isStopped() })
                    else { return request.emptyAnswer(isCancelled: isStopped()) }
                    return try model.answer(request, sample: 0, cache, logits, isStopped, onPiece)
                }
            } catch {
                cache.truncate(to: 0)
                cachedIDs = []
                throw error
            }
            cachedIDs = Array((ids + answer.ids).prefix(cache.count))
            answer.computedPromptTokens = max(0, min(cache.count, ids.count) - kept)
            return answer
        }
    }

    /// Leaves in the cache what it has in common with `ids`, but not their last one: its logits are needed.
    private func keepCommonBeginning(with ids: [Int32]) {
        if weightsVersion != model.weightsVersion {
            cache.truncate(to: 0)
            weightsVersion = model.weightsVersion
        }
        let common = zip(ids.dropLast(), cachedIDs.prefix(cache.count)).prefix { $0 == $1 }.count
        cache.truncate(to: common)
        // All that is certain from here on, should this turn never come to its end.
        cachedIDs = Array(cachedIDs.prefix(common))
    }
}

extension GenerationOptions {
    /// Ending at `<|im_end|>` too, whatever the checkpoint's files say.
    func endingTurns(_ tokenizer: Tokenizer) -> GenerationOptions {
        var options = self
        options.stopIDs += [tokenizer.tokenID(of: "<|im_end|>")].compactMap { $0 }
        return options
    }
}
