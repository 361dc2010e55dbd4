extension FineTuning {
    /// Writes the result: the adapter that was trained, or a checkpoint of the model, with a model card (README.md) unless
    /// somebody else's is there. A run that has ended needs its checkpoints no longer: they are removed.
    /// - Parameters:
    ///   - directory: where to write it.
    ///   - dtype: as in `Model.save`; of an adapter nothing else than float32.
    public func save(to directory: String, dtype: DType? = nil) throws(QwenSFTError) {
        try run.trainer.save(to: directory, dtype: dtype)
        var warning: String?
        // What was trained is there, whatever becomes of this.
        do throws(QwenSFTError) { warning = try ModelCard(self).write(to: directory) } catch {
            warning = "the model card was not written: \(error.message)"
        }
        if let warning { Warnings.send(warning) }
        if end != nil { checkpoints?.remove() }
    }
}
