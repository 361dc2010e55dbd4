import Libc

/// The directory in which a run keeps what it needs to go on: one file for each saved step, with the trained weights, the
/// optimizer's memory, the place in the data, the settings and the history; and one with the best weights. A file is there whole or
/// not at all.
public struct RunCheckpoints: Sendable {
    /// A saved step.
    public struct Saved: Sendable, Equatable {
        public let step: Int
        public let path: String
    }

    public let directory: String

    public init(_ directory: String) { self.directory = directory }

    /// Of the run whose result is to be at `output`: the directory OUTPUT.partial beside it, or `partial` inside of one that is
    /// a mount point or the current directory.
    public init(of output: String) { directory = partialPlace(of: output) }

    private static let ending = ".safetensors"

    private func path(step: Int) -> String { joinPath(directory, "step-\(step)\(Self.ending)") }

    private var bestPath: String { joinPath(directory, "best\(Self.ending)") }

    /// What can be gone on with, the newest last.
    public var saved: [Saved] {
        let names = (try? listDirectory(directory)) ?? []
        return names.compactMap { name in
            guard name.hasPrefix("step-"), name.hasSuffix(Self.ending),
                let step = Int(name.dropFirst(5).dropLast(Self.ending.count)), path(step: step).hasSuffix("/" + name)
            else { return nil }
            return Saved(step: step, path: path(step: step))
        }.sorted { $0.step < $1.step }
    }

    // MARK: Writing

    /// Saves where the run stands. Of what was saved before, the newest `keepLast - 1` stay; the rest goes when the new file is
    /// there.
    @discardableResult
    public func save(_ run: TrainingRun, keepLast: Int = 1) throws(QwenSFTError) -> Saved {
        try makeDirectories(directory)
        let new = Saved(step: run.stepCount, path: path(step: run.stepCount))
        do throws(QwenSFTError) {
            try run.trainer.saveState(to: new.path, adding: run.notes, withWeights: true)
        } catch {
            rmdir(directory)
            throw error
        }
        let older = saved.filter { $0.step < new.step }.suffix(max(0, keepLast - 1))
        for other in saved where other != new && !older.contains(other) { unlink(other.path) }
        return new
    }

    /// Saves the weights as the best ones.
    func saveBest(_ run: TrainingRun) throws(QwenSFTError) {
        try makeDirectories(directory)
        var notes = JSONObject()
        notes["step"] = .string("\(run.stepCount)")
        try run.trainer.saveWeights(to: bestPath, notes: notes)
    }

    // MARK: Reading

    /// Takes the run up at what was saved last. Where that cannot be read, at what was saved before it, with a warning.
    /// - Throws: `notFound` where nothing was saved; as `TrainingRun.loadState`.
    func load(into run: TrainingRun, force: Bool) throws(QwenSFTError) {
        var all = saved[...]
        guard !all.isEmpty else { throw QwenSFTError(.notFound, "\(directory): holds nothing to resume") }
        while let last = all.popLast() {
            do throws(QwenSFTError) {
                return try run.load(last.path, force: force) { (check) throws(QwenSFTError) in
                    try run.trainer.loadState(from: last.path, withWeights: true, check: check)
                }
            } catch {
                guard [.invalidFile, .io].contains(error.code), let earlier = all.last else { throw error }
                Warnings.send("\(error.message); going on with step \(earlier.step)")
            }
        }
    }

    /// Takes over the best weights.
    /// - Throws: `notFound`; `invalidFile` where they are not those of `step`.
    func loadBest(ofStep step: Int, into trainer: Trainer) throws(QwenSFTError) {
        guard try SafetensorsFile(bestPath).metadata.string("step") == "\(step)" else {
            throw QwenSFTError(.invalidFile, "\(bestPath): does not hold the weights of step \(step)")
        }
        try trainer.loadWeights(from: bestPath)
    }

    // MARK: Removing

    /// Removes what was saved, and the directory if nothing else is in it.
    public func remove() {
        for saved in saved {
            unlink(saved.path)
            Temporary.forEachLeftover(in: directory, for: fileName(saved.path)) { unlink($0) }
        }
        unlink(bestPath)
        // What killed processes have left.
        for name in (try? listDirectory(directory)) ?? [] where name.hasPrefix(".") {
            for kind in ["step-", "best"] where name.dropFirst().hasPrefix(kind) {
                guard let end = name.range(of: Self.ending + ".saving-") else { continue }
                let target = String(name.dropFirst()[..<end]) + Self.ending
                Temporary.forEachLeftover(in: directory, for: target) { unlink($0) }
            }
        }
        rmdir(directory)
    }
}

extension String {
    /// Where another text begins in it.
    fileprivate func range(of text: String) -> String.Index? {
        indices.first { self[$0...].hasPrefix(text) }
    }
}
