import QwenSFTCore
import Testing

@Suite(.processWide) struct PreprocessTests {
    private let tokenizer: Tokenizer
    init() throws { tokenizer = try qwen2Tokenizer() }

    private let system = Message(role: "system", content: "You are a helpful assistant.")
    private let user = Message(role: "user", content: "2+2等于几")
    private let assistant = Message(role: "assistant", content: "2+2等于5。")

    /// The article's conversation: transformers' ids.
    private let ids: [Int64] = [
        151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198,
        151644, 872, 198, 17, 10, 17, 107106, 99195, 151645, 198,
        151644, 77091, 198, 17, 10, 17, 107106, 20, 1773, 151645, 198,
    ]

    private func batch(_ conversations: [[Message]], _ options: PreprocessOptions = .init()) throws -> Batch {
        try Batch(conversations, tokenizer: tokenizer, options: options)
    }

    /// The labels of a row that are set, by position.
    private func supervised(_ batch: Batch, row: Int = 0) -> [Int] {
        let labels = batch.labels
        return (0..<batch.columns).filter { labels[row * batch.columns + $0] != -100 }
    }

    @Test func theArticlesBatch() throws {
        let batch = try batch([[system, user, assistant], [system, user, assistant]])
        let labels: [Int64] = [
            151644, -100, -100, -100, -100, -100, -100, -100, -100, 151645, 198,
            151644, -100, -100, -100, -100, -100, -100, -100, 151645, 198,
            151644, -100, -100, 17, 10, 17, 107106, 20, 1773, 151645, 198,
        ]
        #expect(batch.rows == 2 && batch.columns == 32)
        #expect(batch.inputIDs == ids + ids)
        #expect(batch.labels == labels + labels)
        #expect(batch.attentionMask == [Int64](repeating: 1, count: 64))
        #expect(batch.tokenWeights == nil)
    }

    @Test(arguments: [
        (LabelPolicy.qwen, [0, 9, 10, 11, 19, 20, 21, 24, 25, 26, 27, 28, 29, 30, 31]),
        (.assistant, [24, 25, 26, 27, 28, 29, 30]),
        (.assistantContent, [24, 25, 26, 27, 28, 29]),
        (.assistantNewline, [24, 25, 26, 27, 28, 29, 30, 31]),
        (.lastAssistant, [24, 25, 26, 27, 28, 29, 30]),
        (.all, Array(0..<32)),
    ])
    func policies(policy: LabelPolicy, positions: [Int]) throws {
        let batch = try batch([[system, user, assistant]], .init(labelPolicy: policy, addDefaultSystem: false))
        #expect(supervised(batch) == positions)
        for position in positions { #expect(batch.labels[position] == batch.inputIDs[position]) }
    }

    @Test func severalTurns() throws {
        let turns = [user, assistant, user, assistant, user]
        // user: 10 tokens, assistant: 11.
        let first = Array(13...19)
        let second = Array(34...40)
        #expect(
            supervised(try batch([turns], .init(labelPolicy: .assistant, addDefaultSystem: false))) == first + second)
        #expect(supervised(try batch([turns], .init(labelPolicy: .lastAssistant, addDefaultSystem: false))) == second)
        // qwen supervises the content of any role but system and user.
        let judge = Message(role: "judge", content: "2")
        #expect(supervised(try batch([[user, judge]])) == [0, 8, 9, 10, 13, 14, 15])
        #expect(
            supervised(try batch([[user, assistant, judge]], .init(labelPolicy: .assistant, addDefaultSystem: false)))
                == first)
    }

    @Test func paddingIsMaskedByPosition() throws {
        // The content holds the padding token itself.
        let long = Message(role: "assistant", content: "<|endoftext|><|endoftext|>")
        let batch = try batch(
            [[assistant], [user, long]], .init(labelPolicy: .all, splitSpecialTokens: false, addDefaultSystem: false))
        #expect(batch.columns == 17)
        #expect(Array(batch.inputIDs[11..<17]) == [Int64](repeating: 151643, count: 6))
        #expect(Array(batch.labels[11..<17]) == [Int64](repeating: -100, count: 6))
        #expect(Array(batch.attentionMask[..<17]) == Array(repeating: 1, count: 11) + Array(repeating: 0, count: 6))
        #expect(Array(batch.attentionMask[17...]) == [Int64](repeating: 1, count: 17))
        #expect(Array(batch.labels[17...]) == Array(batch.inputIDs[17...]))
        #expect(Array(batch.inputIDs[30...31]) == [151643, 151643])
    }

    @Test func weights() throws {
        var silent = assistant
        silent.weight = 0
        #expect(
            supervised(
                try batch([[user, silent, user, assistant]], .init(labelPolicy: .assistant, addDefaultSystem: false)))
                == Array(34...40))
        // 0 takes every label of the message, also under qwen; 1 overrides nothing.
        #expect(supervised(try batch([[user, silent, assistant]])) == [0, 8, 9, 21] + Array(24...31))
        #expect(try batch([[user, silent, assistant]]).tokenWeights == nil)
        // The last assistant message is silent: nothing is left.
        expectError(.noSupervisedTokens, "row 0: no token is supervised (label policy 'last_assistant')") {
            try batch([[user, assistant, silent]], .init(labelPolicy: .lastAssistant, addDefaultSystem: false))
        }
        var half = assistant
        half.weight = 0.5
        let weighted = try batch([[user, half], [assistant]], .init(labelPolicy: .assistant, addDefaultSystem: false))
        let expected =
            [Float](repeating: 0, count: 13) + Array(repeating: 0.5, count: 7) + [0]
            + [0, 0, 0] + Array(repeating: 1, count: 7) + Array(repeating: 0, count: 11)
        #expect(weighted.tokenWeights == expected)
        for weight in [Float.nan, -1, .infinity] {
            var bad = assistant
            bad.weight = weight
            expectError(.invalidArgument, "row 1: message 1: the weight \(weight) must be a number from 0 on") {
                try batch([[assistant], [user, bad]], .init(addDefaultSystem: true))
            }
        }
    }

    @Test func defaultSystem() throws {
        #expect(try batch([[user, assistant]]).inputIDs == Array(ids[11...]))
        #expect(try batch([[user, assistant]], .init(addDefaultSystem: true)).inputIDs == ids)
        #expect(try batch([[system, user, assistant]], .init(addDefaultSystem: true)).inputIDs == ids)
    }

    /// What is trained is what chat sends; the policy `qwen` in a batch is the article's.
    @Test func defaultSystemUnlessSaid() throws {
        for policy in LabelPolicy.allCases where policy != .qwen && policy != .generation {
            #expect(try batch([[user, assistant]], .init(labelPolicy: policy)).inputIDs == ids)
        }
        let dataset = try EncodedDataset(Dataset([[user, assistant]]), tokenizer: tokenizer)
        #expect(try dataset.batch([0]).inputIDs == ids)
        let without = try EncodedDataset(
            Dataset([[user, assistant]]), tokenizer: tokenizer, options: .init(addDefaultSystem: false))
        #expect(try without.batch([0]).inputIDs == Array(ids[11...]))
    }

    @Test func truncation() throws {
        let cut = try batch([[system, user, assistant], [assistant]], .init(maxLength: 26))
        #expect(cut.columns == 26)
        #expect(Array(cut.inputIDs[..<26]) == Array(ids[..<26]))
        #expect(supervised(cut) == [0, 9, 10, 11, 19, 20, 21, 24, 25])
        #expect(Array(cut.attentionMask[26..<37]) == [Int64](repeating: 1, count: 11))
        #expect(try batch([[system, user, assistant]], .init(maxLength: 32)).inputIDs == ids)
        #expect(try batch([[system, user, assistant]], .init(maxLength: 1000)).inputIDs == ids)
        // Cut before the answer; and cut to a single token, whose label is no target.
        expectError(
            .noSupervisedTokens, "row 1: no token is supervised (label policy 'assistant', cut to 13 of 21 tokens)"
        ) {
            try batch(
                [[assistant], [user, assistant]], .init(labelPolicy: .assistant, maxLength: 13, addDefaultSystem: false)
            )
        }
        expectError(.noSupervisedTokens, "row 0: no token is supervised (label policy 'all', cut to 1 of 11 tokens)") {
            try batch([[assistant]], .init(labelPolicy: .all, maxLength: 1, addDefaultSystem: false))
        }
        expectError(.invalidArgument, "max_length must be at least 1, not 0") {
            try batch([[assistant]], .init(maxLength: 0))
        }
    }

    /// The tokenizer's model_max_length is where rows are cut when nobody says otherwise; what a model takes is its own affair.
    @Test func tokenizersLength() throws {
        let directory = try TestDirectory()
        for name in try listDirectory(TokenizerFixtures.qwen2Directory) where name != "tokenizer_config.json" {
            try directory.write(name, TokenizerFixtures.text("qwen2-tokenizer/" + name))
        }
        try directory.write("tokenizer_config.json", #"{"model_max_length": 16}"#)
        let short = try Tokenizer(directory: directory.path)
        #expect(short.modelMaxLength == 16)
        func make(_ options: PreprocessOptions = .init()) throws -> (Batch, [String]) {
            try catchingWarnings {
                try Batch([[system, user, assistant], [assistant]], tokenizer: short, options: options)
            }
        }
        let (cut, warnings) = try make()
        #expect(cut.columns == 16 && Array(cut.inputIDs[..<16]) == Array(ids[..<16]))
        #expect(
            warnings == [
                "1 of 2 conversations were cut to 16 tokens (the tokenizer's model_max_length; max_length sets another); the rest of them is not learned"
            ])
        for options in [PreprocessOptions(maxLength: 1000), .init(maxLength: 32, contextLength: 32)] {
            let (whole, warnings) = try make(options)
            #expect(whole.columns == 32 && Array(whole.inputIDs[..<32]) == ids && warnings.isEmpty)
        }
        expectError(.tooLong, "row 0: 32 tokens are more than the model's context of 31; max_length cuts them") {
            try make(.init(maxLength: 1000, contextLength: 31))
        }
        #expect(try make(.init(maxLength: 20, contextLength: 20)).0.columns == 20)
        #expect(try make(.init(contextLength: 16)).0.columns == 16)
        expectError(.invalidArgument, "context_length must be at least 1, not 0") { try make(.init(contextLength: 0)) }
        expectError(
            .noSupervisedTokens,
            "row 0: no token is supervised (label policy 'assistant', cut to 16 of 32 tokens)"
        ) { try make(.init(labelPolicy: .assistant, addDefaultSystem: false)) }
        // A text is cut where that is asked for, and only there.
        #expect(try Batch(texts: [String(repeating: "a b ", count: 20)], tokenizer: short).columns == 41)
    }

    @Test func refusedConversations() {
        expectError(.invalidArgument, "the batch holds no conversation") { try batch([]) }
        expectError(.invalidArgument, "row 1: the conversation holds no message") { try batch([[assistant], []]) }
        expectError(.invalidArgument, "row 0: message 1: the role is empty") {
            try batch([[user, Message(role: "", content: "")]])
        }
        expectError(.noSupervisedTokens, "row 0: no token is supervised (label policy 'assistant')") {
            try batch([[system, user]], .init(labelPolicy: .assistant, addDefaultSystem: false))
        }
    }
}
