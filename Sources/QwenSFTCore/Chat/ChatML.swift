/// The tokens of one message: `<|im_start|>` role `\n` content `<|im_end|>` `\n`, as ranges of a row. What is not there is an
/// empty range.
package struct MessageTokens: Sendable {
    package let start: Range<Int>
    package let role: Range<Int>
    package let roleNewline: Range<Int>
    package let content: Range<Int>
    package let end: Range<Int>
    package var endNewline: Range<Int>
    /// The role as it is written.
    package let roleText: String
    /// The message that stands in it: the first, where a template puts several into one.
    package let message: Int?

    package var all: Range<Int> { start.lowerBound..<endNewline.upperBound }
}

/// What makes a text ChatML: messages between `<|im_start|>` and `<|im_end|>` that the template wrote. What looks like them in a
/// message's content is content.
enum ChatML {
    static let start = Array("<|im_start|>".utf8)
    static let end = Array("<|im_end|>".utf8)
    private static let systemStart = Array("<|im_start|>system\n".utf8)

    /// The system message that the template puts before a conversation which has none: bytes of all of it and of its content.
    static func defaultSystem(_ text: TaggedText) -> (all: Range<Int>, content: Range<Int>)? {
        guard text.bytes.starts(with: systemStart) else { return nil }
        // All of it is the template's own.
        var ownEnd = 0
        for run in text.runs {
            if run.origin.source != .template { break }
            ownEnd = run.end
        }
        let own = Array(text.bytes[..<ownEnd])
        guard let close = PythonText.find(end, in: own, from: systemStart.count) else { return nil }
        var after = close + end.count
        if after < own.count, own[after] == UInt8(ascii: "\n") { after += 1 }
        return (0..<after, systemStart.count..<close)
    }

    /// Reads messages off the tokens of a row, in order.
    struct Reader {
        private let startID: Int32
        private let endID: Int32
        private(set) var messages: [MessageTokens] = []
        /// The message that is open: where it starts, where its role ends, where its content starts.
        private var open: (start: Int, roleEnd: Int?, contentStart: Int)?
        private var roleText = ""
        private var message: Int?
        private var isJustClosed = false
        /// Whether everything so far stands in messages.
        private(set) var isComplete = true

        init(startID: Int32, endID: Int32) {
            (self.startID, self.endID) = (startID, endID)
        }

        /// Tokens that the template wrote, from `position` on.
        /// - Parameter text: of a token.
        mutating func readTemplate(_ ids: [Int32], at first: Int, _ text: (Int32) -> [UInt8]) {
            for (i, id) in ids.enumerated() {
                let position = first + i
                if id == startID {
                    if open != nil { isComplete = false }
                    close(at: position)
                    (open, roleText, message, isJustClosed) = ((position, nil, position + 1), "", nil, false)
                } else if open != nil {
                    if id == endID {
                        close(at: position, end: position..<position + 1)
                    } else if open?.roleEnd == nil {
                        readRole(text(id), at: position)
                    }
                } else if isJustClosed, text(id).allSatisfy({ $0 == UInt8(ascii: "\n") }) {
                    messages[messages.count - 1].endNewline = position..<position + 1
                    isJustClosed = false
                } else {
                    (isComplete, isJustClosed) = (false, false)
                }
            }
        }

        /// Tokens of a message's data.
        mutating func readData(_ message: Int32, _ text: () -> String) {
            isJustClosed = false
            guard open != nil else {
                isComplete = false
                return
            }
            if message >= 0 { self.message = self.message ?? Int(message) }
            if open?.roleEnd == nil { roleText += text() }
        }

        /// Ends a message that is still open.
        mutating func finish(at count: Int) { close(at: count) }

        private mutating func readRole(_ text: [UInt8], at position: Int) {
            if text.contains(UInt8(ascii: "\n")) {
                open?.roleEnd = position
                open?.contentStart = position + 1
            } else {
                roleText += String(decoding: text, as: UTF8.self)
            }
        }

        private mutating func close(at position: Int, end: Range<Int>? = nil) {
            guard let open else { return }
            let end = end ?? position..<position
            let contentStart = open.roleEnd == nil ? position : open.contentStart
            let roleEnd = open.roleEnd ?? position
            messages.append(
                MessageTokens(
                    start: open.start..<open.start + 1, role: open.start + 1..<roleEnd,
                    roleNewline: roleEnd..<contentStart, content: contentStart..<position, end: end,
                    endNewline: end.upperBound..<end.upperBound, roleText: roleText, message: message))
            self.open = nil
            isJustClosed = !end.isEmpty
        }
    }
}
