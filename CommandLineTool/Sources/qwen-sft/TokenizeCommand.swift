import ArgumentParser
import Foundation
import QwenSFTCore

struct TokenizeCommand: ToolCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize",
        abstract: "Turn text into token ids, and back.",
        discussion: "Without TEXT, standard input is read, as one text (with --decode: as ids).")

    @Argument(help: ArgumentHelp("The checkpoint directory.", valueName: "DIR"), completion: .directory)
    var directory: String

    @Argument(help: ArgumentHelp("The text; with --decode, the ids.", valueName: "TEXT"))
    var text: [String] = []

    @Flag(help: "Show every token's id and text, one a line.")
    var pieces = false

    @Flag(help: "Show only how many tokens there are.")
    var count = false

    @Flag(help: "The text is ids; show their text.")
    var decode = false

    @Flag(help: "Treat <|im_start|> and its like as the text they are, not as tokens.")
    var splitSpecialTokens = false

    func validate() throws {
        try CheckpointArguments.refuseAdapter(directory)
        if [pieces, count, decode].count(where: { $0 }) > 1 {
            throw ValidationError("--pieces, --count and --decode exclude each other")
        }
    }

    func execute() throws {
        let tokenizer = try Tokenizer(directory: directory)
        let input = text.isEmpty ? try standardInput() : text.joined(separator: " ")
        if decode {
            var ids: [Int32] = []
            for word in input.split(whereSeparator: { $0.isWhitespace || $0 == "," || $0 == "[" || $0 == "]" }) {
                guard let id = Int32(word), id >= 0 else { throw Failure(.data, "'\(word)' is no token id") }
                ids.append(id)
            }
            Terminal.put(tokenizer.decode(ids) + "\n")
            return
        }
        let ids = try tokenizer.encode(input, splitSpecialTokens: splitSpecialTokens)
        if count {
            Terminal.put("\(ids.count)\n")
        } else if pieces {
            let lines = ids.map { "\($0)\t\(tokenizer.shown($0))" }
            Terminal.put(lines.map { $0 + "\n" }.joined())
        } else {
            Terminal.put(ids.map(String.init).joined(separator: " ") + "\n")
        }
    }

    private func standardInput() throws -> String {
        let data = FileHandle.standardInput.readDataToEndOfFile()
        guard let text = String(data: data, encoding: .utf8) else {
            throw Failure(.data, "standard input is not UTF-8")
        }
        return text
    }
}
