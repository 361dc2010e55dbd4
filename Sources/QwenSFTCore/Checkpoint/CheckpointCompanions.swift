/// The files of a checkpoint beside its weights, which a save writes unchanged: tokenizer, template, license.
///
/// They are read when the model is opened, so that hours of training do not depend on the directory being there at their end.
/// They are few and small: what is not of a checkpoint's own kinds is left alone, be it a thousand files.
package struct CheckpointCompanions: Sendable {
    let files: [MemoryFile]
    /// What could not be read, and why.
    package let warnings: [String]

    /// No tokenizer is longer.
    private static let sizeLimit = 256 << 20

    /// Files that are in memory already.
    init(_ files: [MemoryFile], warnings: [String] = []) { (self.files, self.warnings) = (files, warnings) }

    /// A file that cannot be read is left out, with a warning: the model is as good without.
    package init(of directory: String) throws(QwenSFTError) {
        var files: [MemoryFile] = []
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
                files.append(MemoryFile(name, try FileContents(file, 0..<file.size)))
            } catch {
                if error.code == .outOfMemory { throw error }
                warnings.append("\(error.message); a checkpoint that is saved will be without it")
            }
        }
        do throws(QwenSFTError) { try Self.gatherTemplates(directory, &files) } catch {
            if error.code == .outOfMemory { throw error }
            warnings.append("\(error.message); a checkpoint that is saved will be without additional chat templates")
        }
        self.files = files
        self.warnings = warnings
    }

    /// A checkpoint is saved as files without directories. So templates of a directory of their own move, with the default one, into
    /// tokenizer_config.json as a list by name, which transformers reads as well.
    private static func gatherTemplates(_ directory: String, _ files: inout [MemoryFile]) throws(QwenSFTError) {
        let place = joinPath(directory, "additional_chat_templates")
        guard try fileKind(place) == .directory else { return }
        let names = try listDirectory(place).filter { $0.hasSuffix(".jinja") }
        if names.isEmpty { return }
        let configName = "tokenizer_config.json"
        var config = JSONObject()
        if let file = files.first(where: { $0.name == configName }) {
            let value = try file.contents.withBytes { (bytes) throws(QwenSFTError) in
                try JSONValue(parsing: bytes, file: configName)
            }
            if case .object(let object) = value { config = object }
        }
        var templates: [(name: String, text: String)] = []
        func add(_ name: String, _ text: String) {
            templates.removeAll { $0.name == name }
            templates.append((name, text))
        }
        switch config["chat_template"] {
        case .string(let text)?: add("default", text)
        case .array(let list)?:
            for case .object(let template) in list {
                if let name = template["name"]?.string, let text = template["template"]?.string { add(name, text) }
            }
        default: break
        }
        func text(_ contents: borrowing FileContents) throws(QwenSFTError) -> String {
            try contents.withBytes { (bytes) throws(QwenSFTError) in String(decoding: bytes, as: UTF8.self) }
        }
        if let file = files.first(where: { $0.name == "chat_template.jinja" }) {
            add("default", try text(file.contents))
        }
        for name in names {
            add(String(name.dropLast(".jinja".count)), try text(FileContents(joinPath(place, name))))
        }
        config["chat_template"] = .array(
            templates.map { template in
                var object = JSONObject()
                object["name"] = .string(template.name)
                object["template"] = .string(template.text)
                return .object(object)
            })
        let contents = try FileContents(JSONValue.object(config).serialized(), path: joinPath(directory, configName))
        files.removeAll { $0.name == configName || $0.name == "chat_template.jinja" }
        files.append(MemoryFile(configName, contents))
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
