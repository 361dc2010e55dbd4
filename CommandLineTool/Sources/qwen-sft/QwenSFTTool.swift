import ArgumentParser
import QwenSFTCore

@main
struct QwenSFTTool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "qwen-sft",
        abstract: "Chat with Qwen2-family models and fine-tune them, on the CPU.",
        discussion: """
            DIR is a Hugging Face checkpoint directory: config.json, model.safetensors (or its shards), tokenizer.json (or \
            vocab.json and merges.txt), and what else belongs to it; or a GGUF file. Data are JSON Lines, one conversation a line:

              {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}

            Answers and results go to standard output, everything else to standard error.

            Exit codes: 0 done, 64 wrong use, 65 wrong data, 66 missing input, 69 not supported, 70 the computation failed, \
            71 no memory, 73 output cannot be created, 74 reading or writing failed, 130 after Ctrl-C (143 after SIGTERM and \
            so on).
            """,
        version: "\(QwenSFTLibrary.version)",
        subcommands: [
            ChatCommand.self, TrainCommand.self, InspectCommand.self, TokenizeCommand.self, InfoCommand.self,
            MergeCommand.self, ExportCommand.self, DemoCommand.self,
        ])

    static func main() {
        Terminal.openStandardStreams()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            let (text, code) = (fullMessage(for: error), exitCode(for: error))
            if !text.isEmpty { code.isSuccess ? Terminal.put(text + "\n") : Terminal.note(text) }
            exit(withError: code)
        }
    }
}

/// A command whose errors become one line on standard error, with what to do about it, and an exit code of sysexits.h.
protocol ToolCommand: ParsableCommand {
    func execute() throws
}

extension ToolCommand {
    func run() throws {
        Warnings.setHandler { Terminal.note("warning: \($0)") }
        do { try execute() } catch let error as QwenSFTError {
            throw Failure(error).report()
        } catch let failure as Failure {
            throw failure.report()
        }
    }
}
