extension Trainer {
    /// Writes what is trained: the adapter (`Model.saveAdapter`) or the model (`Model.save`).
    /// - Parameter dtype: as in `Model.save`; of an adapter nothing else than float32.
    public func save(to directory: String, dtype: DType? = nil) throws(QwenSFTError) {
        guard let adapter else { return try model.save(to: directory, dtype: dtype) }
        try Self.checkAdapterDType(dtype)
        try model.saveAdapter(to: directory, name: adapter.name)
    }

    /// Whether `save` could write to this place: better known before training than after it.
    /// - Throws: what `save` would throw. Missing parent directories are created.
    public func checkDestination(_ directory: String, dtype: DType? = nil) throws(QwenSFTError) {
        guard let adapter else { return try model.checkDestination(directory, dtype: dtype) }
        try Self.checkAdapterDType(dtype)
        try model.checkAdapterDestination(directory, name: adapter.name)
    }

    private static func checkAdapterDType(_ dtype: DType?) throws(QwenSFTError) {
        guard let dtype, dtype != .float32 else { return }
        throw QwenSFTError(.invalidArgument, "adapters are written as float32, not \(dtype.rawValue)")
    }
}
