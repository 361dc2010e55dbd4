/// What is trained and by which optimizer, as far as can be said before a model is opened.
public struct TrainingSetup: Sendable, Equatable {
    /// How weights are kept in memory.
    public var dtype = DType.float32
    /// That of the model below an adapter; nil: weights are of `dtype`.
    public var quantization: Quantization?
    /// nil: the weights themselves are trained.
    public var adapter: LoRAConfiguration?
    public var optimizer = Optimizer.sgd(SGD())
    public var options = TrainerOptions()

    public init() {}

    /// Bytes of the model's own weights.
    func weightByteCount(_ list: ParameterList) throws(QwenSFTError) -> Int {
        let vectors = list.vectorCount * 4
        guard let quantization else { return vectors + list.matrixCount * dtype.byteCount }
        guard adapter != nil else {
            throw QwenSFTError(.unsupported, "'quantization': only an adapter can be trained on quantized weights")
        }
        return vectors
            + list.parameters.filter(\.isMatrix)
            .reduce(0) { $0 + quantization.byteCount(rows: $1.shape[0], columns: $1.shape[1]) }
    }
}
