/// A conversation as tokens.
package struct EncodedConversation: Sendable {
    package var ids: [Int32] = []
    /// Where its messages stand; nil where the text is not ChatML, or nobody asked.
    package var messages: [MessageTokens]?
    /// How many ids stand before each of the cuts that were asked for.
    var places: [Int] = []
}

/// Encodes conversations part by part: what a template writes becomes control tokens where it asks for that, what comes from messages
/// and arguments never does.
///
/// Between two control tokens text is encoded as the model would write it, as one. But no token crosses from what stands before a message's
/// text (role and newline) into it, and none the places where the caller cuts: a prompt has the same ids whatever is answered to it.
package final class ChatEncoder: Sendable {
    private let tokenizer: Tokenizer
    let template: ChatTemplate
    private let splitSpecialTokens: Bool
    private let startID: Int32?
    private let endID: Int32?
    /// Added tokens by their first byte, longer ones first.
    private let addedTokens: [[(bytes: [UInt8], token: AddedToken)]]
    /// Ids of the short texts that come again in every conversation: the template's own, and roles.
    private let known = Locked<[[UInt8]: [Int32]]>([:])

    /// The id that ends a turn.
    package var end: Int32 { endID ?? tokenizer.eosTokenID ?? -1 }

    /// - Parameter splitSpecialTokens: true: added tokens inside a content are text; false: they take effect.
    /// - Throws: `unsupported` where the template needs `<|im_start|>` and `<|im_end|>` and the tokenizer does not have them.
    package init(_ tokenizer: Tokenizer, _ template: ChatTemplate, splitSpecialTokens: Bool) throws(QwenSFTError) {
        startID = tokenizer.tokenID(of: "<|im_start|>")
        endID = tokenizer.tokenID(of: "<|im_end|>")
        if startID == nil || endID == nil, template.text.contains("<|im_start|>") {
            throw QwenSFTError(
                .unsupported, "the tokenizer has no tokens <|im_start|> and <|im_end|>, which chats need")
        }
        var addedTokens = [[(bytes: [UInt8], token: AddedToken)]](repeating: [], count: 256)
        for token in tokenizer.addedTokens.sorted(by: { $0.content.utf8.count > $1.content.utf8.count }) {
            guard let first = token.content.utf8.first else { continue }
            addedTokens[Int(first)].append((Array(token.content.utf8), token))
        }
        self.addedTokens = addedTokens
        self.tokenizer = tokenizer
        self.template = template
        self.splitSpecialTokens = splitSpecialTokens
    }

    /// - Throws: as `ChatTemplate.render`.
    package func encode(_ messages: [Message], addGenerationPrompt: Bool = false) throws(QwenSFTError) -> [Int32] {
        try encode(template.rendering(messages, addGenerationPrompt: addGenerationPrompt).text).ids
    }

    /// - Parameters:
    ///   - first: the byte of the text to begin at.
    ///   - cuts: bytes that no token crosses, in ascending order.
    ///   - findsMessages: whether the result says where messages stand.
    func encode(
        _ text: TaggedText, from first: Int = 0, cuts: [Int] = [], findsMessages: Bool = false
    ) throws(QwenSFTError) -> EncodedConversation {
        var writer = Writer(
            encoder: self, text: text, piece: first..<first, cuts: cuts[...],
            reader: findsMessages ? ChatML.Reader(startID: startID ?? -1, endID: endID ?? -1) : nil)
        for (i, run) in text.runs.enumerated() where run.end > first {
            switch run.origin.source {
            case .template:
                // What the template wrote at several messages stands together.
                if i + 1 < text.runs.count, text.runs[i + 1].origin.source == .template { continue }
                try writer.appendTemplate(to: run.end)
            case .role: try writer.appendRole(to: run.end, run.origin)
            case .content, .field, .argument: try writer.appendData(to: run.end, run.origin)
            }
        }
        return try writer.finish()
    }

    /// The control token that ends the turn of message `message`: of those that the template wrote after the message's last text, the first
    /// that ends turns, or else the first of all. nil: there is none.
    func endOfTurn(_ text: TaggedText, message: Int, from first: Int) -> Range<Int>? {
        let last = text.runs.last { $0.origin.message == message && $0.origin.source != .template }
        var found: Range<Int>?
        var position = max(first, last?.end ?? 0)
        while position < text.bytes.count {
            guard let token = addedToken(in: text.bytes, at: position, before: text.bytes.count), token.isSpecial else {
                position += 1
                continue
            }
            let range = position..<position + token.content.utf8.count
            if token.id == endID || token.id == tokenizer.eosTokenID { return range }
            found = found ?? range
            position = range.upperBound
        }
        return found
    }

    private func addedToken(in bytes: [UInt8], at position: Int, before end: Int) -> AddedToken? {
        let candidates = addedTokens[Int(bytes[position])]
        if candidates.isEmpty { return nil }
        let rest = bytes[position..<end]
        return candidates.first { rest.starts(with: $0.bytes) }?.token
    }

    /// - Parameter isRecurring: it may come again in other conversations.
    private func encode(_ text: ArraySlice<UInt8>, splits: Bool, isRecurring: Bool) throws(QwenSFTError) -> [Int32] {
        let key = isRecurring && text.count <= 256 ? Array(text) : nil
        if let key, let ids = known.withLock({ $0[key] }) { return ids }
        let ids = try text.withUnsafeBufferPointer { (bytes) throws(QwenSFTError) in
            try tokenizer.encode(utf8: bytes, splitSpecialTokens: splits)
        }
        if let key {
            known.withLock { if $0.count < 256 { $0[key] = ids } }
        }
        return ids
    }

    /// Ids of a text as they grow.
    private struct Writer {
        let encoder: ChatEncoder
        let text: TaggedText
        /// What is not encoded yet.
        var piece: Range<Int>
        /// Where the first data in the piece comes from; nil: all of it is the template's.
        private var data: TextOrigin?
        /// Whether a message's text came since the last control token.
        private var hasData = false
        private var cuts: ArraySlice<Int>
        private var result = EncodedConversation()
        private var reader: ChatML.Reader?

        init(encoder: ChatEncoder, text: TaggedText, piece: Range<Int>, cuts: ArraySlice<Int>, reader: ChatML.Reader?) {
            (self.encoder, self.text, self.piece, self.cuts, self.reader) = (encoder, text, piece, cuts, reader)
        }

        mutating func appendTemplate(to end: Int) throws(QwenSFTError) {
            var position = piece.upperBound
            while position < end {
                guard let token = encoder.addedToken(in: text.bytes, at: position, before: end) else {
                    position += 1
                    continue
                }
                try extend(to: position)
                try flush()
                try append([token.id])
                hasData = false
                position += token.content.utf8.count
                piece = position..<position
            }
            try extend(to: end)
        }

        mutating func appendRole(to end: Int, _ origin: TextOrigin) throws(QwenSFTError) {
            try flush()
            data = origin
            try extend(to: end)
            try flush()
        }

        mutating func appendData(to end: Int, _ origin: TextOrigin) throws(QwenSFTError) {
            if !hasData { try flush() }
            hasData = true
            data = data ?? origin
            try extend(to: end)
        }

        mutating func finish() throws(QwenSFTError) -> EncodedConversation {
            try extend(to: text.bytes.count)
            try flush()
            reader?.finish(at: result.ids.count)
            if let reader, reader.isComplete, !reader.messages.isEmpty { result.messages = reader.messages }
            return result
        }

        private mutating func extend(to end: Int) throws(QwenSFTError) {
            while let cut = cuts.first, cut <= end {
                let origin = data
                piece = piece.lowerBound..<max(piece.lowerBound, cut)
                try flush()
                data = origin
                result.places.append(result.ids.count)
                cuts.removeFirst()
            }
            piece = piece.lowerBound..<max(piece.lowerBound, end)
        }

        private mutating func flush() throws(QwenSFTError) {
            defer { data = nil }
            if piece.isEmpty { return }
            let isRole = data?.source == .role
            let ids = try encoder.encode(
                text.bytes[piece], splits: data == nil || isRole || encoder.splitSpecialTokens,
                isRecurring: data == nil || isRole)
            if let data {
                reader?.readData(data.message) { String(decoding: text.bytes[piece], as: UTF8.self) }
                try reserve(ids.count)
                result.ids += ids
            } else {
                try append(ids)
            }
            piece = piece.upperBound..<piece.upperBound
        }

        /// Ids of what the template wrote.
        private mutating func append(_ ids: [Int32]) throws(QwenSFTError) {
            try reserve(ids.count)
            reader?.readTemplate(ids, at: result.ids.count) {
                encoder.tokenizer.decodeBytes([$0], skipSpecialTokens: false)
            }
            result.ids += ids
        }

        private mutating func reserve(_ count: Int) throws(QwenSFTError) {
            try result.ids.makeRoom(for: count, purpose: "token ids")
        }
    }
}
