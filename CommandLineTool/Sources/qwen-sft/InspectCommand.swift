import ArgumentParser
import QwenSFTCore

struct InspectCommand: ToolCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show conversations as the model sees them, and what it would learn of them.",
        discussion: """
            A report of the file comes first: conversations kept, cut and left out, equal ones, control tokens in texts, with line \
            numbers. Then each conversation: supervised text is colored; without colors it stands between white square brackets (U+27E6, U+27E7).
            """)

    enum Color: String, CaseIterable, ExpressibleByArgument { case auto, always, never }

    @OptionGroup var checkpoint: CheckpointArguments
    @OptionGroup var quantization: QuantizationArguments

    @Argument(help: ArgumentHelp("Conversations, JSON Lines or a JSON array.", valueName: "DATA"), completion: .file())
    var path: String

    @OptionGroup(title: "Data") var data: DataArguments

    @Option(help: ArgumentHelp("Show only the conversation of this line.", valueName: "n"))
    var line: Int?

    @Flag(help: "Show every token's position, id, label and text, one a line.")
    var ids = false

    @Flag(help: "Show what each conversation costs the model: its loss, and with --ids every token's.")
    var losses = false

    @Option(help: ArgumentHelp("Colors: auto, always or never.", valueName: "when"))
    var color: Color = .auto

    func validate() throws { try quantization.check(checkpoint) }

    func execute() throws {
        let tokenizer = try checkpoint.openTokenizer()
        let encoded = try data.read(path, tokenizer, checkpoint)
        let palette = color == .auto ? Palette.automatic : Palette(isOn: color == .always)
        if let line, !(0..<encoded.count).contains(where: { encoded.line(ofRow: $0) == line }) {
            throw Failure(.data, "\(encoded.report.name): there is no conversation in line \(line), or it was left out")
        }
        let trainer = losses ? try Trainer(checkpoint.openModel(quantization.form)) : nil
        Interrupt.catchSignals()
        for row in 0..<encoded.count {
            let number = encoded.line(ofRow: row)
            if line != nil, line != number { continue }
            let batch = try encoded.batch([row])
            let loss = try trainer.map { "loss \(Format.loss(try $0.rowLosses(batch).first))" }
            let heading = ["line \(number)", "\(batch.columns) tokens", loss].compactMap { $0 }.joined(separator: ", ")
            Terminal.put(palette.bold("── " + heading) + "\n")
            let tokenLosses = ids ? try trainer?.tokenLosses(batch) : nil
            Terminal.put(
                ids ? table(batch, tokenLosses, tokenizer, palette) : text(batch, tokenizer, palette))
            if Interrupt.isPending { break }
        }
    }

    /// The conversation's text with its supervised stretches marked. Tokens are decoded stretch by stretch, so that
    /// characters made of several tokens stay whole.
    private func text(_ batch: Batch, _ tokenizer: Tokenizer, _ palette: Palette) -> String {
        let (ids, labels) = (batch.inputIDs, batch.labels)
        var result = ""
        var start = 0
        while start < batch.columns {
            let isSupervised = labels[start] != -100
            var end = start
            while end < batch.columns, (labels[end] != -100) == isSupervised { end += 1 }
            let text = tokenizer.decode(ids[start..<end].map { Int32(truncatingIfNeeded: $0) })
            result += isSupervised ? mark(text, palette) : text
            start = end
        }
        return result.hasSuffix("\n") ? result : result + "\n"
    }

    /// A line feed is supervised or not, but has no color: it is shown as an arrow before it.
    private func mark(_ text: String, _ palette: Palette) -> String {
        guard palette.isOn else {
            return "⟦" + text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "⏎\n") + "⟧"
        }
        return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
            .map { index, part in
                (index == 0 ? "" : palette.inverse("⏎") + "\n") + (part.isEmpty ? "" : palette.inverse(String(part)))
            }
            .joined()
    }

    private func table(_ batch: Batch, _ losses: [Float]?, _ tokenizer: Tokenizer, _ palette: Palette) -> String {
        let (ids, labels, weights) = (batch.inputIDs, batch.labels, batch.tokenWeights)
        var result = ""
        for position in 0..<batch.columns {
            let id = Int32(truncatingIfNeeded: ids[position])
            let weight = weights?[position] ?? 1
            let isSupervised = labels[position] != -100
            let line =
                "\(position)\t\(id)\t\(labels[position])\t\(tokenizer.shown(id))"
                + (isSupervised && weight != 1 ? "\tweight \(weight)" : "")
                + (isSupervised ? losses.map { "\tloss \(Format.loss(Double($0[position])))" } ?? "" : "")
            result += (isSupervised ? palette.green(line) : line) + "\n"
        }
        return result
    }
}

extension Tokenizer {
    /// A token's text in quotes. A part of a character has no text of its own; the vocabulary's spelling shows which bytes it is.
    func shown(_ id: Int32) -> String {
        let piece = decode([id])
        return piece.contains("\u{FFFD}") ? token(of: id) ?? "" : String(reflecting: piece)
    }
}
