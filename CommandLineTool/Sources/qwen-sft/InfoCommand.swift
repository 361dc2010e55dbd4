import ArgumentParser
import QwenSFTCore

struct InfoCommand: ToolCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract:
            "Describe a checkpoint: architecture, tokenizer, template, the processor, and the memory that training takes.",
        discussion: "Reads the configuration and the tokenizer, not the weights.")

    @Argument(help: ArgumentHelp("The checkpoint directory.", valueName: "DIR"), completion: .directory)
    var directory: String

    @Option(help: ArgumentHelp("Tokens of a batch, for the memory that training takes.", valueName: "n"))
    var tokens = 1024

    func validate() throws {
        guard (1...1 << 31).contains(tokens) else {
            throw ValidationError("--tokens must be above 0 and below 2^31, not \(tokens)")
        }
    }

    func execute() throws {
        let c = try Configuration(directory: directory)
        let tokenizer = try Tokenizer(directory: directory)
        let palette = Palette.automatic
        func heading(_ text: String) { Terminal.put(palette.bold(text) + "\n") }
        func row(_ name: String, _ value: String) {
            Terminal.put("  " + name + String(repeating: " ", count: max(1, 22 - name.count)) + value + "\n")
        }
        heading("Model")
        row("type", c.modelType)
        row("parameters", Format.count(c.parameterCount))
        row("layers", "\(c.layers)")
        row("hidden size", "\(c.hiddenSize), intermediate \(c.intermediateSize)")
        row("heads", "\(c.heads), of keys and values \(c.kvHeads), dimension \(c.headDimension)")
        row(
            "embedding",
            "\(Format.count(c.vocabularySize)) rows, head " + (c.tiesWordEmbeddings ? "tied" : "of its own"))
        row("context", "\(Format.count(c.maxPositions)) tokens")
        let yarn = c.yarn.map { ", YaRN \($0.factor) × \(Format.count($0.originalContext)) tokens" } ?? ""
        row("RoPE theta", "\(c.ropeTheta)\(yarn)")
        row("weights", c.dtype.rawValue)
        heading("Tokenizer")
        for line in tokenizer.summary.split(separator: "\n") { Terminal.put("  " + line + "\n") }
        heading("Chat template")
        do {
            let template = try tokenizer.chatTemplate()
            row("from", template.name + (tokenizer.chatTemplateNames.isEmpty ? " (the files hold none)" : ""))
            if tokenizer.chatTemplateNames.count > 1 {
                row("names", tokenizer.chatTemplateNames.sorted().joined(separator: ", "))
            }
            row("default system", template.defaultSystemPrompt.map { "\"\($0)\"" } ?? "none")
        } catch {
            guard error.code == .unsupported else { throw error }
            row("none", error.message)
        }
        heading("Processor")
        let has = InstructionSet.capabilities
        row("has", has.isEmpty ? "nothing that kernels are made for" : has.joined(separator: " "))
        row("kernels", InstructionSet.current.rawValue)
        heading("Memory to train, \(Format.count(tokens)) tokens a batch")
        try memory(c, row)
    }

    private func memory(_ c: Configuration, _ row: (String, String) -> Void) throws {
        var clipped = TrainerOptions()
        clipped.maxGradientNorm = 1
        var recomputing = clipped
        recomputing.recomputation = true
        let cases: [(String, DType, Optimizer, TrainerOptions)] = [
            ("SGD, float32", .float32, .sgd(SGD()), TrainerOptions()),
            ("SGD, bfloat16", .bfloat16, .sgd(SGD()), TrainerOptions()),
            ("AdamW, float32", .float32, .adamW(AdamW()), clipped),
            ("AdamW, bfloat16", .bfloat16, .adamW(AdamW()), clipped),
            ("  in 8 bits", .bfloat16, .adamW(AdamW(stateBits: 8)), clipped),
            ("  --recomputation", .bfloat16, .adamW(AdamW()), recomputing),
        ]
        for (name, dtype, optimizer, options) in cases {
            let m = TrainingMemory(c, dtype: dtype, optimizer: optimizer, options: options, tokens: tokens)
            var parts = ["weights \(Format.bytes(m.weights))"]
            if m.gradients > 0 { parts.append("gradients \(Format.bytes(m.gradients))") }
            if m.optimizer > 0 { parts.append("optimizer \(Format.bytes(m.optimizer))") }
            parts.append("activations \(Format.bytes(m.activations))")
            row(name, "\(Format.bytes(m.total))  (\(parts.joined(separator: ", ")))")
        }
        let adapters: [(String, Quantization?)] = [
            ("LoRA r 8, bfloat16", nil), ("LoRA r 8, int8", .int8), ("LoRA r 8, int4", .int4),
        ]
        for (name, quantization) in adapters {
            let m = try TrainingMemory(
                c, adapter: LoRAConfiguration(), dtype: .bfloat16, quantization: quantization, options: recomputing,
                tokens: tokens)
            let trained = "gradients and optimizer \(Format.bytes(m.gradients + m.optimizer))"
            row(
                name,
                "\(Format.bytes(m.total))  (weights \(Format.bytes(m.weights)), \(trained), activations \(Format.bytes(m.activations)), --recomputation)"
            )
        }
    }
}
