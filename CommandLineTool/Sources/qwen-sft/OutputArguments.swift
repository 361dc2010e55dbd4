import ArgumentParser
import Foundation
import QwenSFTCore

/// What may be replaced.
struct OverwriteArguments: ParsableArguments {
    @Flag(help: "Replace the checkpoint that is at OUTPUT already.")
    var overwrite = false

    @Flag(help: "Replace the model that is trained: OUTPUT may be DIR.")
    var overwriteBase = false

    /// Refuses to replace a checkpoint that nobody has asked to replace.
    func check(_ output: String, base: String) throws {
        if isSame(output, base) {
            guard overwriteBase else {
                throw Failure(
                    .cannotCreate, "\(output) is the model that is to be trained",
                    advice: "choose another place; --overwrite-base replaces the model")
            }
        } else if !overwrite, let name = checkpointFile(in: output) {
            throw Failure(
                .cannotCreate, "\(output) holds a checkpoint already (\(name))",
                advice: "choose another place; --overwrite replaces it")
        }
    }

    private func isSame(_ a: String, _ b: String) -> Bool {
        var (first, second) = (stat(), stat())
        return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev
            && first.st_ino == second.st_ino
    }

    /// The file that makes a directory a checkpoint.
    private func checkpointFile(in directory: String) -> String? {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.sorted().first { name in
            name == "config.json" || name.hasSuffix(".safetensors")
                || name.hasPrefix("pytorch_model") && name.hasSuffix(".bin")
        }
    }
}
