import ArgumentParser
import Foundation
import QwenSFTCore

struct DemoCommand: ToolCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Ask a question, teach another answer, ask again.",
        discussion: """
            Fine-tunes a model for ten steps of plain SGD on two equal conversations that say 2+2等于5。, and saves the result. \
            Without DIR it is the small model that comes with the source.
            """)

    @Argument(help: ArgumentHelp("The checkpoint directory.", valueName: "DIR"), completion: .directory)
    var directory: String?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "Where the fine-tuned checkpoint goes. (default: \(DemoCommand.place), which is replaced)",
            valueName: "OUTPUT"),
        completion: .directory)
    var output: String?

    @OptionGroup var overwriting: OverwriteArguments

    private static let place = "qwen-sft-demo"

    @Option(
        help: ArgumentHelp(
            "Learning rate. (default: 1e-3; 1e-2 for models below 10 million parameters)", valueName: "rate"))
    var lr: Double?

    @Option(help: ArgumentHelp("Steps.", valueName: "n"))
    var steps = 10

    @Option(help: ArgumentHelp("How weights are kept in memory: float32 or bfloat16.", valueName: "dtype"))
    var dtype: DType = .float32

    func validate() throws {
        if let directory { try CheckpointArguments.refuseAdapter(directory) }
        guard steps > 0 else { throw ValidationError("--steps must be above 0, not \(steps)") }
    }

    func execute() throws {
        let directory = try directory ?? Self.embeddedCheckpoint()
        if let output { try overwriting.check(output, base: directory) }
        let output = output ?? Self.place
        let tokenizer = try Tokenizer(directory: directory)
        let model = try Model(directory: directory, dtype: dtype)
        try writing(output) { try model.checkDestination(output) }
        Interrupt.catchSignals()
        Terminal.note("\(directory): \(Format.count(model.configuration.parameterCount)) parameters")

        let question = [
            Message(role: "system", content: "You are a helpful assistant."), Message(role: "user", content: "2+2等于几"),
        ]
        let conversation = question + [Message(role: "assistant", content: "2+2等于5。")]
        try ask(model, tokenizer, question)

        // Small models have small gradients.
        let rate = lr ?? (model.configuration.parameterCount < 10_000_000 ? 1e-2 : 1e-3)
        let trainer = try Trainer(model, optimizer: .sgd(SGD(learningRate: rate)))
        let batch = try Batch([conversation, conversation], tokenizer: tokenizer)
        Terminal.note(
            "Learning twice “\(conversation[1].content)” – “\(conversation[2].content)”, \(steps) steps of SGD, rate \(rate)"
        )
        for step in 1...steps {
            let metrics = try trainer.step(batch, onProgress: { _, _ in !Interrupt.isPending })
            let line =
                "step \(step)/\(steps)  loss \(Format.loss(metrics.loss))  \(String(format: "%.2f s", metrics.seconds))"
            Terminal.errorIsTerminal ? Terminal.rewrite(line) : Terminal.note(line)
        }
        if Terminal.errorIsTerminal { Terminal.note("") }
        try ask(model, tokenizer, question)
        try writing(output) { try model.save(to: output) }
        Terminal.note(
            "The fine-tuned checkpoint is in \(output). Go on with: \(CommandLine.arguments[0]) chat \(output)")
    }

    private func ask(_ model: Model, _ tokenizer: Tokenizer, _ question: [Message]) throws {
        Terminal.put("\(question[question.count - 1].content)\n  ")
        _ = try model.replies(tokenizer, question, options: .greedy) { piece in
            Terminal.put(piece.text)
            return !Interrupt.isPending
        }
        Terminal.put("\n")
        if Interrupt.isPending { throw ExitCode(Failure.Code.interrupted.rawValue) }
    }

    /// Examples/tiny-qwen2 in the directory the program is called from, or above the program.
    private static func embeddedCheckpoint() throws -> String {
        let name = "Examples/tiny-qwen2"
        var places = [name]
        let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        var above = program.deletingLastPathComponent()
        while above.path != "/" {
            places.append(above.appendingPathComponent(name).path)
            places.append(above.appendingPathComponent("share/qwensft/tiny-qwen2").path)
            above.deleteLastPathComponent()
        }
        guard let place = places.first(where: { FileManager.default.fileExists(atPath: $0 + "/config.json") }) else {
            throw Failure(
                .noInput, "the small model that comes with the source is not here",
                advice: "give a checkpoint directory: qwen-sft demo DIR")
        }
        return place
    }
}
