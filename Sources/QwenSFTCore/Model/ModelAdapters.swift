extension Model {
    /// The names of the adapters, in the order in which they were added.
    public var adapterNames: [String] { adapters.map(\.name) }

    /// The adapter that is set: it is part of every answer, and a trainer made now trains it. nil: the base answers.
    public var activeAdapter: String? { active?.name }

    /// Both, for a thread that does not know what others do.
    /// - Throws: `busy`.
    package func listAdapters() throws(QwenSFTError) -> (names: [String], active: String?) {
        try exclusively { (adapterNames, activeAdapter) }
    }

    /// Adds a new adapter, which changes nothing before it is trained, and sets it.
    /// - Throws: `invalidArgument` for a name that is taken and for values out of range; `outOfMemory`, `busy`.
    @discardableResult
    public func addAdapter(
        _ configuration: LoRAConfiguration = .init(), name: String = "default"
    ) throws(QwenSFTError) -> Adapter {
        let adapter = try exclusively { () throws(QwenSFTError) in
            try checkNew(name)
            let adapter = try Adapter(name, configuration, layout)
            adapter.initialize(on: decoder)
            add(adapter)
            return adapter
        }
        if configuration.alpha == 0, configuration.alphaPattern.isEmpty {
            Warnings.send("lora_alpha is 0: the adapter's low-rank parts add nothing and learn nothing")
        }
        return adapter
    }

    /// Sets an adapter, or none. Nothing is computed or copied.
    /// - Throws: `invalidArgument` for a name that no adapter has, `busy`.
    public func setAdapter(_ name: String?) throws(QwenSFTError) {
        try exclusively { () throws(QwenSFTError) in
            activate(try name.map { (name) throws(QwenSFTError) in try adapter(named: name) })
        }
    }

    /// Gives an adapter's memory back; where it was set, the base answers. A trainer of it can do nothing more.
    public func deleteAdapter(_ name: String) throws(QwenSFTError) {
        try exclusively { () throws(QwenSFTError) in
            let adapter = try adapter(named: name)
            adapters.removeAll { $0 === adapter }
            if active === adapter { activate(nil) }
        }
    }

    func adapter(named name: String) throws(QwenSFTError) -> Adapter {
        guard let adapter = adapters.first(where: { $0.name == name }) else {
            let known =
                adapters.isEmpty ? "it has none" : adapterNames.map { "'\(printable($0))'" }.joined(separator: ", ")
            throw QwenSFTError(
                .invalidArgument, "the model has no adapter '\(printable(name))' (\(known))")
        }
        return adapter
    }

    /// Names become directories.
    func checkNew(_ name: String) throws(QwenSFTError) {
        guard !name.isEmpty, name != ".", name != "..", !name.utf8.contains(where: { $0 == 0x2F || $0 < 0x20 }) else {
            throw QwenSFTError(
                .invalidArgument, "'\(printable(name))' cannot be an adapter's name: it is to be that of a directory")
        }
        guard !adapters.contains(where: { $0.name == name }) else {
            throw QwenSFTError(.invalidArgument, "the model already has an adapter '\(printable(name))'")
        }
    }

    func add(_ adapter: Adapter) {
        adapters.append(adapter)
        activate(adapter)
    }

    /// The adapters of another model of the same sizes, and which one is set. What is there already under the same name and with
    /// the same configuration gets new values, so that its trainers go on with them.
    func takeAdapters(of other: Model) throws(QwenSFTError) {
        var taken: [Adapter] = []
        for adapter in other.adapters {
            if let mine = adapters.first(where: {
                $0.name == adapter.name && $0.configuration == adapter.configuration
            }) {
                taken.append(mine)
            } else {
                taken.append(try adapter.clone(layout))
            }
        }
        for (mine, adapter) in zip(taken, other.adapters) { mine.storage.copy(from: adapter.storage) }
        adapters = taken
        weightsVersion += 1
        activate(taken.first { $0.name == other.activeAdapter })
    }

    func activate(_ adapter: Adapter?) {
        guard active !== adapter else { return }
        active = adapter
        weightsVersion += 1
        updateDecoder()
    }
}
