/// What every throwing function of the library throws: a code to act on and one line that says what and where.
public struct QwenSFTError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Each code is something a caller would act on differently.
    public enum Code: Int32, Sendable, CaseIterable {
        /// An argument, option or message is not acceptable.
        case invalidArgument = 1
        /// A file or directory does not exist.
        case notFound = 2
        /// The operating system refused to read or write.
        case io = 3
        /// A file's content is broken or contradicts itself.
        case invalidFile = 4
        /// Well formed, but this version cannot do it.
        case unsupported = 5
        /// Memory could not be had.
        case outOfMemory = 6
        /// No token of a row (or of the batch) is supervised.
        case noSupervisedTokens = 7
        /// More tokens than the context or the given length holds.
        case tooLong = 8
        /// The caller's buffer is too small; the needed size was reported.
        case bufferTooSmall = 9
        /// A loss, gradient norm or weight is not finite; nothing was changed.
        case nonFinite = 10
        /// A callback asked to stop.
        case cancelled = 11
        /// The object is in use by another call.
        case busy = 12
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
