import ArgumentParser
import QwenSFTCore

// Both packages are built together here: a conformance of their own would be noticed at once.
// swift-format-ignore: AvoidRetroactiveConformances
extension DataFormat: @retroactive ExpressibleByArgument {}

/// How conversations of a file become rows of tokens.
struct DataArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How DATA says what a conversation is: \(DataFormat.allCases.map(\.rawValue).joined(separator: ", ")). (default: as the keys of its first row say)",
            valueName: "format"))
    var format: DataFormat?

    @Option(
        help: ArgumentHelp(
            "What DATA calls its keys: prompt=question,completion=answer.", valueName: "key=name,…"))
    var map: String?

    @Option(
        help: ArgumentHelp(
            "What is learned: \(LabelPolicy.allCases.map(\.rawValue).joined(separator: ", ")).", valueName: "policy"))
    var labelPolicy: LabelPolicy = .qwen

    @Option(
        help: ArgumentHelp(
            "Cut conversations to this many tokens. (default: the tokenizer's model_max_length)", valueName: "n"))
    var maxLength: Int?

    @Option(help: ArgumentHelp("Use the first n conversations only.", valueName: "n"))
    var limit: Int?

    @Flag(help: "Leave out conversations that have nothing to learn or are too long, instead of stopping at them.")
    var dropUnusable = false

    @Flag(
        help:
            "Stop if anything in the data is left out, cut, said twice, not used or spells a control token, and say what."
    )
    var strict = false

    @Flag(help: "Leave conversations that have no system message without the template's default one, which chat sends.")
    var noDefaultSystem = false

    @Flag(help: "Let <|im_start|> and its like inside messages take effect, instead of being text.")
    var parseSpecialTokens = false

    func validate() throws {
        for (name, value) in [("--max-length", maxLength), ("--limit", limit)] {
            if let value, value < 1 { throw ValidationError("\(name) must be above 0, not \(value)") }
        }
        do { _ = try map.map { try ColumnNames($0) } } catch let error as QwenSFTError {
            throw ValidationError("--map: \(error.message)")
        }
    }

    private func options(_ checkpoint: CheckpointArguments) throws -> PreprocessOptions {
        var options = PreprocessOptions(
            labelPolicy: labelPolicy, maxLength: maxLength, splitSpecialTokens: !parseSpecialTokens,
            addDefaultSystem: !noDefaultSystem)
        do { options.contextLength = try Configuration(directory: checkpoint.directory).maxPositions } catch {
            // A tokenizer alone is enough to look at conversations.
            if error.code != .notFound { throw error }
        }
        return options
    }

    /// Reads the conversations of a file and says what became of them.
    /// - Parameter path: "-" is standard input.
    func read(_ path: String, _ tokenizer: Tokenizer, _ checkpoint: CheckpointArguments) throws -> EncodedDataset {
        var how = Dataset.Options()
        how.format = format
        how.limit = limit
        if let map { how.names = try ColumnNames(map) }
        let dataset: Dataset
        do { dataset = try Dataset(path: path == "-" ? "/dev/stdin" : path, options: how) } catch {
            guard error.code == .notFound else { throw error }
            throw Failure(
                .noInput, error.message, advice: "the data are a file of conversations, JSON Lines or a JSON array")
        }
        let data = try EncodedDataset(
            dataset, tokenizer: tokenizer, options: options(checkpoint), unusable: dropUnusable ? .drop : .refuse,
            isStrict: strict, sendsWarnings: false)
        for line in data.report.description { Terminal.note(line) }
        return data
    }
}
