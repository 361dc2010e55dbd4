import Foundation
import QwenSFTCore

/// Saves a run that cannot go on, wherever there is room for it.
struct Rescue {
    let run: TrainingRun
    let output: String
    let partial: PartialRun

    /// Saves the run, or at the least its weights, and says where. The partial run comes first, then places that are often on
    /// another file system.
    /// - Returns: whether `--resume` goes on with it as it is.
    @discardableResult
    func save() -> Bool {
        var firstError: Error?
        for place in [partial] + others() {
            do {
                try place.save(run)
                let after = "Saved after step \(run.stepCount) of \(run.totalSteps) in \(place.directory)"
                guard place.directory == partial.directory else {
                    Terminal.note("\(after). When it is \(partial.directory), the same command with --resume goes on.")
                    return false
                }
                Terminal.note("\(after). The same command with --resume goes on.")
                return true
            } catch { firstError = firstError ?? error }
        }
        for place in [partial] + others() {
            if let checkpoint = try? place.saveWeights(run) {
                Terminal.note(
                    "Saved the weights after step \(run.stepCount) of \(run.totalSteps) in \(checkpoint); there was no room for the optimizer's memory, so that --resume cannot go on with them."
                )
                return false
            }
        }
        Terminal.note("error: nothing could be saved: \(firstError.map { "\($0)" } ?? "there is no place")")
        return false
    }

    private func others() -> [PartialRun] {
        let environment = ProcessInfo.processInfo.environment
        let places = [".", environment["HOME"], environment["TMPDIR"], "/var/tmp", "/tmp", "/dev/shm"].compactMap { $0 }
        var seen: Set<String> = []
        return places.compactMap { place in
            var isDirectory: ObjCBool = false
            let path = URL(fileURLWithPath: place).resolvingSymlinksInPath().path
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue,
                seen.insert(path).inserted
            else { return nil }
            return PartialRun(in: path, output: output)
        }
    }
}
