import Foundation
import QwenSFTCore

/// What a run that was stopped leaves beside its output, in OUTPUT.partial: one directory a saved step, with the model (or
/// the adapter) and the state of the run. The state is written last, so a directory that has one is whole.
struct PartialRun {
    let directory: String

    /// - Parameter output: where the finished checkpoint goes. What is mounted there holds its partial run itself: beside it
    ///   would be outside of the volume.
    init(output: String) {
        let place = URL(fileURLWithPath: output).resolvingSymlinksInPath().path
        directory =
            Self.isMounted(place) || place == FileManager.default.currentDirectoryPath
            ? joined(output, "partial") : withoutSlashes(output) + ".partial"
    }

    /// In another place, where there is no room for it beside the output.
    init(in place: String, output: String) {
        let name = URL(fileURLWithPath: output).standardized.lastPathComponent
        var directory = joined(place, "\(name).partial")
        var number = 2
        while FileManager.default.fileExists(atPath: directory) {
            directory = joined(place, "\(name)-\(number).partial")
            number += 1
        }
        self.directory = directory
    }

    struct Saved {
        let step: Int
        let path: String
        var checkpoint: String { path + "/checkpoint" }
        var state: String { path + "/state.safetensors" }

        /// When its state was written; nil where there is none.
        fileprivate var date: Date? {
            try? FileManager.default.attributesOfItem(atPath: state)[.modificationDate] as? Date
        }
    }

    /// What was saved last.
    func latest() -> Saved? {
        all().compactMap { saved in saved.date.map { (saved, $0) } }.max { ($0.1, $0.0.step) < ($1.1, $1.0.step) }?.0
    }

    /// Saves where the run stands. What was saved before is removed when the new is complete.
    func save(_ run: TrainingRun) throws {
        let older = all()
        let new = free(step: run.stepCount)
        do {
            // float32 holds every weight exactly, those kept as bfloat16 too.
            try run.trainer.save(to: new.checkpoint, dtype: .float32)
            try run.saveState(to: new.state)
        } catch {
            remove(new)
            throw error
        }
        for old in older { try? FileManager.default.removeItem(atPath: old.path) }
    }

    /// Saves the weights alone, where there is no room for more.
    /// - Returns: the checkpoint.
    func saveWeights(_ run: TrainingRun) throws -> String {
        let new = free(step: run.stepCount)
        do { try run.trainer.save(to: new.checkpoint, dtype: run.trainer.model.dtype) } catch {
            remove(new)
            throw error
        }
        return new.checkpoint
    }

    /// Removes what was saved, and the directory if nothing else is in it.
    func remove() {
        for saved in all() { try? FileManager.default.removeItem(atPath: saved.path) }
        rmdir(directory)
    }

    private func remove(_ saved: Saved) {
        try? FileManager.default.removeItem(atPath: saved.path)
        rmdir(directory)
    }

    /// A directory that is not there yet: an earlier run may have saved the same step.
    private func free(step: Int) -> Saved {
        var path = "\(directory)/step-\(step)"
        var number = 2
        while FileManager.default.fileExists(atPath: path) {
            path = "\(directory)/step-\(step)-\(number)"
            number += 1
        }
        return Saved(step: step, path: path)
    }

    private func all() -> [Saved] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.compactMap { name in
            guard name.hasPrefix("step-"), let step = name.dropFirst(5).split(separator: "-").first.flatMap({ Int($0) })
            else { return nil }
            return Saved(step: step, path: "\(directory)/\(name)")
        }
    }

    /// Whether something is mounted at this path.
    private static func isMounted(_ path: String) -> Bool {
        guard let mounts = try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8) else { return false }
        // The fifth word, in which a space is \040.
        let written = path.replacingOccurrences(of: "\\", with: "\\134").replacingOccurrences(of: " ", with: "\\040")
        return mounts.split(separator: "\n").contains { line in
            let words = line.split(separator: " ")
            return words.count > 4 && words[4] == written
        }
    }
}

private func joined(_ directory: String, _ name: String) -> String {
    directory.hasSuffix("/") ? directory + name : directory + "/" + name
}

private func withoutSlashes(_ path: String) -> String {
    var path = path[...]
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    return String(path)
}
