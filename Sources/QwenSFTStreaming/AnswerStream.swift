import Libc
import QwenSFTCore
import Synchronization

/// An answer piece by piece, as the model makes it: `for try await piece in session.stream("2+2") { print(piece.text) }`.
///
/// Generation begins with the first piece that is asked for, on a thread of its own, and waits for nobody: pieces that were
/// not asked for yet are kept. Leaving the loop early, or cancelling the task, ends it; the model can be used again as soon
/// as the loop has been left.
public struct AnswerStream: AsyncSequence, Sendable {
    public typealias Element = GenerationPiece

    /// Generates, handing out every piece; what it throws, the loop throws.
    typealias Work = @Sendable ((GenerationPiece) -> Bool) throws -> Void

    private let work: Work
    private let stop: @Sendable () -> Void

    init(_ work: @escaping Work, stop: @escaping @Sendable () -> Void) {
        self.work = work
        self.stop = stop
    }

    public func makeAsyncIterator() -> Iterator { Iterator { [work, stop] in Answering(work, stop) } }

    public struct Iterator: AsyncIteratorProtocol {
        private let begin: () -> Answering
        private var answering: Answering?
        private var pieces: AsyncThrowingStream<GenerationPiece, any Error>.Iterator?

        fileprivate init(_ begin: @escaping () -> Answering) { self.begin = begin }

        public mutating func next() async throws -> GenerationPiece? {
            if answering == nil {
                answering = begin()
                pieces = answering?.pieces.makeAsyncIterator()
            }
            let piece = try await pieces?.next()
            if piece == nil { answering?.end() }
            return piece
        }
    }
}

extension Model {
    /// `chat`, piece by piece.
    public func streamChat(
        _ tokenizer: Tokenizer, _ messages: [Message], options: GenerationOptions = .init(),
        template: ChatTemplate? = nil
    ) -> AnswerStream {
        let answer: AnswerStream.Work = { onPiece in
            _ = try self.replies(tokenizer, messages, options: options, template: template, onPiece: onPiece)
        }
        return AnswerStream(answer, stop: { self.stopGenerating() })
    }
}

extension ChatSession {
    /// `send`, piece by piece. As there, the answer becomes part of the conversation also when it was stopped.
    public func stream(
        _ content: String, role: String = "user", options: GenerationOptions? = nil
    ) -> AnswerStream {
        let answer: AnswerStream.Work = { onPiece in
            _ = try self.send(content, role: role, options: options, onPiece: onPiece)
        }
        return AnswerStream(answer, stop: { self.stop() })
    }
}

/// Work on a thread of its own, which is over when this is.
private final class Answering: Sendable {
    let pieces: AsyncThrowingStream<GenerationPiece, any Error>
    private let thread: Thread
    private let stop: @Sendable () -> Void
    private let isOver = Flag()
    private let needsNoStop = Flag()

    init(_ work: @escaping AnswerStream.Work, _ stop: @escaping @Sendable () -> Void) {
        self.stop = stop
        let (pieces, continuation) = AsyncThrowingStream<GenerationPiece, any Error>.makeStream()
        self.pieces = pieces
        thread = Thread { [isOver, needsNoStop] in
            do {
                try work { piece in
                    needsNoStop.set()
                    continuation.yield(piece)
                    return !isOver.isSet
                }
                needsNoStop.set()
                continuation.finish()
            } catch {
                needsNoStop.set()
                continuation.finish(throwing: error)
            }
        }
        // The task's lock is held here, which `yield` on the other thread may be waiting for: nothing may be waited for.
        continuation.onTermination = { [isOver] reason in
            if case .cancelled = reason { isOver.set() }
        }
        if let error = thread.start() { continuation.finish(throwing: error) }
    }

    /// Returns when the thread has ended: within a token's time.
    func end() {
        isOver.set()
        // From the first token on, `work` asks whether to go on; before it, only this helps, and may come too early.
        thread.join { if !needsNoStop.isSet { stop() } }
    }

    deinit { end() }
}

private final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .relaxed) }
    func set() { value.store(true, ordering: .relaxed) }
}

/// A thread that can be waited for, outside of the pool that Swift runs its tasks on: generation blocks for seconds.
private final class Thread: Sendable {
    private let body: @Sendable () -> Void
    private let isDone = Flag()

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }

    func start() -> QwenSFTError? {
        let code = startThread {
            self.body()
            self.isDone.set()
        }
        guard code == 0 else {
            isDone.set()
            return QwenSFTError(.outOfMemory, "no thread to generate on: \(String(cString: strerror(code)))")
        }
        return nil
    }

    /// Returns when the body has: within a token's time.
    func join(_ ask: () -> Void) {
        while !isDone.isSet {
            ask()
            usleep(500)
        }
    }
}
