import ArgumentParser
import QwenSFTCore

/// How conversations of a file become rows of tokens.
struct DataArguments: ParsableArguments {
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

    @Flag(help: "Leave conversations that have no system message without the template's default one, which chat sends.")
    var noDefaultSystem = false

    @Flag(help: "Let <|im_start|> and its like inside messages take effect, instead of being text.")
    var parseSpecialTokens = false

    func validate() throws {
        for (name, value) in [("--max-length", maxLength), ("--limit", limit)] {
            if let value, value < 1 { throw ValidationError("\(name) must be above 0, not \(value)") }
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

    /// - Parameter path: "-" is standard input.
    func read(_ path: String) throws -> Dataset {
        let dataset: Dataset
        do { dataset = try Dataset(jsonLines: path == "-" ? "/dev/stdin" : path) } catch {
            guard error.code == .notFound else { throw error }
            throw Failure(
                .noInput, error.message,
                advice: "the data are a JSON Lines file, one conversation a line under 'messages'")
        }
        return limit.map { dataset.prefix($0) } ?? dataset
    }

    func encode(
        _ dataset: Dataset, _ tokenizer: Tokenizer, _ checkpoint: CheckpointArguments
    ) throws -> EncodedDataset {
        try EncodedDataset(
            dataset, tokenizer: tokenizer, options: options(checkpoint), unusable: dropUnusable ? .drop : .refuse)
    }

    /// What became of the file's conversations, in lines.
    func report(_ dataset: Dataset, _ encoded: EncodedDataset) -> [String] {
        let r = encoded.report
        func lines(_ numbers: [Int]) -> String {
            let shown = numbers.prefix(8).map(String.init).joined(separator: ", ")
            return (numbers.count == 1 ? "line " : "lines ") + shown + (numbers.count > 8 ? ", …" : "")
        }
        var result = [
            "\(dataset.name): \(Format.count(r.kept)) of \(Format.count(dataset.conversations.count)) conversations, "
                + "\(Format.count(r.tokens)) tokens, \(Format.count(r.targets)) of them supervised (\(labelPolicy.rawValue))"
        ]
        if !r.withoutTarget.isEmpty {
            result.append("  left out, nothing supervised: \(r.withoutTarget.count) (\(lines(r.withoutTarget)))")
        }
        if !r.tooLong.isEmpty {
            result.append("  left out, longer than the context: \(r.tooLong.count) (\(lines(r.tooLong)))")
        }
        return result
    }
}
