/// README.md of a result: what it was made of, and how it went.
struct ModelCard {
    private let tuning: FineTuning

    init(_ tuning: FineTuning) { self.tuning = tuning }

    static let fileName = "README.md"
    /// A file that ends with it was written here, and may be replaced.
    private static let mark =
        "<!-- Written by qwensft; a later run replaces this file as long as this line is its last. -->"

    private var run: TrainingRun { tuning.run }
    private var model: Model { run.trainer.model }

    var text: String {
        let base = QwenSFTCore.fileName(model.source.directory)
        let adapter = run.trainer.adapter
        var lines = ["---", "base_model: \(JSONValue.quoted(base))"]
        lines += adapter == nil ? ["library_name: transformers"] : ["library_name: peft"]
        lines += ["pipeline_tag: text-generation", "tags:", "  - qwensft", "  - sft"]
        if adapter != nil { lines.append("  - lora") }
        lines += ["---", "", "# \(escaped(base)), fine-tuned", ""]
        let kind = adapter.map {
            "A LoRA adapter (r \($0.configuration.rank), alpha \(plain($0.configuration.alpha))) for \(code(base)), trained"
        }
        lines.append("\(kind ?? "\(code(base)), fine-tuned") with QwenSFT on \(data).")
        lines += ["", "## Losses", ""] + losses
        lines += ["", "## Settings", ""] + settings
        if let command = tuning.options.command {
            lines += ["", "## Reproduce", "", "    " + command.split(separator: "\n").joined(separator: " ")]
        }
        lines += answers
        if !run.history.warnings.isEmpty {
            lines += ["", "## Warnings", ""]
            lines += run.history.warnings.map { "- after step \($0.step): \(escaped($0.text))" }
        }
        return (lines + ["", Self.mark, ""]).joined(separator: "\n")
    }

    private var data: String {
        let report = run.data.report
        let name = run.data.fileName.map { code($0) + ": " } ?? ""
        return "\(name)\(report.kept) conversations, \(report.tokens) tokens, \(report.targets) of them learned"
    }

    private var losses: [String] {
        let history = run.history
        var rows = ["| | step | loss |", "|---|---|---|"]
        func row(_ name: String, _ step: Int, _ loss: Double?) {
            guard let loss, loss.isFinite else { return }
            rows.append("| \(name) | \(step) | \(decimal(loss, digits: 4)) |")
        }
        row("training, first step", 1, history.steps.first?.metrics?.loss)
        row("training, last step", history.steps.last?.step ?? 0, history.steps.last?.metrics?.loss)
        if let start = history.start { row("validation, before", 0, start.loss) }
        if let best = history.best { row("validation, best", best.step, best.loss) }
        if let last = history.validations.last { row("validation, last", last.step, last.loss) }
        let general = history.evaluations.filter { $0.kind == .general }
        if let first = general.first, let last = general.last, first.step != last.step {
            row("general questions, before", first.step, first.loss)
            row("general questions, after", last.step, last.loss)
        }
        if let end = tuning.end {
            rows += ["", "The weights are those after step \(end.weightsStep) of \(run.totalSteps)."]
        }
        return rows
    }

    private var settings: [String] {
        run.settings.members.map { "- \($0.key): \(escaped($0.value.string ?? ""))" }
    }

    private var answers: [String] {
        let all = run.history.answers
        guard let first = all.first?.step, let last = all.last?.step else { return [] }
        var lines = ["", "## Answers", ""]
        for before in all where before.step == first {
            lines += ["**\(escaped(before.prompt))**", "", "before: \(escaped(before.text))", ""]
            if first != last, let after = all.last(where: { $0.prompt == before.prompt && $0.step == last }) {
                lines += ["after: \(escaped(after.text))", ""]
            }
        }
        return lines
    }

    private func plain(_ value: Double) -> String { decimal(value, digits: value == value.rounded() ? 0 : 2) }

    private func code(_ name: String) -> String { "`\(name.replacing("`", with: "'"))`" }

    /// Text from elsewhere as one line that Markdown takes for text.
    private func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            if character.isNewline {
                result += " "
            } else if "\\`*_[]<>#|".contains(character) {
                result += "\\" + String(character)
            } else {
                result.append(character)
            }
        }
        return result
    }

    /// Writes it to where the result is. A file that somebody else has put there stays; one that came with the base is about
    /// something else and is replaced.
    /// - Returns: what is to be said where it was not written.
    func write(to directory: String) throws(QwenSFTError) -> String? {
        let path = joinPath(directory, Self.fileName)
        if fileStatus(path, followsLinks: false) != nil, !isReplaceable(path) {
            return "\(path): is somebody else's and stays; the model card was not written"
        }
        let bytes = Array(text.utf8)
        return try replaceFile(path) { (file: inout WritableFile) throws(QwenSFTError) in try file.write(bytes) }
    }

    private func isReplaceable(_ path: String) -> Bool {
        guard let old = try? FileContents(path) else { return false }
        let isOurs = try? old.withBytes { (bytes) throws(QwenSFTError) in
            let end = Array((Self.mark + "\n").utf8)
            return bytes.count >= end.count && bytes.suffix(end.count).elementsEqual(end)
        }
        if isOurs == true { return true }
        guard let companion = model.source.companions.files.first(where: { $0.name == Self.fileName }) else {
            return false
        }
        let isBases = try? companion.contents.withBytes { (theirs) throws(QwenSFTError) in
            try old.withBytes { (bytes) throws(QwenSFTError) in bytes.elementsEqual(theirs) }
        }
        return isBases == true
    }
}

extension JSONValue {
    /// A text as JSON, and YAML, quotes it.
    fileprivate static func quoted(_ text: String) -> String {
        String(decoding: JSONValue.string(text).serialized(), as: UTF8.self)
    }
}
