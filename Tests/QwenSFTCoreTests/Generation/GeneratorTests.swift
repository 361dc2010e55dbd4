import QwenSFTCore
import Testing

@Suite(.serialized, .processWide) struct GeneratorTests {
    let model: Model
    let tokenizer: Tokenizer
    let messages = [Message(role: "user", content: "What is your name?")]

    init() throws {
        model = try Model(directory: tinyModelDirectory, dtype: .float32)
        tokenizer = try tinyTokenizer()
    }

    func sampled(_ seed: UInt64) -> GenerationOptions {
        var options = GenerationOptions()
        options.doSample = true
        options.temperature = 6
        options.topK = 0
        options.topP = 1
        options.seed = seed
        options.maxNewTokens = 24
        return options
    }

    @Test func piecesJoinToTheAnswer() throws {
        var pieces: [GenerationPiece] = []
        let answer = try #require(
            try model.replies(tokenizer, messages, options: sampled(1)) {
                pieces.append($0)
                return true
            }.first)
        #expect(pieces.map(\.text).joined() == answer.text && pieces.map(\.id) == answer.ids)
        #expect(answer.text == tokenizer.decode(answer.ids, skipSpecialTokens: true))
        #expect(!answer.ids.isEmpty)
    }

    @Test func severalAnswersAreThoseOfTheFollowingSeeds() throws {
        var options = sampled(5)
        options.numReturnSequences = 3
        let together = try model.replies(tokenizer, messages, options: options)
        #expect(together.count == 3)
        for (i, answer) in together.enumerated() {
            #expect(try model.replies(tokenizer, messages, options: sampled(5 + UInt64(i))) == [answer])
        }
        #expect(Set(together.map(\.text)).count > 1)
    }

    /// Against probabilities from the logits of a plain forward pass.
    @Test func logProbabilitiesAreTheModels() throws {
        var options = sampled(2)
        options.logProbabilities = true
        options.repetitionPenalty = 1.3
        let prompt = try tokenizer.applyChatTemplate(messages, addGenerationPrompt: true)
        let answer = try #require(try model.generations(prompt, options: options).first)
        let values = try #require(answer.logProbabilities)
        #expect(values.count == answer.ids.count && !values.isEmpty)
        let all = (prompt + answer.ids).map(Int64.init)
        let logits = try model.forward(all, rows: 1, columns: all.count)
        let vocabulary = model.configuration.vocabularySize
        for (i, id) in answer.ids.enumerated() {
            let row = logits[(prompt.count + i - 1) * vocabulary..<(prompt.count + i) * vocabulary].map(Double.init)
            let top = row.max()!
            let logSum = top + logOf(row.reduce(0) { $0 + expOf($1 - top) })
            #expect(abs(row[Int(id)] - logSum - Double(values[i])) < 1e-4)
        }
    }

    @Test func finishReasons() throws {
        let free = try #require(try model.replies(tokenizer, messages, options: .greedy).first)
        #expect(free.finishReason == .stopID && free.ids.last == tokenizer.tokenID(of: "<|im_end|>"))
        try #require(free.ids.count > 4)

        var short = GenerationOptions.greedy
        short.maxNewTokens = 2
        let cut = try #require(try model.replies(tokenizer, messages, options: short).first)
        #expect(cut.finishReason == .length && cut.ids == Array(free.ids.prefix(2)))

        short.maxNewTokens = 0
        #expect(try model.replies(tokenizer, messages, options: short).first?.ids == [])

        var stopped = GenerationOptions.greedy
        stopped.stopIDs = [free.ids[2]]
        let atID = try #require(try model.replies(tokenizer, messages, options: stopped).first)
        #expect(
            atID.finishReason == .stopID
                && atID.ids == Array(free.ids.prefix(free.ids.firstIndex(of: free.ids[2])! + 1)))

        var text = GenerationOptions.greedy
        text.stopStrings = [String(free.text.suffix(4).prefix(3))]
        let atText = try #require(try model.replies(tokenizer, messages, options: text).first)
        #expect(atText.finishReason == .stopString && free.text.hasPrefix(atText.text + text.stopStrings[0]))

        var count = 0
        let cancelled = try model.replies(tokenizer, messages, options: .greedy) { _ in
            count += 1
            return count < 3
        }
        #expect(cancelled.first?.finishReason == .cancelled && cancelled.first?.ids == Array(free.ids.prefix(3)))

        let fromElsewhere = try model.replies(tokenizer, messages, options: .greedy) { _ in
            model.stopGenerating()
            return true
        }
        #expect(fromElsewhere.first?.finishReason == .cancelled && fromElsewhere.first?.ids.count == 1)
    }

    @Test func theContextEnds() throws {
        let ids = [Int32](repeating: 5, count: model.configuration.maxPositions - 3)
        var options = GenerationOptions.greedy
        options.stopIDs = []
        let answer = try #require(try model.generations(ids, options: options).first)
        #expect(answer.ids.count <= 3 && (answer.finishReason == .context || answer.finishReason == .stopID))
        expectError(
            .tooLong,
            "\(ids.count + 4) tokens are more than the model's context of \(model.configuration.maxPositions)"
        ) { try model.generate(ids + [5, 5, 5, 5]) }
    }

    /// Weights that are no numbers give no answer, rather than one of the first id again and again.
    @Test(arguments: [Float.nan, .infinity])
    func logitsThatAreNoNumbers(_ value: Float) throws {
        let model = try RandomModel().model()
        try model.setUnchecked(value, at: 0..<1, of: model.parameter(named: "model.norm.weight"))
        for samples in [false, true] {
            var options = GenerationOptions()
            options.doSample = samples
            expectError(
                .nonFinite,
                "the logits after token 3 are not all finite: the model's weights are no numbers, or too large"
            ) { try model.generate([1, 2, 3], options: options) }
        }
    }

    @Test func optionsAreChecked() throws {
        var options = GenerationOptions()
        options.stopStrings = ["x"]
        expectError(.invalidArgument, "stop_strings need a tokenizer") { try model.generations([1], options: options) }
        options.stopStrings = [""]
        expectError(.invalidArgument, "stop_strings: an empty text stands everywhere") {
            try model.generations([1], tokenizer: tokenizer, options: options)
        }
        options = .init()
        options.numReturnSequences = 0
        expectError(.invalidArgument, "num_return_sequences must be from 1 to 1024, not 0") {
            try model.generations([1], options: options)
        }
        expectError(.invalidArgument, "ids: there is nothing to continue") { try model.generate([]) }
    }
}
