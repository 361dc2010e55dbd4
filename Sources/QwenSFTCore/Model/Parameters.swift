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
        let qkvBias: Vector
        let output: Matrix
        let postNorm: Vector
        let gateUp: Matrix
        let down: Matrix
    }

    private(set) var parameters: [Parameter] = []
    private(set) var matrixCount = 0
    private(set) var vectorCount = 0
    let embedding: Matrix
    let layers: [Layer]
    let norm: Vector
    /// The embedding itself where the two are tied.
    let head: Matrix

    init(_ c: Configuration) {
        var builder = Builder()
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
                qkvBias: builder.vector([
                    (p + "self_attn.q_proj.bias", q), (p + "self_attn.k_proj.bias", kv),
                    (p + "self_attn.v_proj.bias", kv),
                ]),
                output: builder.matrix([(p + "self_attn.o_proj.weight", h)], columns: q),
                postNorm: builder.vector([(p + "post_attention_layernorm.weight", h)]),
                gateUp: builder.matrix([(p + "mlp.gate_proj.weight", i), (p + "mlp.up_proj.weight", i)], columns: h),
                down: builder.matrix([(p + "mlp.down_proj.weight", h)], columns: i))
        }
        norm = builder.vector([("model.norm.weight", h)])
        head = c.tiesWordEmbeddings ? embedding : builder.matrix([("lm_head.weight", c.vocabularySize)], columns: h)
        parameters = builder.parameters
        matrixCount = builder.matrixCount
        vectorCount = builder.vectorCount
    }

    private struct Builder {
        var parameters: [Parameter] = []
        var matrixCount = 0
        var vectorCount = 0

        mutating func matrix(_ parts: [(name: String, rows: Int)], columns: Int) -> Matrix {
            matrixCount = (matrixCount + 63) & ~63
            let (first, offset) = (parameters.count, matrixCount)
            for (name, rows) in parts {
                parameters.append(
                    Parameter(
                        name: name, shape: [rows, columns], count: rows * columns, isMatrix: true,
                        index: parameters.count,
                        offset: matrixCount))
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
                        offset: vectorCount))
                vectorCount += count
            }
            return Vector(offset: offset, count: vectorCount - offset, parameters: first..<parameters.count)
        }
    }
}

/// How matrices are kept in fewer bits than they were trained in.
public enum Quantization: String, Sendable, CaseIterable {
    /// 8 bits, and a float32 scale for every 64 neighbours of a row.
    case int8
    /// 6 bits, and a bfloat16 scale for every 64 neighbours of a row: the least memory, and the fastest answers.
    case int6
    /// bfloat16 without loss in 12 bits: the weights are the same, and three quarters of the memory are read.
    case packed

    var form: QuantizedMatrix.Form? {
        switch self {
        case .int8: .int8
        case .int6: .int6
        case .packed: nil
        }
    }
}

/// Values for every parameter of a layout: the weights themselves, their gradients, or an optimizer's state.
final class ParameterStorage {
    let layout: ParameterLayout
    /// With a quantization, what matrices are widened to for products of many rows.
    let dtype: DType
    let quantization: Quantization?
    private let matrices: HugeBuffer
    private let vectors: HugeBuffer
    /// Of quantized matrices; and at which bytes the integers and the scales of every parameter begin.
    private let scales: HugeBuffer
    private let quantizedStarts: [(values: Int, scales: Int)]
    /// Of packed matrices.
    let packed: PackedStorage?

    /// Zeros.
    init(
        _ layout: ParameterLayout, dtype: DType, quantization: Quantization? = nil, purpose: String
    ) throws(QwenSFTError) {
        self.layout = layout
        self.dtype = dtype
        self.quantization = quantization
        var starts: [(values: Int, scales: Int)] = []
        var (values, scaleBytes) = (0, 0)
        if let form = quantization?.form {
            for parameter in layout.parameters {
                starts.append((values, scaleBytes))
                guard parameter.isMatrix else { continue }
                let (rows, columns) = (parameter.shape[0], parameter.shape[1])
                values += rows * form.stride(columns: columns)
                scaleBytes += rows * QuantizedMatrix.blocks(columns: columns) * form.scaleBytes
            }
        }
        quantizedStarts = starts
        let matrixBytes = quantization == nil ? layout.matrixCount * dtype.byteCount : values
        packed = quantization == .packed ? try PackedStorage(layout, purpose: purpose) : nil
        matrices = try HugeBuffer(byteCount: matrixBytes, purpose: purpose)
        vectors = try HugeBuffer(byteCount: layout.vectorCount * 4, purpose: purpose)
        scales = try HugeBuffer(byteCount: scaleBytes, purpose: purpose)
    }

    var byteCount: Int { matrices.byteCount + vectors.byteCount + scales.byteCount + (packed?.byteCount ?? 0) }

    func weight(_ matrix: ParameterLayout.Matrix) -> Weight {
        if quantization != nil { return compressed(matrix.parameters.lowerBound, matrix.rows, matrix.columns) }
        return Weight(
            elements: matrices.base + matrix.offset * dtype.byteCount, dtype: dtype, rows: matrix.rows,
            columns: matrix.columns, offset: matrix.offset)
    }

    func vector(_ vector: ParameterLayout.Vector) -> UnsafeMutablePointer<Float> { vectors.floats + vector.offset }

    /// A parameter's own values, as a one-column matrix in case of a vector.
    func weight(_ parameter: Parameter) -> Weight {
        guard parameter.isMatrix else {
            return Weight(
                elements: vectors.floats + parameter.offset, dtype: .float32, rows: parameter.count, columns: 1,
                offset: parameter.offset)
        }
        if quantization != nil { return compressed(parameter.index, parameter.shape[0], parameter.shape[1]) }
        return Weight(
            elements: matrices.base + parameter.offset * dtype.byteCount, dtype: dtype, rows: parameter.shape[0],
            columns: parameter.shape[1], offset: parameter.offset)
    }

    /// Parameters that form one matrix stand one after the other here too.
    private func compressed(_ first: Int, _ rows: Int, _ columns: Int) -> Weight {
        let form: CompressedWeight?
        if let packed {
            form = .packed(packed.matrix(first, rows: rows, columns: columns))
        } else {
            form = quantization?.form.map {
                .quantized(
                    QuantizedMatrix(
                        $0, values: matrices.base + quantizedStarts[first].values,
                        scales: scales.base + quantizedStarts[first].scales, rows: rows, columns: columns))
            }
        }
        return Weight(
            elements: matrices.base, dtype: dtype, rows: rows, columns: columns, offset: 0, compressed: form)
    }

    /// The same values in memory of their own.
    func clone() throws(QwenSFTError) -> ParameterStorage {
        try ParameterStorage(copying: self, purpose: "a copy of the weights")
    }

    private init(copying other: ParameterStorage, purpose: String) throws(QwenSFTError) {
        (layout, dtype, quantization) = (other.layout, other.dtype, other.quantization)
        quantizedStarts = other.quantizedStarts
        matrices = try other.matrices.clone(purpose: purpose)
        vectors = try other.vectors.clone(purpose: purpose)
        scales = try other.scales.clone(purpose: purpose)
        packed = try other.packed?.clone(purpose: purpose)
    }

    /// Takes over the values of another storage with the same layout and dtype, neither of them quantized.
    func copy(from other: ParameterStorage) {
        matrices.copy(from: other.matrices)
        vectors.copy(from: other.vectors)
    }

    /// Sets everything to zero by giving the memory back.
    func clear() {
        matrices.clear()
        vectors.clear()
    }
}
