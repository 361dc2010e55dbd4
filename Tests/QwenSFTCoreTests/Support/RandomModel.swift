import QwenSFTCore
import Testing

/// A tiny random checkpoint of any sizes, written and opened as any other.
struct RandomModel: Sendable {
    var hidden = 16
    var intermediate = 24
    var layers = 2
    var heads = 4
    var keyValueHeads = 2
    var headDimension = 4
    var vocabulary = 150
    var positions = 512
    var tied = true
    /// Qwen3: norms of the heads in place of biases.
    var qkNorm = false
    var seed = 1
    /// The scale of the matrices; 1 / √hidden keeps activations about 1.
    var scale: Float = 0.25

    var config: String {
        """
        {"architectures": ["Qwen\(qkNorm ? 3 : 2)ForCausalLM"], "model_type": "qwen\(qkNorm ? 3 : 2)", "hidden_size": \(hidden),
         "intermediate_size": \(intermediate), "num_hidden_layers": \(layers), "num_attention_heads": \(heads),
         "num_key_value_heads": \(keyValueHeads), "head_dim": \(headDimension), "vocab_size": \(vocabulary),
         "max_position_embeddings": \(positions), "rope_theta": 10000.0, "rms_norm_eps": 1e-06,
         "tie_word_embeddings": \(tied), "torch_dtype": "float32", "eos_token_id": \(vocabulary - 1)}
        """
    }

    struct Tensor {
        var name: String
        var shape: [Int]
        var values: [Float]
    }

    /// Every tensor in the order of the layers: norms around 1, the rest around 0.
    var tensors: [Tensor] {
        var noise = Noise(seed)
        var result: [Tensor] = []
        func matrix(_ name: String, _ rows: Int, _ columns: Int) {
            result.append(
                Tensor(name: name, shape: [rows, columns], values: noise.floats(rows * columns, scale: scale)))
        }
        func vector(_ name: String, _ count: Int, around center: Float = 0) {
            result.append(Tensor(name: name, shape: [count], values: noise.floats(count, scale: 0.3, around: center)))
        }
        let (q, kv) = (heads * headDimension, keyValueHeads * headDimension)
        matrix("model.embed_tokens.weight", vocabulary, hidden)
        for layer in 0..<layers {
            let p = "model.layers.\(layer)."
            vector(p + "input_layernorm.weight", hidden, around: 1)
            for (name, rows) in [("q", q), ("k", kv), ("v", kv)] {
                matrix(p + "self_attn.\(name)_proj.weight", rows, hidden)
                if !qkNorm {
                    vector(p + "self_attn.\(name)_proj.bias", rows)
                } else if name != "v" {
                    vector(p + "self_attn.\(name)_norm.weight", headDimension, around: 1)
                }
            }
            matrix(p + "self_attn.o_proj.weight", hidden, q)
            vector(p + "post_attention_layernorm.weight", hidden, around: 1)
            matrix(p + "mlp.gate_proj.weight", intermediate, hidden)
            matrix(p + "mlp.up_proj.weight", intermediate, hidden)
            matrix(p + "mlp.down_proj.weight", hidden, intermediate)
        }
        vector("model.norm.weight", hidden, around: 1)
        if !tied { matrix("lm_head.weight", vocabulary, hidden) }
        return result
    }

    /// Writes the checkpoint, `change` applied to its tensors.
    func write(
        to directory: TestDirectory, as dtype: DType = .float32, change: (inout [Tensor]) -> Void = { _ in }
    ) throws {
        var tensors = tensors
        change(&tensors)
        try directory.write("config.json", config)
        try writeTensors(tensors, as: dtype, to: directory.path + "/model.safetensors")
    }

    func model(dtype: DType = .float32, change: (inout [Tensor]) -> Void = { _ in }) throws -> Model {
        let directory = try TestDirectory()
        try write(to: directory, change: change)
        return try Model(directory: directory.path, dtype: dtype)
    }
}

func writeTensors(_ tensors: [RandomModel.Tensor], as dtype: DType, to path: String) throws {
    let buffers = tensors.map { tensor in
        let buffer = UnsafeMutableBufferPointer<Float>.allocate(capacity: max(tensor.values.count, 1))
        _ = buffer.update(fromContentsOf: tensor.values)
        return buffer
    }
    defer { for buffer in buffers { buffer.deallocate() } }
    let sources = zip(tensors, buffers).map {
        TensorSource(name: $0.name, shape: $0.shape, values: UnsafeRawPointer($1.baseAddress!), valuesType: .float32)
    }
    try writeSafetensors(sources, as: dtype, to: path)
}

/// A right-padded batch of sequences with labels; `labels[i][t]` < 0 where nothing is supervised.
func makeBatch(
    _ sequences: [[Int]], labels: [[Int]]? = nil, weights: [[Float]]? = nil, columns: Int? = nil
) throws -> Batch {
    let columns = columns ?? sequences.map(\.count).max() ?? 0
    let labels = labels ?? sequences
    func filled<T, U>(_ rows: [[T]], _ padding: U, _ convert: (T) -> U) -> [U] {
        rows.flatMap { $0.map(convert) + [U](repeating: padding, count: columns - $0.count) }
    }
    return try Batch(
        inputIDs: filled(sequences, 0, Int64.init), labels: filled(labels, -100) { $0 < 0 ? -100 : Int64($0) },
        attentionMask: filled(sequences, 0) { _ in 1 }, tokenWeights: weights.map { filled($0, 0) { $0 } },
        rows: sequences.count, columns: columns)
}

/// Random sequences of these lengths, `supervised` of a hundred labels set.
func randomBatch(_ lengths: [Int], vocabulary: Int, seed: Int, supervised: Int = 60, columns: Int? = nil) throws
    -> Batch
{
    var noise = Noise(seed)
    let sequences = lengths.map { (0..<$0).map { _ in noise.below(vocabulary) } }
    let labels = sequences.map { $0.map { noise.below(100) < supervised ? $0 : -1 } }
    return try makeBatch(sequences, labels: labels, columns: columns)
}

extension Model {
    func values(named name: String) throws -> [Float] { try values(of: parameter(named: name)) }

    /// Every weight of the model, by parameter.
    func allValues() throws -> [[Float]] { try parameters.map { try values(of: $0) } }

    /// The bits of every weight.
    func allBits() throws -> [[UInt32]] { try allValues().map(\.bits) }
}

/// How far two sets of weights are apart, relative to the largest change of each parameter from where it started.
func worstChange(_ a: [[Float]], _ b: [[Float]], from start: [[Float]]) -> Double {
    zip(zip(a, b), start).reduce(0.0) { worstSoFar, parameter in
        let ((a, b), start) = parameter
        let size = zip(b, start).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
        let difference = zip(a, b).reduce(Float(0)) { max($0, ($1.0 - $1.1).isNaN ? .infinity : abs($1.0 - $1.1)) }
        return difference == 0 ? worstSoFar : max(worstSoFar, Double(difference) / Double(size))
    }
}
