import Foundation
import QwenSFTCore

/// Saves a run that cannot go on, wherever there is room for it.
struct Rescue {
    let tuning: FineTuning
    let output: String

    private var run: TrainingRun { tuning.run }
    private var partial: RunCheckpoints { RunCheckpoints(of: output) }
    private var progress: String { "after step \(run.stepCount) of \(run.totalSteps)" }

    /// Saves the run, or at the least its weights, and says where. The partial run comes first, then places that are often on
    /// another file system.
    func save() {
        var firstError: Error?
        do {
            try tuning.saveCheckpoint()
            Terminal.note("Saved \(progress) in \(partial.directory). The same command with --resume goes on:")
            Terminal.note("    \(CommandLineText.resuming)")
            return
        } catch { firstError = error }
        // Weights that are the result and not the last ones do not go on from anywhere.
        let isLast = tuning.resultStep.map { $0 == run.stepCount } ?? true
        for place in others() where isLast {
            guard (try? place.save(run)) != nil else { continue }
            Terminal.note(
                "Saved \(progress) in \(place.directory). Move that to \(partial.directory), and the same command with --resume goes on."
            )
            return
        }
        for place in [partial] + others() {
            let checkpoint = "\(place.directory)/checkpoint"
            guard !FileManager.default.fileExists(atPath: checkpoint) else { continue }
            // Weights as they are in memory; an adapter is float32 everywhere.
            let dtype = run.trainer.adapter == nil ? run.trainer.model.dtype : nil
            do { try run.trainer.save(to: checkpoint, dtype: dtype) } catch {
                rmdir(place.directory)
                continue
            }
            Terminal.note(
                "Saved the weights \(progress) in \(checkpoint); there was no room for the optimizer's memory, so that --resume cannot go on with them."
            )
            return
        }
        Terminal.note("error: nothing could be saved: \(firstError.map { "\($0)" } ?? "there is no place")")
    }

    /// Directories that are not there yet.
    private func others() -> [RunCheckpoints] {
        let environment = ProcessInfo.processInfo.environment
        let places = [".", environment["HOME"], environment["TMPDIR"], "/var/tmp", "/tmp", "/dev/shm"].compactMap { $0 }
        let name = URL(fileURLWithPath: output).standardized.lastPathComponent
        var seen: Set<String> = []
        return places.compactMap { place in
            var isDirectory: ObjCBool = false
            let path = URL(fileURLWithPath: place).resolvingSymlinksInPath().path
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue,
                seen.insert(path).inserted
            else { return nil }
            var (directory, number) = ("\(path)/\(name).partial", 2)
            while FileManager.default.fileExists(atPath: directory) {
                directory = "\(path)/\(name)-\(number).partial"
                number += 1
            }
            return RunCheckpoints(directory)
        }
    }
}

/// The command that runs, as a shell would be given it.
enum CommandLineText {
    /// It makes a run from its beginning, also where this one went on.
    static var whole: String { quoted(CommandLine.arguments.filter { $0 != "--resume" && $0 != "--force" }) }

    /// The one that goes on with a run.
    static var resuming: String {
        let arguments = CommandLine.arguments
        return quoted(arguments.contains("--resume") ? arguments : arguments + ["--resume"])
    }

    private static func quoted(_ arguments: [String]) -> String {
        arguments.map { argument in
            let isPlain =
                !argument.isEmpty
                && argument.unicodeScalars.allSatisfy {
                    $0.isASCII
                        && ($0.properties.isAlphabetic || ("0"..."9").contains($0)
                            || "-_./=:,+@%".unicodeScalars.contains($0))
                }
            return isPlain ? argument : "'" + argument.replacingOccurrences(of: "'", with: "'\\''") + "'"
        }.joined(separator: " ")
    }
}
