/// What training changes: the model's own parameters or, where an adapter is trained, the adapter's and nothing else.
struct TrainedParameters {
    let storage: ParameterStorage
    /// By parameter of the storage; frozen ones get no gradient.
    let isTrainable: [Bool]
    let isAdapter: Bool

    var parameters: [Parameter] { storage.list.parameters }

    /// Whether any of a vector of the model's is trained.
    func trains(_ vector: ParameterLayout.Vector) -> Bool { trainsAny(vector.parameters) }

    private func trainsAny(_ parameters: Range<Int>) -> Bool {
        !isAdapter && parameters.contains { isTrainable[$0] }
    }

    /// How far down gradients have to be computed.
    func end(in decoder: Decoder) -> BackwardEnd {
        if trainsAny(decoder.embedding.matrix.parameters) { return BackwardEnd(layer: 0, reachesInput: true) }
        if isAdapter, decoder.embeddingTokens != nil { return BackwardEnd(layer: 0, reachesInput: true) }
        let lowest = decoder.layers.firstIndex { layer in
            if isAdapter { return layer.projections.contains { $0.lowRank != nil } }
            // A layer's parameters follow each other.
            let first = layer.attention.norm.vector.parameters.lowerBound
            return trainsAny(first..<layer.mlp.down.matrix.parameters.upperBound)
        }
        guard let lowest else { return BackwardEnd(layer: decoder.layers.count, reachesInput: false) }
        return BackwardEnd(layer: lowest, reachesInput: trains(decoder.layers[lowest].attention.norm.vector))
    }
}

/// Where backward ends.
struct BackwardEnd {
    /// The lowest layer that it goes through.
    let layer: Int
    /// Whether anything before that layer's products takes a gradient.
    let reachesInput: Bool
}
