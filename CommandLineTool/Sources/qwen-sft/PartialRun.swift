import Foundation
import QwenSFTCore

/// What a run that was stopped leaves beside its output, in OUTPUT.partial: one directory a saved step, with the model and
/// the state of the run. The state is written last, so a directory that has one is whole.
struct PartialRun {
    let directory: String

    init(output: String) {
        var output = output[...]
        while output.count > 1, output.hasSuffix("/") { output.removeLast() }
        directory = output + ".partial"
    }

    struct Saved {
        let step: Int
        let path: String
        var checkpoint: String { path + "/checkpoint" }
        var state: String { path + "/state.safetensors" }
    }

    /// The furthest step that was saved.
    func latest() throws -> Saved? { all().last { FileManager.default.fileExists(atPath: $0.state) } }

    func save(_ run: TrainingRun) throws {
        let new = Saved(step: run.stepCount, path: "\(directory)/step-\(run.stepCount)")
        let older = all()
        try? FileManager.default.removeItem(atPath: new.state)
        // float32 holds every weight exactly, those kept as bfloat16 too.
        try run.trainer.model.save(to: new.checkpoint, dtype: .float32)
        try run.saveState(to: new.state)
        for old in older where old.step != new.step { try? FileManager.default.removeItem(atPath: old.path) }
    }

    /// Removes what was saved, and the directory if nothing else is in it.
    func remove() {
        for saved in all() { try? FileManager.default.removeItem(atPath: saved.path) }
        rmdir(directory)
    }

    private func all() -> [Saved] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.compactMap { name in
            guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)) else { return nil }
            return Saved(step: step, path: "\(directory)/\(name)")
        }.sorted { $0.step < $1.step }
    }
}
