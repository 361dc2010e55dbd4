/// Looks at the tensors that the configuration does not ask for.
///
/// Left alone, with one warning for all: those that cannot be weights (integers, empty ones), those of other parts (a value head,
/// a draft layer) and of layers beyond the last. They are what other programs leave out too.
///
/// - Throws: `invalidFile` for what belongs to a model that computes something else: another parameter inside of the decoder, or a
///   head of its own where config.json says that it is tied.
func checkOtherTensors(
    _ checkpoint: SafetensorsCheckpoint, _ tensors: [StoredTensor], _ configuration: Configuration
) throws(QwenSFTError) {
    let wanted = Set(tensors.map { Array($0.name.utf8) })
    var ignored: [StoredTensor] = []
    for tensor in checkpoint.tensors where !wanted.contains(Array(tensor.name.utf8)) {
        if tensor.name.hasSuffix("rotary_emb.inv_freq") { continue }  // older files hold the table; it is computed
        if tensor.name == "lm_head.weight", let embedding = tensors.first {
            guard try areEqual(tensor, embedding) else {
                throw QwenSFTError(
                    .invalidFile,
                    "\(fileName(tensor.file.path)): tensor 'lm_head.weight' differs from the embedding, although config.json says tie_word_embeddings"
                )
            }
        } else if isPartOfModel(tensor, layers: configuration.layers) {
            throw QwenSFTError(
                .invalidFile,
                "\(fileName(tensor.file.path)): tensor '\(printable(tensor.name))' is not part of the model that config.json describes"
            )
        } else {
            ignored.append(tensor)
        }
    }
    guard let first = ignored.first else { return }
    let names = ignored.prefix(3).map { "'\(printable($0.name))'" }.joined(separator: ", ")
    Warnings.send(
        "\(fileName(first.file.path)): not part of the model, neither read nor saved: \(names)"
            + (ignored.count > 3 ? " and \(ignored.count - 3) more tensors" : ""))
}

/// Whether a tensor's values would take part in what the decoder computes.
private func isPartOfModel(_ tensor: StoredTensor, layers: Int) -> Bool {
    guard tensor.elementCount > 0, tensor.dtype != nil else { return false }
    let parts = tensor.name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts[0] == "model" || parts[0] == "lm_head" else { return false }
    if parts.count > 2, parts[1] == "layers", let layer = Int(parts[2]) { return layer < layers }
    return true
}

private func areEqual(_ a: StoredTensor, _ b: StoredTensor) throws(QwenSFTError) -> Bool {
    guard a.shape == b.shape else { return false }
    let piece = 1 << 16
    var (left, right) = ([Float](repeating: 0, count: piece), [Float](repeating: 0, count: piece))
    for start in stride(from: 0, to: a.elementCount, by: piece) {
        let range = start..<min(start + piece, a.elementCount)
        try read(a, range, &left)
        try read(b, range, &right)
        if left[..<range.count] != right[..<range.count] { return false }
    }
    return true
}

private func read(_ tensor: StoredTensor, _ range: Range<Int>, _ values: inout [Float]) throws(QwenSFTError) {
    var failure: QwenSFTError?
    values.withUnsafeMutableBytes { bytes in
        guard let base = bytes.baseAddress else { return }
        do throws(QwenSFTError) { try tensor.read(range, as: .float32, into: base) } catch { failure = error }
    }
    if let failure { throw failure }
}
