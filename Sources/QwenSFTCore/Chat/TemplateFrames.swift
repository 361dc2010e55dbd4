/// What a template writes around the contents of messages, for conversations that have been rendered before.
///
/// Most templates never look into a content: what they write then depends on the roles alone, on which contents are empty, and on whether
/// an answer is to be opened. It is kept, and the next conversation of the same kind is put together instead of interpreted. Whether a
/// template looks is not guessed: `ContentWatch` sees it.
final class TemplateFrames: Sendable {
    private struct Frame {
        /// The template's text and the roles, each with the message whose content comes before it.
        var pieces: [(content: Int?, bytes: [UInt8], runs: [TextRun])]
    }

    private let frames = Locked<[[UInt8]: Frame]>([:])
    /// Kinds of conversations beyond this many are interpreted.
    private static let maxFrames = 256
    private static let maxBytes = 1 << 16
    /// Longer conversations go to the interpreter, which enforces its limits.
    private static let maxContent = 1 << 24

    /// What the frame depends on; nil: on more than this.
    static func key(_ messages: [Message], addGenerationPrompt: Bool) -> [UInt8]? {
        var key: [UInt8] = [addGenerationPrompt ? 1 : 0]
        var content = 0
        for message in messages {
            guard message.fields.isEmpty else { return nil }
            key += message.role.utf8
            key.append(message.content.isEmpty ? 1 : 0)  // no role holds these bytes
            content += message.content.utf8.count
        }
        return content < maxContent && key.count < 4096 ? key : nil
    }

    func text(_ key: [UInt8], _ messages: [Message]) -> TaggedText? {
        guard let frame = frames.withLock({ $0[key] }) else { return nil }
        var text = TaggedText()
        text.reserve(messages.reduce(0) { $0 + $1.content.utf8.count + 64 })
        for piece in frame.pieces {
            if let content = piece.content {
                text.append(messages[content].content.utf8, TextOrigin(.content, message: Int32(content)))
            }
            var start = 0
            for run in piece.runs {
                text.append(piece.bytes[start..<run.end], run.origin)
                start = run.end
            }
        }
        return text
    }

    /// Keeps what stands around the contents of a text that was written without a look at them.
    func note(_ key: [UInt8], _ text: TaggedText, _ messages: [Message]) {
        var frame = Frame(pieces: [(nil, [], [])])
        var start = 0
        for run in text.runs {
            let bytes = text.bytes[start..<run.end]
            start = run.end
            if run.origin.source == .content {
                let content = Int(run.origin.message)
                // Twice in a row it is one run.
                guard bytes.elementsEqual(messages[content].content.utf8) else { return }
                frame.pieces.append((content, [], []))
            } else {
                let last = frame.pieces.count - 1
                frame.pieces[last].bytes += bytes
                frame.pieces[last].runs.append(TextRun(end: frame.pieces[last].bytes.count, origin: run.origin))
            }
        }
        guard frame.pieces.reduce(0, { $0 + $1.bytes.count }) <= Self.maxBytes else { return }
        frames.withLock { if $0.count < Self.maxFrames { $0[key] = frame } }
    }
}

/// Sees whether one rendering looks into the contents of messages, or only writes them.
final class ContentWatch: @unchecked Sendable {
    var isRead = false
}
