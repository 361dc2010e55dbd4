import Foundation
import QwenSFTCore
import Testing

@Suite(.processWide) struct DatasetReportTests {
    private let tokenizer: Tokenizer
    init() throws { tokenizer = try qwen2Tokenizer() }

    private static func line(_ question: String, _ answer: String) -> String {
        #"{"prompt": "\#(question)", "completion": "\#(answer)"}"#
    }

    /// Something of everything: lines 1 and 3 are equal, 2 is long, 4 spells a control token, 5 is not learned, 6 has a key more.
    private static let lines = [
        line("2+2", "4"), line("3+3", "6 6 6 6 6 6 6 6 6 6"), line("2+2", "4"), line("<|im_end|>", "a"),
        #"{"prompt": "5", "completion": "6", "weight": 0}"#,
        #"{"prompt": [{"role": "user", "content": "7", "wieght": 0}], "completion": "8", "id": 5}"#,
    ]

    private func encode(
        _ lines: [String] = lines, maxLength: Int? = nil, context: Int? = nil, isStrict: Bool = false,
        unusable: EncodedDataset.Unusable = .drop
    ) throws -> EncodedDataset {
        let options = PreprocessOptions(
            labelPolicy: .assistant, maxLength: maxLength, contextLength: context, addDefaultSystem: false)
        return try EncodedDataset(
            Dataset(bytes: Array(lines.joined(separator: "\n").utf8), name: "data.jsonl"), tokenizer: tokenizer,
            options: options, unusable: unusable, isStrict: isStrict, sendsWarnings: false)
    }

    @Test func everything() throws {
        let data = try encode(maxLength: 25)
        let report = data.report
        #expect(report.read == 6 && report.kept == 5 && report.format == "prompt_completion")
        #expect(report.truncated == [2] && report.withoutTarget == [5] && report.duplicates == [3])
        #expect(report.controlTokens == [4] && report.tooLong.isEmpty)
        #expect(report.roles.map { "\($0.role) \($0.messages)" } == ["user 6", "assistant 6"])
        #expect(data.lines == [1, 2, 3, 4, 6])
        let lengths = data.lines.indices.map(data.length(ofRow:))
        #expect(report.tokens == lengths.reduce(0, +) && report.lengths.longest == 25)
        #expect(report.lengths.shortest == lengths.min() && report.lengths.median == lengths.sorted()[2])
        #expect(
            report.findings.map(\.text) == [
                "data.jsonl: 1 of 5 conversations were cut to 25 tokens; the rest of them is not learned (line 2)",
                "data.jsonl: 1 left out, nothing supervised (line 5)",
                "data.jsonl: 1 equal to an earlier one (line 3)",
                "data.jsonl: 1 with control tokens in a text, where they are text (line 4)",
                "data.jsonl: the key 'id' is not used (1 times, first in line 6)",
                "data.jsonl: the key 'prompt[].wieght' is not used (1 times, first in line 6)",
            ])
        let share = Int((1000 * Double(report.targets) / Double(report.tokens)).rounded())
        #expect(
            Array(report.description[..<4]) == [
                "data.jsonl: 5 of 6 conversations (prompt_completion), \(report.tokens) tokens, \(report.targets) of them supervised (assistant, \(share / 10).\(share % 10) %)",
                "  tokens of a row: \(report.lengths.shortest) to 25, median \(report.lengths.median), 95 % at most 25",
                "  messages: user 6, assistant 6",
                "  1 of 5 conversations were cut to 25 tokens; the rest of them is not learned (line 2)",
            ])
        #expect(try encode(context: 25).report.tooLong == [2])
    }

    @Test func strict() throws {
        expectError(
            .invalidFile,
            "data.jsonl: 1 of 5 conversations were cut to 25 tokens; the rest of them is not learned (line 2); "
                + "1 left out, nothing supervised (line 5); 1 equal to an earlier one (line 3); "
                + "1 with control tokens in a text, where they are text (line 4); … (strict: nothing may be left out, cut or left aside)"
        ) { try encode(maxLength: 25, isStrict: true, unusable: .refuse) }
        let clean = [Self.line("2+2", "4"), #"{"prompt": "5", "completion": "6", "id": 7}"#]
        #expect(try encode(clean, isStrict: true).count == 2)
        for i in 2...5 { #expect(throws: QwenSFTError.self) { try encode(clean + [Self.lines[i]], isStrict: true) } }
        expectError(
            .invalidFile,
            "data.jsonl: 1 left out, nothing supervised (line 1) (strict: nothing may be left out, cut or left aside)"
        ) { try encode([Self.lines[4]], isStrict: true) }
    }

    /// Rows are the same wherever they are kept.
    @Test func inAFileWithoutAName() throws {
        let many = (0..<3000).map { Self.line("\($0)?", String(repeating: "\($0) ", count: $0 % 50)) }
        let bytes = Array(many.joined(separator: "\n").utf8)
        func encoded(_ limit: Int) throws -> EncodedDataset {
            try EncodedDataset(
                Dataset(bytes: bytes, name: "x").reader(), tokenizer: tokenizer, options: .init(), unusable: .drop,
                memoryLimit: limit)
        }
        let (memory, file) = (try encoded(64 << 20), try encoded(4096))
        #expect(file.isInFile && !memory.isInFile)
        #expect(file.fingerprint == memory.fingerprint && file.lines == memory.lines)
        for rows in [[0], [2999, 17, 1500]] { #expect(try file.batch(rows) == memory.batch(rows)) }
        #expect(file.report.description == memory.report.description)
        let (a, b) = (try file.split(share: 0.1), try memory.split(share: 0.1))
        #expect(
            a.validation.fingerprint == b.validation.fingerprint && a.training.fingerprint == b.training.fingerprint)
    }

    // MARK: Division

    private func numbers(_ count: Int) -> [String] { (0..<count).map { Self.line("\($0)+1", "\($0 + 1)") } }

    @Test func division() throws {
        let data = try encode(numbers(100))
        let (training, validation) = try data.split(share: 0.05, seed: 3)
        #expect(training.conversationCount == 95 && validation.conversationCount == 5)
        #expect((training.lines + validation.lines).sorted() == data.lines)
        #expect(
            validation.lines == validation.lines.sorted()
                && training.report.tokens + validation.report.tokens == data.report.tokens)
        #expect(try data.split(share: 0.05, seed: 3).validation.lines == validation.lines)
        #expect(try data.split(share: 0.05, seed: 4).validation.lines != validation.lines)
        #expect(try data.split(share: 0.001).validation.count == 1)
        // What goes where depends on the content, not on the order.
        let backwards = try encode(numbers(100).reversed()).split(share: 0.05, seed: 3).validation
        #expect(backwards.lines.map { 101 - $0 }.sorted() == validation.lines)
        #expect(validation.report.description[0].hasPrefix("data.jsonl, validation: 5 of 5 conversations"))
        // The parts can be divided again, and batches are of the part.
        #expect(try training.split(share: 0.5).validation.count == 48)
        let first = try validation.batch(ofConversations: [0])
        #expect(try first.inputIDs == data.batch([validation.lines[0] - 1]).inputIDs)
        for share in [0, 1, -1, .nan] {
            expectError(
                .invalidArgument, "the share for validation is \(share), expected more than 0 and less than 1"
            ) { try data.split(share: share) }
        }
        expectError(.invalidArgument, "data.jsonl: 1 conversations cannot be divided for validation") {
            try encode(numbers(1)).split(share: 0.5)
        }
    }

    @Test func equalOnesStayTogether() throws {
        let data = try encode(numbers(50) + numbers(50) + numbers(20))
        #expect(data.report.duplicates.count == 70)
        let (training, validation) = try data.split(share: 0.2)
        #expect(abs(validation.conversationCount - 24) <= 3)
        func questions(_ data: EncodedDataset) -> Set<Int> { Set(data.lines.map { ($0 - 1) % 50 }) }
        #expect(questions(training).isDisjoint(with: questions(validation)))
        #expect(training.report.duplicates.count + validation.report.duplicates.count == 70)
        expectError(
            .invalidArgument, "data.jsonl: 4 conversations cannot be divided for validation, they are too much alike"
        ) { try encode(Array(repeating: Self.lines[0], count: 4)).split(share: 0.5) }
    }

    @Test func heldOut() throws {
        #expect(try encode(numbers(499)).holdOut().validation == nil)
        #expect(try encode(numbers(500)).holdOut().validation?.count == 25)
        #expect(try encode(numbers(2000)).holdOut().validation?.count == 100)
    }
}
