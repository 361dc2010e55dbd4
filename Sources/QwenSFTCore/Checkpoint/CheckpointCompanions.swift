/// The files of a checkpoint beside its weights: what belongs to the model's text side passes through a save unchanged.
///
/// They are opened with the model and read when it is saved, so that hours of training do not depend on the directory being
/// there at their end. Subdirectories are left out.
package struct CheckpointCompanions: Sendable {
    let files: [(name: String, file: ReadableFile)]

    package init(of directory: String) throws(QwenSFTError) {
        var files: [(name: String, file: ReadableFile)] = []
        for name in try listDirectory(directory) where !CheckpointDirectory.isTensorFile(name) {
            let path = joinPath(directory, name)
            if try fileExists(path) { files.append((name, try ReadableFile(path))) }
        }
        self.files = files
    }
}
