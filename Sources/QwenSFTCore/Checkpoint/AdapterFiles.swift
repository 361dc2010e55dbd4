import CSystem
import Libc

extension Model {
    /// Loads an adapter that PEFT, or `saveAdapter`, has written, and sets it.
    /// - Parameters:
    ///   - directory: holds adapter_config.json and adapter_model.safetensors, itself or in its sub-directory `name`.
    ///   - name: what it is called in this model.
    /// - Throws: `notFound`, `io`; `invalidFile` and `unsupported` naming file and tensor or member; `invalidArgument` for a name that
    ///   is taken or an adapter that does not fit this model; `outOfMemory`, `busy`. The model is as before then.
    @discardableResult
    public func loadAdapter(_ directory: String, name: String = "default") throws(QwenSFTError) -> Adapter {
        let place = try AdapterFiles.place(of: directory, name: name)
        let fields = try JSONFields(contentsOf: joinPath(place, LoRAConfiguration.fileName))
        let configuration = try LoRAConfiguration(fields)
        let file = try SafetensorsFile(joinPath(place, AdapterFiles.weightsName))
        let adapter = try exclusively { () throws(QwenSFTError) in
            try checkNew(name)
            let adapter = try Adapter(name, configuration, layout)
            try adapter.read(file)
            add(adapter)
            return adapter
        }
        if let made = try file.metadata.string(AdapterFiles.baseKey), made != baseIdentity {
            let base = try fields.string("base_model_name_or_path") ?? "another base"
            Warnings.send(
                "the adapter '\(printable(name))' in \(place) was made on '\(printable(base))' (\(printable(made))), and this model is '\(printable(source.directory))' (\(baseIdentity)); it may answer badly"
            )
        }
        return adapter
    }

    /// Writes an adapter as PEFT does: adapter_config.json and adapter_model.safetensors (float32), for the name "default" in the
    /// directory itself, for another one in its sub-directory of that name. An older one there is never mixed with the
    /// new one; it stays until the new one is complete, except where it has another configuration and shares the directory with other
    /// files: a save that is killed there may leave none. Other files stay.
    /// - Throws: `invalidArgument` for a name that no adapter has; `nonFinite`, `io`, `busy`.
    public func saveAdapter(to directory: String, name: String = "default") throws(QwenSFTError) {
        let warning = try exclusively { () throws(QwenSFTError) in
            let adapter = try adapter(named: name)
            var tensors: [TensorSource] = []
            for parameter in adapter.parameters {
                let values = adapter.storage.floats(parameter).base
                if let index = firstNonFinite(values, .float32, count: parameter.count) {
                    throw QwenSFTError(
                        .nonFinite,
                        "\(parameter.name): the value at \(elementPlace(index, shape: parameter.shape)) is \(values[index]); nothing was saved"
                    )
                }
                tensors.append(
                    TensorSource(
                        name: parameter.name, shape: parameter.shape, values: values, valuesType: .float32))
            }
            var notes = JSONObject()
            notes[AdapterFiles.baseKey] = .string(baseIdentity)
            let place = name == "default" ? directory : joinPath(directory, name)
            return try AdapterFiles.write(
                to: place, adapter.configuration.serialized(base: source.directory), tensors, notes)
        }
        if let warning { Warnings.send(warning) }
    }

    /// Whether `saveAdapter` could write to this place: better known before training than after it.
    /// - Throws: what `saveAdapter` would throw. Missing parent directories are created.
    public func checkAdapterDestination(_ directory: String, name: String = "default") throws(QwenSFTError) {
        try AdapterFiles.check(name == "default" ? directory : joinPath(directory, name))
    }
}

extension Adapter {
    /// Takes the values from a file that holds exactly this adapter's tensors.
    fileprivate func read(_ file: SafetensorsFile) throws(QwenSFTError) {
        var wanted = Dictionary(uniqueKeysWithValues: parameters.map { (Array($0.name.utf8), $0) })
        for tensor in file.tensors {
            let place = "\(fileName(tensor.file.path)): tensor '\(printable(tensor.name))'"
            guard let parameter = wanted.removeValue(forKey: Array(tensor.name.utf8)) else {
                throw QwenSFTError(
                    .unsupported,
                    "\(place) is no A or B of a linear layer, and no rows of tokens, that adapter_config.json means for this model"
                )
            }
            guard tensor.shape == parameter.shape else {
                throw QwenSFTError(
                    .invalidArgument, "\(place) has shape \(tensor.shape), this model needs \(parameter.shape)")
            }
            try tensor.requireFloatingPoint()
            try tensor.readFinite(0..<tensor.elementCount, as: .float32, into: storage.floats(parameter).base)
        }
        guard let missing = wanted.values.min(by: { $0.index < $1.index }) else { return }
        throw QwenSFTError(
            .invalidFile,
            "\(AdapterFiles.weightsName): holds no tensor '\(missing.name)', which adapter_config.json means")
    }
}

/// The two files of an adapter.
enum AdapterFiles {
    static let weightsName = "adapter_model.safetensors"
    /// In the metadata of the weights, which PEFT leaves alone: the base that the adapter was made on.
    static let baseKey = "qwensft.base"

    /// The directory that holds the files.
    static func place(of directory: String, name: String) throws(QwenSFTError) -> String {
        guard try fileKind(directory) == .directory else {
            throw QwenSFTError(.notFound, "\(directory): no such directory")
        }
        if try fileExists(joinPath(directory, LoRAConfiguration.fileName)) { return directory }
        let inner = joinPath(directory, name)
        if try fileExists(joinPath(inner, LoRAConfiguration.fileName)) { return inner }
        throw QwenSFTError(
            .notFound,
            "\(directory): holds no \(LoRAConfiguration.fileName), and no directory '\(printable(name))' with one"
        )
    }

    /// Writes both files beside their place, and puts them there: as one directory where that can be; where the directory has to
    /// stay, weights of the same configuration in one step, and others such that in between there is no adapter rather than
    /// parts of two.
    static func write(
        to directory: String, _ configuration: [UInt8], _ tensors: [TensorSource], _ notes: JSONObject
    ) throws(QwenSFTError) -> String? {
        let directory = withoutEndingSlashes(directory)
        let parent = parentPath(directory)
        try makeDirectories(parent)
        if try fileKind(directory) == nil || isReplaceable(directory) {
            return try exchange(directory, configuration, tensors, notes)
        }
        let configurationPath = joinPath(directory, LoRAConfiguration.fileName)
        let isSame = holds(configurationPath, configuration)
        if !isSame { unlink(configurationPath) }
        let warning = try replaceFile(joinPath(directory, weightsName)) {
            (file: inout WritableFile) throws(QwenSFTError) in
            try writeSafetensors(tensors, as: .float32, metadata: notes, to: &file)
        }
        if isSame { return warning }
        return try replaceFile(configurationPath) { (file: inout WritableFile) throws(QwenSFTError) in
            try file.write(configuration)
        }
    }

    /// Makes something beside or in the place, as `write` would, and removes it.
    static func check(_ directory: String) throws(QwenSFTError) {
        let path = withoutEndingSlashes(directory)
        try makeDirectories(parentPath(path))
        let isNew = try fileKind(path) == nil
        let place = isNew || isReplaceable(path) ? parentPath(path) : path
        rmdir(try Temporary.directory(in: place, for: fileName(path)).path)
    }

    private static func withoutEndingSlashes(_ path: String) -> String {
        var path = path
        while path.utf8.count > 1, path.utf8.last == UInt8(ascii: "/") { path.removeLast() }
        return path
    }

    /// Whether a file has this content.
    private static func holds(_ path: String, _ bytes: [UInt8]) -> Bool {
        guard let contents = try? FileContents(path) else { return false }
        return (try? contents.withBytes { (found) throws(QwenSFTError) in found.elementsEqual(bytes) }) ?? false
    }

    /// Whether a directory holds an adapter and nothing else.
    private static func isReplaceable(_ directory: String) -> Bool {
        var others = 0
        guard let names = try? listDirectory(directory, onOtherName: { others += 1 }), others == 0,
            fileStatus(directory, followsLinks: false)?.isDirectory == true, qk_is_mount_point(directory) == 0,
            fileStatus(directory)?.isSame(as: fileStatus(".")) == false
        else { return false }
        return names.allSatisfy { [LoRAConfiguration.fileName, weightsName].contains($0) }
    }

    /// One system call puts the new directory in place of the old one.
    private static func exchange(
        _ directory: String, _ configuration: [UInt8], _ tensors: [TensorSource], _ notes: JSONObject
    ) throws(QwenSFTError) -> String? {
        func remove(_ path: String) {
            for name in [LoRAConfiguration.fileName, weightsName] { unlink(joinPath(path, name)) }
            rmdir(path)
        }
        let parent = parentPath(directory)
        Temporary.forEachLeftover(in: parent, for: fileName(directory), remove)
        let temporary = try Temporary.directory(in: parent, for: fileName(directory))
        defer { remove(temporary.path) }
        try writeWeights(tensors, notes, to: joinPath(temporary.path, weightsName))
        try writeFile(joinPath(temporary.path, LoRAConfiguration.fileName), configuration)
        try OpenDirectory(temporary.path).synchronize()
        if let old = fileStatus(directory) {
            chmod(temporary.path, old.st_mode & 0o7777)
            if qk_exchange_files(temporary.path, directory) != 0 { throw systemError("replace it", directory) }
        } else if rename(temporary.path, directory) != 0 {
            throw systemError("put it in its place", directory)
        }
        do { try OpenDirectory(parent).synchronize() } catch {
            return "\(directory): is in its place, but may be gone after a power failure: \(error.message)"
        }
        return nil
    }

    private static func writeWeights(
        _ tensors: [TensorSource], _ notes: JSONObject, to path: String
    ) throws(QwenSFTError) {
        var file = try WritableFile(creating: path)
        try writeSafetensors(tensors, as: .float32, metadata: notes, to: &file)
        try file.finish()
    }
}
