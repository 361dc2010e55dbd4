extension Model {
    /// Continues `ids`.
    /// - Parameters:
    ///   - ids: what to continue.
    ///   - options: how answers are chosen, and when they end.
    ///   - stopIDs: ids to end at besides the checkpoint's and the options'.
    ///   - onToken: called with every new id; `false` ends the generation.
    /// - Returns: the new ids; a stop id at the end included.
    /// - Throws: `invalidArgument` for no ids, ids out of the vocabulary and options out of range; `tooLong`; `busy`.
    public func generate(
        _ ids: [Int32], options: GenerationOptions = .init(), stopIDs: [Int32] = [],
        onToken: (Int32) -> Bool = { _ in true }
    ) throws(QwenSFTError) -> [Int32] {
        var options = options
        options.stopIDs += stopIDs
        options.numReturnSequences = 1
        return try generations(ids, options: options, onPiece: { onToken($0.id) }).first?.ids ?? []
    }

    /// Continues `ids`, as often as `options.numReturnSequences` says.
    /// - Parameters:
    ///   - ids: what to continue.
    ///   - tokenizer: what makes text of the new ids; nil: none is made.
    ///   - options: how answers are chosen, and when they end.
    ///   - onPiece: called with every new id and the text that it makes certain; `false` ends this answer and all others.
    /// - Returns: the answers; after a cancellation those that were begun.
    /// - Throws: as `generate`; `invalidArgument` for stop strings without a tokenizer.
    public func generations(
        _ ids: [Int32], tokenizer: Tokenizer? = nil, options: GenerationOptions = .init(),
        onPiece: (GenerationPiece) -> Bool = { _ in true }
    ) throws(QwenSFTError) -> [Generation] {
        let request = try GenerationRequest(ids, self, tokenizer, options)
        return try exclusively { () throws(QwenSFTError) in
            generationStop.reset()
            return try compute.session { () throws(QwenSFTError) in
                let cache = makeCache()
                var answers: [Generation] = []
                let isStopped = { [generationStop] in generationStop.isSet }
                guard request.mostTokens > 0, let logits = try prefill(ids, cache, shouldContinue: { !isStopped() })
                else {
                    return [request.emptyAnswer(isCancelled: isStopped())]
                }
                for sample in 0..<options.numReturnSequences {
                    cache.truncate(to: ids.count)
                    let answer = try self.answer(request, sample: sample, cache, logits, isStopped, onPiece)
                    answers.append(answer)
                    if answer.finishReason == .cancelled { break }
                }
                return answers
            }
        }
    }

    /// Ends the generation that is under way on another thread, after its present token; without one, does nothing.
    public func stopGenerating() { generationStop.set() }

    /// Appends `ids` to the cache.
    /// - Returns: the logits that follow the last of them, (1, vocabulary), in the arena; nil when told to stop.
    func prefill(
        _ ids: [Int32], _ cache: KeyValueCache, shouldContinue: () -> Bool
    ) throws(QwenSFTError) -> MutableMatrix<Float>? {
        let logits = try compute.arena.matrix(rows: 1, columns: configuration.vocabularySize)
        // A long prompt goes through in pieces, so that memory stays that of one piece.
        let piece = 512
        for start in stride(from: 0, to: ids.count, by: piece) {
            guard shouldContinue() else { return nil }
            let mark = compute.arena.mark
            defer { compute.arena.release(to: mark) }
            let part = Array(ids[start..<min(start + piece, ids.count)])
            let isLast = start + piece >= ids.count
            try extend(cache, with: part, logits: isLast ? logits : nil)
        }
        return logits
    }

    /// The logits (vocabulary) after tokens that are appended to a cache piece by piece: one token at a time as in decoding, or
    /// several as in a prompt. For tests.
    package func cachedLogits(_ pieces: [[Int32]]) throws(QwenSFTError) -> [Float] {
        try exclusively { () throws(QwenSFTError) in
            try compute.session { () throws(QwenSFTError) in
                let cache = makeCache()
                var logits: MutableMatrix<Float>?
                for piece in pieces { logits = try prefill(piece, cache, shouldContinue: { true }) }
                return logits.map { Array($0.buffer) } ?? []
            }
        }
    }

    /// Appends `ids` to the cache; `logits` (vocabulary) become those that follow the last of them.
    private func extend(
        _ cache: KeyValueCache, with ids: [Int32], logits: MutableMatrix<Float>?
    ) throws(QwenSFTError) {
        if ids.count == 1, let logits {
            return try decoder.decode(ids[0], cache, logits: logits, compute: compute)
        }
        let first = cache.count
        let plan = AttentionPlan([.init(queries: 0..<ids.count, keys: [0..<first + ids.count], ahead: first)])
        let positions = (first..<first + ids.count).map(Int32.init)
        let wanted = logits == nil ? [] : [Int32(ids.count - 1)]
        let rows = DecoderRows(ids: ids, positions: positions, plan: plan, wanted: wanted)
        let hidden = try decoder.forward(rows, keeping: .nothing, cache: cache, compute: compute).output
        if let logits { try head.logits(logits, hidden.readOnly, compute: compute) }
    }

    /// One answer to what stands in the cache.
    /// - Parameter first: the logits that follow the prompt; they are left as they are.
    func answer(
        _ request: GenerationRequest, sample: Int, _ cache: KeyValueCache, _ first: MutableMatrix<Float>,
        _ isStopped: () -> Bool, _ onPiece: (GenerationPiece) -> Bool
    ) throws(QwenSFTError) -> Generation {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let row = try compute.arena.matrix(rows: 1, columns: first.columns)
        let logits = row.buffer
        _ = logits.update(from: first.buffer)
        var sampler = request.sampler(sample)
        var text = request.answerText
        var reasoning = request.reasoning
        var answer = request.emptyAnswer(isCancelled: false)
        while answer.ids.count < request.mostTokens {
            // A sum of squares in double precision is finite exactly where all numbers are.
            guard UnsafeBufferPointer(logits).sumOfSquares.isFinite else {
                throw QwenSFTError(
                    .nonFinite,
                    "the logits after token \(request.prompt.count + answer.ids.count) are not all finite: the model's weights are no numbers, or too large"
                )
            }
            let logSumExp = request.options.logProbabilities ? Sampler.logSumExp(UnsafeBufferPointer(logits)) : 0
            let raw = request.options.logProbabilities ? Array(logits) : []
            let id = sampler.next(logits)
            let logProbability = request.options.logProbabilities ? raw[Int(id)] - logSumExp : nil
            answer.ids.append(id)
            if let logProbability { answer.logProbabilities?.append(logProbability) }

            var piece = text?.append(id) ?? ""
            let isStopID = request.stopIDs.contains(id)
            let isLast = answer.ids.count == request.mostTokens
            if isStopID || isLast, text?.isStopped != true { piece += text?.finish() ?? "" }
            let isStopString = text?.isStopped == true
            answer.text += piece
            let goesOn = onPiece(
                GenerationPiece(
                    sample: sample, id: id, text: piece, logProbability: logProbability,
                    isReasoning: reasoning?.append(id, piece) ?? false))
            if isStopID || isStopString || !goesOn || isStopped() {
                answer.finishReason = isStopString ? .stopString : isStopID ? .stopID : .cancelled
                return answer
            }
            if !isLast { try extend(cache, with: [id], logits: row) }
        }
        return answer
    }
}

/// What to generate, checked.
struct GenerationRequest {
    let prompt: [Int32]
    let options: GenerationOptions
    let stopIDs: Set<Int32>
    /// Tokens at most, and whether it is the context that allows no more.
    let mostTokens: Int
    private let isLimitedByContext: Bool
    private let settings: SamplingSettings
    private let seed: UInt64
    private let vocabulary: Int
    /// Where the text of an answer begins; nil without a tokenizer.
    let answerText: AnswerText?
    /// Where it begins in respect of reasoning; nil where the vocabulary marks none.
    let reasoning: Reasoning?

    init(
        _ ids: [Int32], _ model: Model, _ tokenizer: Tokenizer?, _ options: GenerationOptions
    ) throws(QwenSFTError) {
        let configuration = model.configuration
        settings = try options.settings(model.generationDefaults)
        guard !ids.isEmpty else { throw QwenSFTError(.invalidArgument, "ids: there is nothing to continue") }
        guard options.stopStrings.isEmpty || tokenizer != nil else {
            throw QwenSFTError(.invalidArgument, "stop_strings need a tokenizer")
        }
        guard ids.count <= configuration.maxPositions else {
            throw QwenSFTError(
                .tooLong, "\(ids.count) tokens are more than the model's context of \(configuration.maxPositions)")
        }
        for (position, id) in ids.enumerated() {
            try configuration.check(id: id, "input_ids", row: 0, position: position)
        }
        prompt = ids
        self.options = options
        stopIDs = options.ignoresStopIDs ? [] : Set(model.generationDefaults.eosTokenIDs + options.stopIDs)
        // Ids beyond the context have no position.
        let room = configuration.maxPositions - ids.count
        mostTokens = min(options.maxNewTokens, room)
        isLimitedByContext = room < options.maxNewTokens
        seed = options.seed ?? .random(in: .min ... .max)
        vocabulary = configuration.vocabularySize
        answerText = tokenizer.map { AnswerText($0, stopStrings: options.stopStrings) }
        reasoning = tokenizer.flatMap { Reasoning($0, prompt: ids) }
    }

    func sampler(_ sample: Int) -> Sampler {
        var sampler = Sampler(settings, seed: seed &+ UInt64(sample), vocabulary: vocabulary)
        for id in prompt { sampler.note(id) }
        return sampler
    }

    /// The answer before its first token.
    func emptyAnswer(isCancelled: Bool) -> Generation {
        var answer = Generation()
        answer.finishReason = isCancelled ? .cancelled : isLimitedByContext ? .context : .length
        answer.logProbabilities = options.logProbabilities ? [] : nil
        answer.promptTokens = prompt.count
        answer.computedPromptTokens = prompt.count
        answer.beginsInReasoning = reasoning?.isOpen ?? false
        return answer
    }
}
