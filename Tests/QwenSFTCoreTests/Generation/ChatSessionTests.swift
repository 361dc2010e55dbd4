import QwenSFTCore
import Testing

@Suite(.serialized, .processWide) struct ChatSessionTests {
    let model: Model
    let tokenizer: Tokenizer
    let questions = ["What is your name?", "Who made you?", "What is the capital of France?"]

    init() throws {
        model = try Model(directory: tinyModelDirectory, dtype: .bfloat16)
        tokenizer = try tinyTokenizer()
    }

    func session(_ messages: [Message] = []) throws -> ChatSession {
        try ChatSession(model, tokenizer, messages: messages, options: .greedy)
    }

    @Test func turnsAreThoseOfAFreshChat() throws {
        let session = try session()
        for question in questions {
            let before = session.messages
            let answer = try session.send(question)
            let fresh = try model.replies(
                tokenizer, before + [Message(role: "user", content: question)], options: .greedy)
            #expect(answer.text == fresh[0].text && answer.ids == fresh[0].ids)
            #expect(session.messages.suffix(2).map(\.content) == [question, answer.text])
        }
    }

    @Test func onlyNewTokensAreComputed() throws {
        let session = try session()
        let first = try session.send(questions[0])
        #expect(first.computedPromptTokens == first.promptTokens)
        let second = try session.send(questions[1])
        // The question with its frame; the answer's last id, its stop, was never put in.
        let turn = try tokenizer.encode(questions[1], splitSpecialTokens: true).count
        #expect(second.computedPromptTokens < turn + 16 && second.promptTokens > first.promptTokens + turn)
    }

    @Test func theMessagesAreAllThatTheModelSaw() throws {
        let session = try session()
        #expect(session.messages.map(\.role) == ["system"])
        let answer = try session.send(questions[0])
        let batch = try Batch([session.messages], tokenizer: tokenizer)
        let ids = batch.inputIDs.map { Int32($0) }
        #expect(
            Array(ids.prefix(answer.promptTokens))
                == (try tokenizer.applyChatTemplate(
                    [Message(role: "user", content: questions[0])], addGenerationPrompt: true)))
        #expect(Array(ids.dropFirst(answer.promptTokens).prefix(answer.ids.count)) == answer.ids)
        #expect(try ChatSession(model, tokenizer, template: .chatML).messages.isEmpty)
    }

    @Test func answersFromElsewhere() throws {
        let session = try session()
        let told = [Message(role: "user", content: questions[0]), Message(role: "assistant", content: "Bob.")]
        try session.append(told)
        try session.replaceAnswer("I am Bob.")
        let before = session.messages
        #expect(before.map(\.content).suffix(2) == [questions[0], "I am Bob."])
        let answer = try session.send(questions[1])
        let fresh = try model.replies(
            tokenizer, before + [Message(role: "user", content: questions[1])], options: .greedy)
        #expect(answer.ids == fresh[0].ids)
        // What was computed is kept as far as the answers agree.
        try session.replaceAnswer(answer.text + " And so on.")
        #expect(try session.send(questions[2]).computedPromptTokens < answer.promptTokens)
        for _ in 0..<3 { #expect(try session.goBack()) }
        #expect(try !session.goBack())
        #expect(throws: QwenSFTError.self) { try session.replaceAnswer("a") }
        #expect(throws: QwenSFTError.self) { try session.append([Message(role: "", content: "a")]) }
        #expect(session.messages.count == 1)
    }

    @Test func goingBackAndBeginningAnew() throws {
        let session = try session([Message(role: "system", content: "Be brief.")])
        let first = try session.send(questions[0])
        let second = try session.send(questions[1])
        #expect(try session.goBack())
        let again = try session.send(questions[1])
        #expect(again.text == second.text && again.computedPromptTokens <= second.computedPromptTokens)
        #expect(try session.goBack())
        #expect(try session.goBack())
        #expect(try !session.goBack())
        #expect(session.messages.map(\.role) == ["system"])
        #expect(try session.send(questions[0]).text == first.text)
        try session.reset()
        #expect(session.messages.map(\.role) == ["system"])
    }

    @Test func trainingMakesTheCacheWorthless() throws {
        let session = try session()
        _ = try session.send(questions[0])
        let trainer = try Trainer(model, optimizer: .sgd(SGD(learningRate: 0.5)))
        let batch = try Batch(
            [
                [
                    Message(role: "user", content: questions[1]),
                    Message(role: "assistant", content: "Somebody else entirely."),
                ]
            ],
            tokenizer: tokenizer)
        for _ in 0..<3 { try trainer.step(batch) }
        let messages = session.messages + [Message(role: "user", content: questions[1])]
        let answer = try session.send(questions[1])
        #expect(answer.computedPromptTokens == answer.promptTokens)
        #expect(answer.text == (try model.replies(tokenizer, messages, options: .greedy))[0].text)

        let norm = try model.parameter(named: "model.norm.weight")
        try model.setValues(try model.values(of: norm).map { $0 * 1.5 }, of: norm)
        let after = try session.send(questions[2])
        #expect(after.computedPromptTokens == after.promptTokens)
    }

    @Test func stoppedAnswersStay() throws {
        let session = try session()
        let answer = try session.send(questions[0]) { _ in
            session.stop()
            return true
        }
        #expect(answer.finishReason == .cancelled && answer.ids.count == 1)
        #expect(session.messages.last == Message(role: "assistant", content: answer.text))
        let messages = session.messages + [Message(role: "user", content: questions[1])]
        let next = try session.send(questions[1])
        #expect(next.text == (try model.replies(tokenizer, messages, options: .greedy))[0].text)
    }

    @Test func aFullContextIsAnError() throws {
        let session = try session()
        let before = session.messages
        let long = String(repeating: "word ", count: model.configuration.maxPositions)
        var failure: QwenSFTError?
        do { _ = try session.send(long) } catch { failure = error }
        #expect(failure?.code == .tooLong && failure?.message.contains("go back or begin anew") == true)
        #expect(session.messages == before)
        _ = try session.send(questions[0])
    }

    @Test func oneTurnAtATime() throws {
        let session = try session()
        _ = try session.send(questions[0]) { _ in
            expectError(.busy, "the session is in use by a call on this thread, whose callback has not returned") {
                try session.send("x")
            }
            expectError(.busy, "the session is in use by a call on this thread, whose callback has not returned") {
                try session.reset()
            }
            expectError(.busy, "the model is in use by a call on this thread, whose callback has not returned") {
                try model.generate([1])
            }
            return false
        }
        var options = GenerationOptions.greedy
        options.numReturnSequences = 2
        expectError(
            .invalidArgument, "num_return_sequences must be 1 in a session, which goes on from one answer"
        ) { try session.send("x", options: options) }
    }
}
