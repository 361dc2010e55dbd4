extension Model {
    /// Continues `ids`.
    /// - Parameters:
    ///   - stopIDs: ids to end at besides the checkpoint's.
    ///   - onToken: called with every new id; `false` ends the generation.
    /// - Returns: the new ids; a stop id at the end included.
    /// - Throws: `invalidArgument` for no ids, ids out of the vocabulary and options out of range; `tooLong`; `busy`.
    public func generate(
        _ ids: [Int32], options: GenerationOptions = .init(), stopIDs: [Int32] = [],
        onToken: (Int32) -> Bool = { _ in true }
    ) throws(QwenSFTError) -> [Int32] {
        let settings = try options.settings(generationDefaults)
        guard !ids.isEmpty else { throw QwenSFTError(.invalidArgument, "ids: there is nothing to continue") }
        let prompt = try TokenRows(ids.map(Int64.init), mask: nil, rows: 1, columns: ids.count, configuration).sequences[0]
        var sampler = Sampler(
            settings, seed: options.seed ?? .random(in: .min ... .max), vocabulary: configuration.vocabularySize)
        prompt.forEach { sampler.note($0) }
        let stops = Set(generationDefaults.eosTokenIDs + stopIDs)
        return try exclusively { () throws(QwenSFTError) in
            // Ids beyond the context have no position.
            let room = configuration.maxPositions - prompt.count
            let most = min(options.maxNewTokens, room)
            let cache = try KeyValueCache(configuration, capacity: prompt.count + most)
            var new: [Int32] = []
            var pending = prompt
            while new.count < most {
                let id = try nextToken(after: pending, cache, &sampler)
                new.append(id)
                if !onToken(id) || stops.contains(id) { break }
                pending = [id]
            }
            return new
        }
    }

    /// Appends `ids` to the cache and chooses what follows them.
    private func nextToken(
        after ids: [Int32], _ cache: KeyValueCache, _ sampler: inout Sampler
    ) throws(QwenSFTError) -> Int32 {
        let vocabulary = configuration.vocabularySize
        return try compute.session { () throws(QwenSFTError) in
            let logits = try compute.arena.floats(vocabulary)
            // A long prompt goes through in pieces, so that memory stays that of one piece.
            let piece = 512
            for start in stride(from: 0, to: ids.count, by: piece) {
                let mark = compute.arena.mark
                let part = Array(ids[start..<min(start + piece, ids.count)])
                let first = cache.count
                let plan = AttentionPlan([
                    .init(queries: 0..<part.count, keys: [0..<first + part.count], ahead: first)
                ])
                let positions = (first..<first + part.count).map(Int32.init)
                let hidden = try hiddenStates(part, positions, plan: plan, cache: cache)
                if start + piece >= ids.count {
                    try head.logits(logits, x: hidden + (part.count - 1) * configuration.hiddenSize, rows: 1)
                }
                compute.arena.release(to: mark)
            }
            return sampler.next(UnsafeMutableBufferPointer(start: logits, count: vocabulary))
        }
    }
}
