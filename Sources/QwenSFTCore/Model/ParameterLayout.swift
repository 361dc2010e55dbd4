/// A named tensor of the model, as transformers names it.
public struct Parameter: Sendable {
    public let name: String
    public let shape: [Int]
    /// Number of elements.
    public let count: Int
    /// Matrices are kept in the model's dtype; vectors (norms, biases) always in float32: they are few and small, and no
    /// update of theirs is rounded away.
    package let isMatrix: Bool
    /// Its place among the model's parameters.
    package let index: Int
    /// Index of the first element among all matrices, or among all vectors.
    package let offset: Int
    /// Neighbors with equal numbers are multiplied together.
    let group: Int
}

/// Where each parameter of a configuration stands in memory.
///
/// Matrices that read the same input stand one after the other (q, k, v; gate, up), so that one product computes all of
/// them; so do the biases of q, k, v. Each such group begins at a multiple of 64 elements.
struct ParameterLayout: Sendable {
    /// One matrix product: rows [0, rows) of a fused matrix, and the parameters that it is made of.
    struct Matrix: Sendable {
        let offset: Int
        let rows: Int
        let columns: Int
        let parameters: Range<Int>
    }
    struct Vector: Sendable {
        let offset: Int
        let count: Int
        let parameters: Range<Int>
    }
    struct Layer: Sendable {
        let inputNorm: Vector
        let qkv: Matrix
        /// nil: the architecture has none.
        let qkvBias: Vector?
        /// Norms of the query and key heads, as wide as one head; nil: the architecture has none.
        let queryNorm: Vector?
        let keyNorm: Vector?
        let output: Matrix
        let postNorm: Vector
        let gateUp: Matrix
        let down: Matrix
    }

    /// All parameters, in the order of the computation.
    let list: ParameterList
    let embedding: Matrix
    let layers: [Layer]
    let norm: Vector
    /// The embedding itself where the two are tied.
    let head: Matrix

    init(_ c: Configuration) {
        var builder = ParameterList()
        let (h, i) = (c.hiddenSize, c.intermediateSize)
        let (q, kv) = (c.heads * c.headDimension, c.kvHeads * c.headDimension)
        embedding = builder.matrix([("model.embed_tokens.weight", c.vocabularySize)], columns: h)
        layers = (0..<c.layers).map { index in
            let p = "model.layers.\(index)."
            return Layer(
                inputNorm: builder.vector([(p + "input_layernorm.weight", h)]),
                qkv: builder.matrix(
                    [
                        (p + "self_attn.q_proj.weight", q), (p + "self_attn.k_proj.weight", kv),
                        (p + "self_attn.v_proj.weight", kv),
                    ], columns: h),
                qkvBias: c.architecture.qkvBias
                    ? builder.vector([
                        (p + "self_attn.q_proj.bias", q), (p + "self_attn.k_proj.bias", kv),
                        (p + "self_attn.v_proj.bias", kv),
                    ]) : nil,
                queryNorm: c.architecture.qkNorm
                    ? builder.vector([(p + "self_attn.q_norm.weight", c.headDimension)]) : nil,
                keyNorm: c.architecture.qkNorm
                    ? builder.vector([(p + "self_attn.k_norm.weight", c.headDimension)]) : nil,
                output: builder.matrix([(p + "self_attn.o_proj.weight", h)], columns: q),
                postNorm: builder.vector([(p + "post_attention_layernorm.weight", h)]),
                gateUp: builder.matrix([(p + "mlp.gate_proj.weight", i), (p + "mlp.up_proj.weight", i)], columns: h),
                down: builder.matrix([(p + "mlp.down_proj.weight", h)], columns: i))
        }
        norm = builder.vector([("model.norm.weight", h)])
        head = c.tiesWordEmbeddings ? embedding : builder.matrix([("lm_head.weight", c.vocabularySize)], columns: h)
        list = builder
    }

    /// Whether the output matrix is the embedding.
    var isTied: Bool { head.parameters == embedding.parameters }
}

/// Parameters and their places: a model's, or an adapter's.
struct ParameterList: Sendable {
    typealias Matrix = ParameterLayout.Matrix
    typealias Vector = ParameterLayout.Vector

    private(set) var parameters: [Parameter] = []
    /// Elements of all matrices and of all vectors, with the gaps between them.
    private(set) var matrixCount = 0
    private(set) var vectorCount = 0

    mutating func matrix(_ parts: [(name: String, rows: Int)], columns: Int) -> Matrix {
        matrixCount = (matrixCount + 63) & ~63
        let (first, offset) = (parameters.count, matrixCount)
        for (name, rows) in parts {
            parameters.append(
                Parameter(
                    name: name, shape: [rows, columns], count: rows * columns, isMatrix: true,
                    index: parameters.count, offset: matrixCount, group: first))
            matrixCount += rows * columns
        }
        return Matrix(
            offset: offset, rows: parts.reduce(0) { $0 + $1.rows }, columns: columns,
            parameters: first..<parameters.count)
    }

    mutating func vector(_ parts: [(name: String, count: Int)]) -> Vector {
        vectorCount = (vectorCount + 63) & ~63
        let (first, offset) = (parameters.count, vectorCount)
        for (name, count) in parts {
            parameters.append(
                Parameter(
                    name: name, shape: [count], count: count, isMatrix: false, index: parameters.count,
                    offset: vectorCount, group: first))
            vectorCount += count
        }
        return Vector(offset: offset, count: vectorCount - offset, parameters: first..<parameters.count)
    }
}
