import ArgumentParser
import QwenSFTCore

struct MergeCommand: ToolCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge",
        abstract: "Add an adapter to the weights of its base.",
        discussion: "The result is a checkpoint that needs no adapter. Sums are formed in float32 and rounded once.")

    @Argument(help: ArgumentHelp("The base's checkpoint directory.", valueName: "DIR"), completion: .directory)
    var directory: String

    @Argument(
        help: ArgumentHelp("The adapter's directory, in PEFT's format.", valueName: "ADAPTER"), completion: .directory)
    var adapter: String

    @Option(
        name: .shortAndLong, help: ArgumentHelp("Where the merged checkpoint goes.", valueName: "OUTPUT"),
        completion: .directory)
    var output: String

    @OptionGroup var overwriting: OverwriteArguments

    @Option(
        help: ArgumentHelp(
            "How weights are written: float32, bfloat16 or float16. (default: as DIR has them)", valueName: "dtype"))
    var saveDtype: DType?

    func validate() throws { try CheckpointArguments.refuseAdapter(directory) }

    func execute() throws {
        try overwriting.check(output, base: directory)
        let model = try Model(directory: directory)
        try model.loadAdapter(adapter)
        try writing(output) { try model.checkDestination(output, dtype: saveDtype) }
        try model.mergeAdapter()
        try writing(output) { try model.save(to: output, dtype: saveDtype) }
        Terminal.put("\(output)\n")
    }
}
