import QwenSFTCore
import QwenSFTStreaming
import Testing

@Suite(.serialized, .processWide) struct AnswerStreamTests {
    let model: Model
    let tokenizer: Tokenizer
    let question = [Message(role: "user", content: "What is your name?")]
    /// An answer that goes on until it is stopped.
    var endless: GenerationOptions {
        var options = GenerationOptions()
        options.doSample = true
        options.temperature = 3
        options.topK = 0
        options.maxNewTokens = 1500
        return options
    }

    init() throws {
        model = try Model(directory: tinyModelDirectory, dtype: .bfloat16)
        tokenizer = try tinyTokenizer()
    }

    @Test func piecesAreTheAnswer() async throws {
        var (text, ids): (String, [Int32]) = ("", [])
        let stream = model.streamChat(tokenizer, question, options: .greedy)
        for _ in 0..<2 {  // a sequence that can be gone through again, with a new answer
            (text, ids) = ("", [])
            for try await piece in stream {
                text += piece.text
                ids.append(piece.id)
            }
        }
        let answer = try model.replies(tokenizer, question, options: .greedy)[0]
        #expect(text == answer.text && ids == answer.ids && ids.count > 2)
    }

    @Test func aLoopThatIsLeftFreesTheModel() async throws {
        for _ in 0..<20 {
            var seen = 0
            for try await _ in model.streamChat(tokenizer, question, options: endless) {
                seen += 1
                if seen == 2 { break }
            }
            // Not busy any more, at once.
            _ = try model.forward([1, 2, 3], rows: 1, columns: 3)
        }
    }

    @Test func cancellingTheTaskEndsTheAnswer() async throws {
        let session = try ChatSession(model, tokenizer, options: endless)
        let task = Task {
            var text = ""
            for try await piece in session.stream(question[0].content) { text += piece.text }
            return text
        }
        while session.messages.count < 3, !task.isCancelled {
            try await Task.sleep(for: .milliseconds(20))
            task.cancel()
        }
        _ = try await task.value
        _ = try model.forward([1, 2, 3], rows: 1, columns: 3)
        #expect(try session.goBack())
    }

    @Test func errorsAreThrownByTheLoop() async throws {
        var options = GenerationOptions()
        options.topP = 7
        do {
            for try await _ in model.streamChat(tokenizer, question, options: options) { Issue.record("a piece") }
            Issue.record("no error")
        } catch {
            #expect((error as? QwenSFTError)?.code == .invalidArgument)
        }
    }
}
