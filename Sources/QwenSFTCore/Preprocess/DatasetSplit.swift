extension EncodedDataset {
    /// Divides the conversations in two, for training and for validation. Which goes where follows from its content and the seed alone;
    /// conversations with the same tokens and labels stay together.
    /// - Parameters:
    ///   - share: of the conversations that are for validation, at least one of them; between 0 and 1.
    ///   - seed: another one divides the data otherwise.
    /// - Throws: `invalidArgument` for a share out of range, and where the data cannot be divided.
    public func split(
        share: Double, seed: UInt64 = 0
    ) throws(QwenSFTError) -> (training: EncodedDataset, validation: EncodedDataset) {
        guard share > 0, share < 1 else {
            throw QwenSFTError(
                .invalidArgument, "the share for validation is \(share), expected more than 0 and less than 1")
        }
        return try split(count: max(1, Int((share * Double(conversationCount)).rounded())), seed)
    }

    /// Holds a part of the conversations back for validation, where there are enough of them.
    ///
    /// Of 500 and more it is one in twenty, at most 500. The losses of conversations differ by about 0.2 nats, so that the mean of 25
    /// is known to 0.04, and that of 500 to 0.01: enough to see a model get worse, and more would only take time.
    /// - Returns: nil for validation where there are fewer.
    public func holdOut(
        seed: UInt64 = 0
    ) throws(QwenSFTError) -> (training: EncodedDataset, validation: EncodedDataset?) {
        guard conversationCount >= Self.leastToHoldOut else { return (self, nil) }
        let wanted = min(conversationCount / 20, 500)
        // Data that says the same thing over and over cannot be divided.
        guard let (training, validation) = try halves(wanted, seed) else { return (self, nil) }
        return (training, validation)
    }

    /// Fewer conversations than this are all learned from.
    public static var leastToHoldOut: Int { 500 }

    private func split(
        count: Int, _ seed: UInt64
    ) throws(QwenSFTError) -> (training: EncodedDataset, validation: EncodedDataset) {
        guard let halves = try halves(count, seed) else {
            throw QwenSFTError(
                .invalidArgument,
                "\(source.name): \(conversationCount) conversations cannot be divided for validation"
                    + (conversationCount > 1 ? ", they are too much alike" : ""))
        }
        return halves
    }

    /// - Returns: nil where one of the two would be empty.
    private func halves(
        _ wanted: Int, _ seed: UInt64
    ) throws(QwenSFTError) -> (training: EncodedDataset, validation: EncodedDataset)? {
        var groups = try Self.groups(rows, in: store)
        var random = RandomSource(seed: seed)
        let key = random.next()
        for i in groups.indices {
            var hash = RowHash()
            hash.mix(key)
            hash.mix(groups[i].hash)
            groups[i].hash = hash.value
        }
        groups.sort { ($0.hash, $0.conversation) < ($1.hash, $1.conversation) }
        var isChosen = [Bool](repeating: false, count: conversationCount)
        var (chosen, i) = (0, 0)
        while i < groups.count, chosen < wanted {
            var end = i + 1
            while end < groups.count, groups[end].hash == groups[i].hash { end += 1 }
            // Equal ones that are too many go to the other side.
            if chosen + end - i <= wanted {
                for group in groups[i..<end] { isChosen[Int(group.conversation)] = true }
                chosen += end - i
            }
            i = end
        }
        guard chosen > 0, chosen < conversationCount else { return nil }
        return (try part("training", isChosen, false), try part("validation", isChosen, true))
    }

    private func part(_ name: String, _ isChosen: [Bool], _ side: Bool) throws(QwenSFTError) -> EncodedDataset {
        var (chosen, lines): ([Int32], [Int]) = ([], [])
        for (conversation, isChosen) in isChosen.enumerated() where isChosen == side {
            let range = Int(starts[conversation])..<Int(starts[conversation + 1])
            try chosen.makeRoom(for: range.count, purpose: source.name)
            chosen += rows[range]
            lines.append(line(ofRow: range.lowerBound))
        }
        return try EncodedDataset(
            store, rows: chosen, report: report.part(name, lines: lines), paddingID: paddingID,
            endOfTurnID: endOfTurnID, source: source)
    }

    /// A conversation, and a number that is the same for equal ones and for hardly any others.
    private struct Group: BitwiseCopyable {
        var hash: UInt64
        let conversation: Int32
        /// Its rows, as numbers among those of the dataset.
        let first, rows: Int32
    }

    private static func groups(_ rows: [Int32], in store: RowStore) throws(QwenSFTError) -> [Group] {
        var groups: [Group] = []
        try groups.makeRoom(for: rows.count, purpose: "the order of \(rows.count) rows")
        var i = 0
        while i < rows.count {
            let conversation = store[Int(rows[i])].conversation
            var hash = RowHash()
            let first = i
            while i < rows.count, store[Int(rows[i])].conversation == conversation {
                hash.mix(store[Int(rows[i])].hash)
                i += 1
            }
            groups.append(
                .init(hash: hash.value, conversation: Int32(groups.count), first: Int32(first), rows: Int32(i - first)))
        }
        return groups
    }

    /// The first row of every conversation that has the same tokens and labels as one before it.
    static func duplicates(_ rows: [Int32], in store: RowStore) throws(QwenSFTError) -> [Int32] {
        var groups = try groups(rows, in: store)
        groups.sort { ($0.hash, $0.conversation) < ($1.hash, $1.conversation) }
        var duplicates: [Int32] = []
        var i = 0
        for j in groups.indices.dropFirst() {
            guard groups[j].hash == groups[i].hash else {
                i = j
                continue
            }
            let (a, b) = (groups[i], groups[j])
            guard a.rows == b.rows,
                (0..<a.rows).allSatisfy({ store.isEqual(Int(rows[Int(a.first + $0)]), Int(rows[Int(b.first + $0)])) })
            else { continue }
            try duplicates.makeRoom(for: 1, purpose: "duplicates")
            duplicates.append(rows[Int(b.first)])
        }
        return duplicates.sorted()
    }
}
