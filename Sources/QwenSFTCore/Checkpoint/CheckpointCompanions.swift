/// The files of a checkpoint beside its weights, which a save writes unchanged: tokenizer, template, license.
///
/// They are read when the model is opened, so that hours of training do not depend on the directory being there at their end.
/// They are few and small: what is not of a checkpoint's own kinds is left alone, be it a thousand files.
package struct CheckpointCompanions: Sendable {
    /// A file's name and content.
    final class File: Sendable {
        let name: String
        let contents: FileContents

        init(name: String, contents: consuming FileContents) {
            self.name = name
            self.contents = contents
        }
    }

    let files: [File]
    /// What could not be read, and why.
    package let warnings: [String]

    /// No tokenizer is longer.
    private static let sizeLimit = 256 << 20

    /// A file that cannot be read is left out, with a warning: the model is as good without.
    package init(of directory: String) throws(QwenSFTError) {
        var files: [File] = []
        var warnings: [String] = []
        var otherNames = 0
        let names = try listDirectory(directory) { otherNames += 1 }
        if otherNames > 0 {
            warnings.append("\(directory): \(otherNames) names in it are not UTF-8; these files are not looked at")
        }
        for name in names where Self.isCopied(name) {
            let path = joinPath(directory, name)
            do throws(QwenSFTError) {
                guard try fileKind(path) != .directory else { continue }
                let file = try ReadableFile(path)
                guard file.size <= Self.sizeLimit else {
                    throw QwenSFTError(.unsupported, "\(path): \(file.size) bytes are too many for a file of its name")
                }
                files.append(File(name: name, contents: try FileContents(file, 0..<file.size)))
            } catch {
                if error.code == .outOfMemory { throw error }
                warnings.append("\(error.message); a checkpoint that is saved will be without it")
            }
        }
        self.files = files
        self.warnings = warnings
    }

    /// Configurations are not: a save writes its own.
    private static func isCopied(_ name: String) -> Bool {
        guard name != Configuration.fileName, name != GenerationConfiguration.fileName else { return false }
        switch CheckpointFileKind(name) {
        case .part, .document: return true
        case .weights, .foreign: return false
        }
    }
}
