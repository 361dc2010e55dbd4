import ArgumentParser
import QwenSFTCore

struct InfoCommand: ToolCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract:
            "Describe a checkpoint: architecture, tokenizer, template, the processor, and the memory that training takes.",
        discussion: """
            Reads the configuration and the tokenizer, not the weights. The options of 'train' are for what --data says.
            """)

    @OptionGroup var checkpoint: CheckpointArguments

    @Option(
        help: ArgumentHelp(
            "Describe these conversations too, and what a run over them takes with the options of 'train' given here.",
            valueName: "DATA"),
        completion: .file())
    var data: String?

    @Option(
        help: ArgumentHelp("Without --data: tokens of a batch, for the memory that training takes.", valueName: "n"))
    var tokens = 1024

    @OptionGroup var trained: TrainedArguments
    @OptionGroup(title: "Data") var dataArguments: DataArguments
    @OptionGroup(title: "Run") var runArguments: RunArguments
    @OptionGroup(title: "Judging") var validation: ValidationArguments

    func validate() throws {
        guard (1...1 << 31).contains(tokens) else {
            throw ValidationError("--tokens must be above 0 and below 2^31, not \(tokens)")
        }
        try trained.check(checkpoint)
    }

    func execute() throws {
        try checkpoint.limitProcessor()
        let c = try Configuration(directory: checkpoint.directory)
        let tokenizer = try Tokenizer(directory: checkpoint.directory)
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
        if let data {
            heading("Run")
            let tokenizer = try checkpoint.openTokenizer()
            let (rows, _) = try validation.divide(
                dataArguments.read(data, tokenizer, checkpoint), seed: runArguments.seed
            ) { try dataArguments.read($0, tokenizer, checkpoint) }
            let setup = try trained.setup(checkpoint, seed: runArguments.seed)
            let plan = try TrainingPlan(c, setup, rows, run: runArguments.options)
            for (name, text) in plan.rows { row(name, text) }
            if !plan.fits { row("", "which does not fit") }
        } else {
            heading("Memory to train, \(Format.count(tokens)) tokens a batch")
            try memory(c, row)
        }
    }

    private func memory(_ c: Configuration, _ row: (String, String) -> Void) throws {
        func setup(_ dtype: DType, _ optimizer: QwenSFTCore.Optimizer) -> TrainingSetup {
            var setup = TrainingSetup()
            (setup.dtype, setup.optimizer) = (dtype, optimizer)
            if case .adamW = optimizer { setup.options.maxGradientNorm = 1 }
            return setup
        }
        func recomputing(_ setup: TrainingSetup) -> TrainingSetup {
            var setup = setup
            setup.options.recomputation = true
            return setup
        }
        func lora(_ quantization: Quantization?) -> TrainingSetup {
            var setup = recomputing(setup(.bfloat16, .adamW(AdamW())))
            (setup.adapter, setup.quantization) = (LoRAConfiguration(), quantization)
            return setup
        }
        let adamW = setup(.bfloat16, .adamW(AdamW()))
        for (name, setup) in [
            ("SGD, float32", setup(.float32, .sgd(SGD()))), ("SGD, bfloat16", setup(.bfloat16, .sgd(SGD()))),
            ("AdamW, float32", setup(.float32, .adamW(AdamW()))), ("AdamW, bfloat16", adamW),
            ("  in 8 bits", setup(.bfloat16, .adamW(AdamW(stateBits: 8)))),
            ("  --recomputation", recomputing(adamW)),
            ("LoRA r 8, bfloat16", lora(nil)), ("LoRA r 8, int8", lora(.int8)), ("LoRA r 8, int4", lora(.int4)),
        ] {
            row(
                name,
                try TrainingMemory(c, setup, tokens: tokens).text + (setup.adapter == nil ? "" : ", --recomputation"))
        }
    }
}
