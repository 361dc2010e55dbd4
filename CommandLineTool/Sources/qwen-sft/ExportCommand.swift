import ArgumentParser
import Foundation
import QwenSFTCore

// Both packages are built together here: a conformance of their own would be noticed at once.
// swift-format-ignore: AvoidRetroactiveConformances
extension GGUFType: @retroactive ExpressibleByArgument {}

struct ExportCommand: ToolCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a GGUF file, for llama.cpp and ollama.",
        discussion: """
            The file holds weights, tokenizer, chat template, and the ids that end an answer. With --adapter it holds the adapter \
            alone, which llama.cpp adds to its base (--lora); merge makes a checkpoint of both.
            """)

    @Argument(help: ArgumentHelp("The checkpoint directory, or a GGUF file.", valueName: "DIR"), completion: .directory)
    var directory: String

    @Argument(
        help: ArgumentHelp("Where the file goes.", valueName: "OUT.gguf"), completion: .file(extensions: ["gguf"]))
    var output: String

    @Option(
        help: ArgumentHelp(
            "How matrices are written: f32, bf16, f16 or q8_0. (default: as DIR has them)", valueName: "type")
    )
    var type: GGUFType?

    @Option(
        help: ArgumentHelp(
            "Write this adapter of DIR instead, from its directory in PEFT's format.", valueName: "adapter"))
    var adapter: String?

    @Flag(help: "Write a Modelfile beside it: ollama create NAME -f Modelfile.")
    var modelfile = false

    @Flag(help: "Replace files that are there already.")
    var overwrite = false

    func validate() throws {
        try CheckpointArguments.refuseAdapter(directory)
        guard adapter != nil, type != nil || modelfile else { return }
        throw ValidationError("--adapter takes neither --type, as adapters are float32, nor --modelfile")
    }

    func execute() throws {
        let modelfilePath = URL(fileURLWithPath: output).deletingLastPathComponent().appendingPathComponent("Modelfile")
            .path
        for path in modelfile ? [output, modelfilePath] : [output]
        where !overwrite && FileManager.default.fileExists(atPath: path) {
            throw Failure(
                .cannotCreate, "\(path) is there already", advice: "choose another place; --overwrite replaces it")
        }
        // An adapter needs the base's sizes only.
        let model = try Model(directory: directory, dtype: adapter == nil ? .float32 : .bfloat16)
        if let adapter {
            try model.loadAdapter(adapter)
            try writing(output) { try model.saveAdapterGGUF(to: output) }
        } else {
            try writing(output) {
                try model.saveGGUF(to: output, type: type)
                if modelfile { try model.saveModelfile(beside: output) }
            }
        }
        Terminal.put("\(output)\n")
    }
}
