import Libc

/// Puts the files of a new checkpoint into a directory that has to stay, one by one.
///
/// Where one file is all that changes, as when a model is saved again and again, that is one step. Where more change, the
/// configuration is taken away first and comes last: in between, and after a kill in between, the directory is no checkpoint
/// rather than parts of two. What was replaced is kept under a second name until all is done, so that a failure can be undone.
struct FileReplacement {
    private let source: String
    private let target: String
    private var done: [Step] = []

    private enum Step {
        case setAside(String)
        case put(String, replaced: Bool, hasBackup: Bool)
    }

    init(from source: String, to target: String) {
        self.source = source
        self.target = target
    }

    /// - Throws: `io`, with `source` and `target` as before, unless the file system has no second names.
    mutating func run() throws(QwenSFTError) {
        let old = try listDirectory(target)
        let there = Set(old)
        let new = try listDirectory(source).filter { CheckpointFileKind($0) != .document || !there.contains($0) }
        let here = Set(new)
        let changed = new.filter { !there.contains($0) || !isUnchanged($0) }
        let staleParts = old.filter { CheckpointFileKind($0) == .part && !here.contains($0) }
        let marker = CheckpointFileKind.marker
        do throws(QwenSFTError) {
            let takesMarker = changed.count + staleParts.count > 1 && there.contains(marker)
            if takesMarker { try setAside(marker) }
            for name in staleParts { try setAside(name) }
            for name in changed where name != marker { try put(name) }
            if takesMarker || changed.contains(marker) { try put(marker) }
        } catch {
            undo()
            throw error
        }
        // Where there is a model.safetensors, other files of weights are not looked at.
        for name in old where CheckpointFileKind(name) == .weights && !here.contains(name) {
            unlink(joinPath(target, name))
        }
    }

    private func backup(_ name: String) -> String { joinPath(source, ".\(name).before") }

    static func isBackup(_ name: String) -> Bool { name.hasPrefix(".") && name.hasSuffix(".before") }

    private mutating func setAside(_ name: String) throws(QwenSFTError) {
        let place = joinPath(target, name)
        if rename(place, backup(name)) != 0 { throw systemError("move it aside", place) }
        done.append(.setAside(name))
    }

    private mutating func put(_ name: String) throws(QwenSFTError) {
        let place = joinPath(target, name)
        let isThere = fileStatus(place, followsLinks: false) != nil
        let hasBackup = isThere && link(place, backup(name)) == 0
        if rename(joinPath(source, name), place) != 0 { throw systemError("put it in its place", place) }
        done.append(.put(name, replaced: isThere, hasBackup: hasBackup))
    }

    private func undo() {
        for step in done.reversed() {
            switch step {
            case .setAside(let name): rename(backup(name), joinPath(target, name))
            case .put(let name, let replaced, let hasBackup):
                let (here, there) = (joinPath(source, name), joinPath(target, name))
                if hasBackup {
                    if link(there, here) != 0 { rename(there, here) }
                    rename(backup(name), there)
                } else if !replaced {
                    rename(there, here)
                }
            }
        }
        // A backup that was made for the step that failed.
        for name in (try? listDirectory(source)) ?? [] where Self.isBackup(name) {
            let original = String(name.dropFirst().dropLast(".before".count))
            if fileStatus(joinPath(target, original)) != nil { unlink(joinPath(source, name)) }
        }
    }

    /// Whether a small file has the same bytes in both directories.
    private func isUnchanged(_ name: String) -> Bool {
        guard CheckpointFileKind(name) != .weights,
            fileStatus(joinPath(target, name), followsLinks: false)?.isFile == true,
            let a = try? FileContents(joinPath(source, name)), let b = try? FileContents(joinPath(target, name)),
            a.count == b.count
        else { return false }
        let isEqual = try? a.withBytes { (a) throws(QwenSFTError) in
            try b.withBytes { (b) throws(QwenSFTError) in a.elementsEqual(b) }
        }
        return isEqual ?? false
    }
}
