import ArgumentParser
import Foundation
import QwenSFTCore

// Both packages are built together here: a conformance of their own would be noticed at once.
// swift-format-ignore: AvoidRetroactiveConformances
extension DType: @retroactive ExpressibleByArgument {}
// swift-format-ignore: AvoidRetroactiveConformances
extension InstructionSet: @retroactive ExpressibleByArgument {}
// swift-format-ignore: AvoidRetroactiveConformances
extension LabelPolicy: @retroactive ExpressibleByArgument {}
// swift-format-ignore: AvoidRetroactiveConformances
extension LearningRateSchedule.Shape: @retroactive ExpressibleByArgument {}

/// The checkpoint that a command works on.
struct CheckpointArguments: ParsableArguments {
    enum MemoryDType: String, CaseIterable, ExpressibleByArgument { case float32, bfloat16, auto }

    @Argument(help: ArgumentHelp("The checkpoint directory.", valueName: "DIR"), completion: .directory)
    var directory: String

    @Option(
        help: ArgumentHelp(
            "How weights are kept in memory: float32, bfloat16, or auto: as the files have them. (default: float32; for chat the fastest that loses nothing)",
            valueName: "dtype"))
    var dtype: MemoryDType?

    @Option(
        help: ArgumentHelp(
            "The chat template: the name of one of the checkpoint's, chatml, or a file in Jinja. (default: the checkpoint's own)",
            valueName: "name|file"))
    var chatTemplate: String?

    @Option(
        help: ArgumentHelp("Offer the model the functions in this file, a JSON list.", valueName: "file"),
        completion: .file())
    var tools: String?

    @Option(
        help: ArgumentHelp(
            #"Variables for the chat template, a JSON object: '{"enable_thinking": false}'."#, valueName: "json"))
    var chatTemplateKwargs: String?

    @Option(help: ArgumentHelp("Threads to compute with. (default: one for every processor)", valueName: "n"))
    var threads: Int?

    @Option(
        name: .customLong("max-isa"),
        help: ArgumentHelp(
            """
            Use kernels for no more than plain, avx2, avx512 or avx512_bf16 (aarch64: neon, neon_dotprod, neon_i8mm): to \
            measure, or to compare machines.
            """,
            valueName: "set"))
    var maxISA: InstructionSet?

    func validate() throws { try Self.refuseAdapter(directory) }

    /// Where an adapter is given in place of a model: what to give instead.
    static func refuseAdapter(_ directory: String) throws {
        func isThere(_ name: String) -> Bool { FileManager.default.fileExists(atPath: "\(directory)/\(name)") }
        guard isThere("adapter_config.json"), !isThere("config.json") else { return }
        throw ValidationError(
            "\(directory) is an adapter, not a model: give its base as DIR, and to chat with it also '--adapter \(directory)'; 'qwen-sft merge DIR \(directory) --output NEW' makes a checkpoint of both"
        )
    }

    /// Called before anything is computed.
    func limitProcessor() throws {
        if let threads { try Threads.setCount(threads) }
        if let maxISA { try InstructionSet.limit(to: maxISA) }
    }

    /// Called before anything is computed.
    func openTokenizer() throws -> Tokenizer {
        try limitProcessor()
        var tokenizer = try Tokenizer(directory: directory)
        if chatTemplate != nil || tools != nil {
            let isFile = chatTemplate.map { FileManager.default.fileExists(atPath: $0) } ?? false
            let template = try isFile ? chatTemplate.map { try text($0) } : chatTemplate
            let list = try tools.map { try "{\"tools\": \(text($0))}" }
            tokenizer = try tokenizer.withChatTemplate(template, arguments: list ?? "")
        }
        if let chatTemplateKwargs {
            tokenizer = try tokenizer.withChatTemplate(nil, arguments: chatTemplateKwargs)
        }
        _ = try tokenizer.chatTemplate()
        return tokenizer
    }

    private func text(_ path: String) throws -> String {
        do { return try String(contentsOfFile: path, encoding: .utf8) } catch {
            throw Failure(.noInput, "\(path): \(error.localizedDescription)")
        }
    }

    func openModel(_ quantization: Quantization? = nil) throws -> Model {
        try Model(directory: directory, dtype: memoryDType(), quantization: quantization)
    }

    /// For answers alone: unless a form is asked for, the fastest one that has the weights as they are in the files.
    func openFastest(_ quantization: QuantizationArguments) throws -> Model {
        guard dtype == nil, quantization.quantization == nil else { return try openModel(quantization.form) }
        if Quantization.lossless.isFast, try Model.isBFloat16(directory: directory), let model = try openLossless() {
            return model
        }
        return try Model(directory: directory, dtype: nil)
    }

    /// nil: its weights are too far from the usual for 12 bits.
    private func openLossless() throws -> Model? {
        do { return try Model(directory: directory, quantization: .lossless) } catch {
            guard error.code == .unsupported else { throw error }
            return nil
        }
    }

    func memoryDType() throws -> DType {
        switch dtype {
        case nil, .float32: .float32
        case .bfloat16: .bfloat16
        case .auto: try Model.isBFloat16(directory: directory) ? .bfloat16 : .float32
        }
    }
}

/// For commands that do not train the weights themselves.
struct QuantizationArguments: ParsableArguments {
    enum Choice: String, CaseIterable, ExpressibleByArgument {
        case none, lossless, int8, int6, int4
    }

    @Option(
        help: ArgumentHelp(
            "Keep weights in fewer bits: lossless (bfloat16 in 12 bits), int8, int6, int4, or none. (default: none; for chat lossless where that is faster and the files are bfloat16)",
            valueName: "form"))
    var quantization: Choice?

    /// nil: in none of these.
    var form: Quantization? { quantization.flatMap { Quantization(rawValue: $0.rawValue) } }

    func check(_ checkpoint: CheckpointArguments) throws {
        guard let form, checkpoint.dtype != nil else { return }
        throw ValidationError("--quantization \(form.rawValue) is a form of its own and takes no --dtype")
    }
}

/// How answers are made.
struct GenerationArguments: ParsableArguments {
    @Option(help: ArgumentHelp("Longest answer, in tokens.", valueName: "n"))
    var maxNewTokens = GenerationOptions().maxNewTokens

    @Flag(help: "Always the likeliest token, without a repetition penalty.")
    var greedy = false

    @Option(help: ArgumentHelp("Sample with this temperature.", valueName: "t"))
    var temperature: Float?

    @Option(help: ArgumentHelp("Sample among the k likeliest tokens; 0: all.", valueName: "k"))
    var topK: Int?

    @Option(help: ArgumentHelp("Sample among the likeliest tokens that together have probability p.", valueName: "p"))
    var topP: Float?

    @Option(help: ArgumentHelp("Sample among tokens at least p times as likely as the likeliest.", valueName: "p"))
    var minP: Float?

    @Option(help: ArgumentHelp("Make tokens that occurred less likely; 1: do not.", valueName: "r"))
    var repetitionPenalty: Float?

    @Option(help: ArgumentHelp("Seed of the sampling; the same seed gives the same answers.", valueName: "n"))
    var seed: UInt64?

    @Option(help: ArgumentHelp("End an answer before this text. May be repeated.", valueName: "text"))
    var stopString: [String] = []

    /// What is not given comes from the checkpoint's generation_config.json. A sampling value turns sampling on.
    var options: GenerationOptions {
        var options = greedy ? GenerationOptions.greedy : GenerationOptions()
        options.maxNewTokens = maxNewTokens
        if !greedy, temperature != nil || topK != nil || topP != nil || minP != nil { options.doSample = true }
        options.temperature = temperature
        options.topK = topK
        options.topP = topP
        options.minP = minP
        if let repetitionPenalty { options.repetitionPenalty = repetitionPenalty }
        options.seed = seed
        options.stopStrings = stopString
        return options
    }

    func validate() throws {
        guard maxNewTokens > 0 else {
            throw ValidationError("--max-new-tokens must be above 0, not \(maxNewTokens)")
        }
        if greedy, temperature != nil || topK != nil || topP != nil || minP != nil {
            throw ValidationError("--greedy takes no sampling options")
        }
    }
}
