/// Where a stretch of rendered text comes from. Only the template's own text may become control tokens.
package struct TextOrigin: Sendable, Equatable {
    package enum Source: UInt8, Sendable {
        /// Written in the template (or a special token of the tokenizer that the template names).
        case template
        /// A message's `role`, its `content`, or any other of its fields.
        case role, content, field
        /// What the caller passed beside the messages: tools, documents, keyword arguments.
        case argument
    }

    package var source: Source
    /// The message the text was taken from; for the template's text, the message whose turn of a loop wrote it; −1: none.
    package var message: Int32

    package init(_ source: Source, message: Int32 = -1) {
        self.source = source
        self.message = message
    }

    package static let template = TextOrigin(.template)
}

/// A stretch of text of one origin; it begins where the one before it ends.
package struct TextRun: Sendable, Equatable {
    package var end: Int
    package var origin: TextOrigin
}

/// Bytes with their origins, as they grow.
package struct TaggedText: Sendable {
    package private(set) var bytes: [UInt8] = []
    package private(set) var runs: [TextRun] = []
    fileprivate var watch: ContentWatch?

    package init() {}

    mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }

    /// - Throws: `outOfMemory` where there is no room for appending `text`.
    mutating func makeRoom(for text: JinjaText) throws(QwenSFTError) {
        let purpose = "the text of a conversation"
        try bytes.makeRoom(for: text.count, purpose: purpose)
        try runs.makeRoom(for: text.runs.count + 1, purpose: purpose)
    }

    mutating func append(_ new: some Collection<UInt8>, _ origin: TextOrigin) {
        if new.isEmpty { return }
        bytes += new
        close(origin, origin.message)
    }

    mutating func append(_ byte: UInt8, _ origin: TextOrigin) {
        bytes.append(byte)
        close(origin)
    }

    /// Appends part of a text. The template's text is marked with `message`, the one being written.
    mutating func append(_ text: JinjaText, _ range: Range<Int>? = nil, message: Int32 = -1) {
        let range = range ?? 0..<text.count
        if range.isEmpty { return }
        if range.count == text.count { bytes += text.contents } else { bytes += text.bytes[range] }
        if let watch = text.watch { self.watch = watch }
        let base = bytes.count - range.upperBound
        if text.runs.isEmpty { return close(text.origin, message) }
        for run in text.runs where run.end > range.lowerBound {
            close(run.origin, message, at: base + min(run.end, range.upperBound))
            if run.end >= range.upperBound { break }
        }
    }

    /// Where the text ends now, to go back to.
    var mark: (bytes: Int, runs: Int) { (bytes.count, runs.count) }

    mutating func truncate(to mark: (bytes: Int, runs: Int)) {
        bytes.removeSubrange(mark.bytes...)
        runs.removeSubrange(mark.runs...)
        if let last = runs.indices.last { runs[last].end = mark.bytes }
    }

    private mutating func close(_ origin: TextOrigin, _ message: Int32 = -1, at end: Int? = nil) {
        var origin = origin
        if origin.source == .template { origin.message = message }
        let end = end ?? bytes.count
        if let last = runs.indices.last, runs[last].origin == origin {
            runs[last].end = end
        } else {
            runs.append(TextRun(end: end, origin: origin))
        }
    }
}

/// An immutable text of the interpreter, in UTF-8.
package final class JinjaText: Sendable {
    fileprivate let contents: [UInt8]
    /// Empty where all of it is of `origin`.
    let runs: [TextRun]
    let origin: TextOrigin
    /// Marked as safe HTML (`|safe`): what is added to it is escaped, as Markup does.
    let isMarkup: Bool
    /// Is told of every look into the text; none is needed to write it, or to ask for its size.
    fileprivate let watch: ContentWatch?

    init(_ bytes: [UInt8], _ origin: TextOrigin = .template, watch: ContentWatch? = nil) {
        contents = bytes
        runs = []
        self.origin = origin
        self.watch = watch
        isMarkup = false
    }

    package convenience init(_ string: String, _ origin: TextOrigin = .template) {
        self.init(Array(string.utf8), origin)
    }

    init(_ text: consuming TaggedText, isMarkup: Bool = false) {
        origin = text.runs.first?.origin ?? .template
        runs = text.runs.count > 1 ? text.runs : []
        contents = text.bytes
        watch = text.watch
        self.isMarkup = isMarkup
    }

    init(markup text: JinjaText) {
        (contents, runs, origin, watch) = (text.contents, text.runs, text.origin, text.watch)
        isMarkup = true
    }

    static let empty = JinjaText([])

    var bytes: [UInt8] {
        watch?.isRead = true
        return contents
    }

    /// Of bytes.
    var count: Int { contents.count }

    var string: String { String(decoding: bytes, as: UTF8.self) }

    func slice(_ range: Range<Int>) -> JinjaText {
        if range.count == count { return self }
        if range.isEmpty { return .empty }
        if runs.isEmpty { return JinjaText(Array(bytes[range]), origin) }
        var part = TaggedText()
        part.append(self, range)
        return JinjaText(part)
    }

    /// The origin of what is made out of the text and no longer has a place in it: data wins over the template.
    var dominantOrigin: TextOrigin { runs.first { $0.origin.source != .template }?.origin ?? origin }

    /// The text with every byte run through a mapping of strings, keeping the origin of each run.
    func mapped(_ transform: (String) -> String) -> JinjaText {
        if runs.isEmpty { return JinjaText(transform(string), origin) }
        var result = TaggedText()
        var start = 0
        for run in runs {
            result.append(transform(String(decoding: bytes[start..<run.end], as: UTF8.self)).utf8, run.origin)
            start = run.end
        }
        return JinjaText(result)
    }
}
