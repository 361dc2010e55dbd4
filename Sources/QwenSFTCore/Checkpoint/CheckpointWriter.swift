extension Model {
    /// Writes a checkpoint directory that transformers loads: weights, config.json, and the other files of the directory the
    /// model was opened from. An older checkpoint at the same place stays whole until the new one is complete.
    /// - Parameters:
    ///   - dtype: how to write the weights; nil: as the files had them that the model was opened from.
    ///   - onProgress: called with the bytes of the weights that were written, and all of them; `false` cancels.
    public func save(
        to directory: String, dtype: DType? = nil,
        onProgress: (_ done: Int, _ total: Int) -> Bool = { _, _ in true }
    ) throws(QwenSFTError) {
        try requireFullWeights("it cannot be saved")
        try exclusively { () throws(QwenSFTError) in
            let dtype = dtype ?? source.dtype
            var target = try prepareToSave(to: directory, dtype)
            let tensors = parameters.compactMap { parameter in
                weights.weight(parameter).elements.map {
                    TensorSource(name: parameter.name, shape: parameter.shape, values: $0.start, valuesType: $0.dtype)
                }
            }
            try writeSafetensors(
                tensors, as: dtype, to: target.file(SafetensorsCheckpoint.fileName), onProgress: onProgress)
            try target.commit()
        }
    }

    /// Whether `save` could write to this place: better known before hours of training than after them.
    /// - Throws: what `save` would throw. Missing parent directories are created.
    public func checkDestination(_ directory: String) throws(QwenSFTError) {
        try exclusively { () throws(QwenSFTError) in _ = try prepareToSave(to: directory, source.dtype) }
    }

    /// A checkpoint directory in the making with everything but the weights.
    private func prepareToSave(to directory: String, _ dtype: DType) throws(QwenSFTError) -> CheckpointDirectory {
        let target = try CheckpointDirectory(replacing: directory)
        try writeFile(target.file(Configuration.fileName), configuration.serialized(dtype: dtype))
        try writeFile(
            target.file(GenerationConfiguration.fileName), generationDefaults.serialized(addingStopIDs: learnedStopIDs))
        try target.copy(source.companions)
        try target.checkTarget()
        return target
    }
}
