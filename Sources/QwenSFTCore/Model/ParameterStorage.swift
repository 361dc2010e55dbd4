/// Values for parameters of a model or an adapter: the weights themselves, their gradients, or an optimizer's state.
final class ParameterStorage {
    let list: ParameterList
    /// With a quantization, what matrices are widened to for products of many rows.
    let dtype: DType
    let quantization: Quantization?
    /// By parameter: whether there is memory for it.
    let included: [Bool]
    private let matrices: any WeightMemory
    private let vectors: HugeBuffer

    /// Zeros.
    /// - Parameter included: by parameter; nil: all. Vectors have memory in any case: they are few and small.
    init(
        _ list: ParameterList, dtype: DType, quantization: Quantization? = nil, included: [Bool]? = nil,
        purpose: String
    ) throws(QwenSFTError) {
        self.list = list
        self.dtype = dtype
        self.quantization = quantization
        let included = included ?? Array(repeating: true, count: list.parameters.count)
        self.included = included
        var (count, group) = (0, -1)
        let shapes = list.parameters.map { parameter in
            let takesMemory = parameter.isMatrix && included[parameter.index]
            if takesMemory, parameter.group != group { (count, group) = ((count + 63) & ~63, parameter.group) }
            defer { if takesMemory { count += parameter.count } }
            return MatrixShape(
                name: parameter.name, rows: takesMemory ? parameter.shape[0] : 0,
                columns: parameter.isMatrix ? parameter.shape[1] : 1, offset: count, group: parameter.group)
        }
        matrices =
            if let quantization {
                try quantization.memory(shapes, purpose: purpose)
            } else {
                try DenseMemory(shapes, count: count, dtype: dtype, purpose: purpose)
            }
        vectors = try HugeBuffer(byteCount: list.vectorCount * 4, purpose: purpose)
    }

    var byteCount: Int { matrices.byteCount + vectors.byteCount }

    /// A matrix all of whose parameters have memory.
    func weight(_ matrix: ParameterLayout.Matrix) -> Weight {
        matrices.weight(matrix.parameters.lowerBound, rows: matrix.rows)
    }

    /// The same of float32 values.
    func floats(_ matrix: ParameterLayout.Matrix) -> MutableMatrix<Float> {
        if case .float32(let weight) = weight(matrix) { return weight.matrix }
        return MutableMatrix(vectors.floats, rows: 0, columns: matrix.columns)
    }

    /// Rows of a matrix whose parameters have memory.
    func weight(_ matrix: ParameterLayout.Matrix, rows: Range<Int>) -> Weight {
        var (first, start) = (matrix.parameters.lowerBound, 0)
        while first + 1 < matrix.parameters.upperBound, start + list.parameters[first].shape[0] <= rows.lowerBound {
            start += list.parameters[first].shape[0]
            first += 1
        }
        let part = rows.lowerBound - start..<rows.upperBound - start
        return matrices.weight(first, rows: part.upperBound).slice(part)
    }

    /// (1, count).
    func vector(_ vector: ParameterLayout.Vector) -> MutableMatrix<Float> {
        MutableMatrix(vectors.floats + vector.offset, rows: 1, columns: vector.count)
    }

    /// All vectors one after the other, as the list has them.
    var allVectors: MutableMatrix<Float> {
        MutableMatrix(vectors.floats, rows: 1, columns: list.vectorCount)
    }

    /// A parameter's own values, as a one-column matrix in case of a vector.
    func weight(_ parameter: Parameter) -> Weight {
        guard parameter.isMatrix else {
            return .float32(
                Float32Weight(MutableMatrix(vectors.floats + parameter.offset, rows: parameter.count, columns: 1)))
        }
        return matrices.weight(parameter.index, rows: parameter.shape[0])
    }

    /// The same of float32 values.
    func floats(_ parameter: Parameter) -> MutableMatrix<Float> {
        if case .float32(let weight) = weight(parameter) { return weight.matrix }
        return MutableMatrix(vectors.floats, rows: 0, columns: 0)
    }

    /// All values, in as few runs as they lie in memory, the gaps between parameters included.
    /// - Throws: `unsupported` for matrices that are not float32.
    func floatRuns() throws(QwenSFTError) -> [UnsafeMutableBufferPointer<Float>] {
        guard let matrices = (matrices as? DenseMemory)?.floats else {
            throw QwenSFTError(.unsupported, "only float32 values add up over ranks")
        }
        return [matrices, UnsafeMutableBufferPointer(start: vectors.floats, count: list.vectorCount)]
    }

    // MARK: Filling

    /// Looks at all matrices before `fill` is called, by up to `threads` workers.
    func beginFilling(threads: Int, from read: ElementReader) throws(QwenSFTError) {
        try matrices.beginFilling(threads: threads, from: read)
    }

    /// The worker's share of a parameter.
    func fill(_ parameter: Parameter, _ worker: ThreadPool.Worker, from read: ElementReader) throws(QwenSFTError) {
        let mine = worker.range(of: parameter.shape[0])
        guard !mine.isEmpty else { return }
        guard parameter.isMatrix else {
            return try read(parameter.index, mine, .float32, vectors.floats + parameter.offset + mine.lowerBound)
        }
        try matrices.fill(parameter.index, rows: mine, worker: worker.index, from: read)
    }

    func endFilling() throws(QwenSFTError) { try matrices.endFilling() }

    // MARK: Copying

    /// Takes over the values of what both have memory for; list and dtype are the same, neither is quantized.
    func copy(from other: ParameterStorage) {
        for parameter in list.parameters where included[parameter.index] && other.included[parameter.index] {
            guard let to = weight(parameter).elements, let from = other.weight(parameter).elements else { continue }
            to.start.copyMemory(from: from.start, byteCount: parameter.count * to.dtype.byteCount)
        }
    }

    /// The same values in memory of their own.
    func clone() throws(QwenSFTError) -> ParameterStorage {
        try ParameterStorage(copying: self, purpose: "a copy of the weights")
    }

    private init(copying other: ParameterStorage, purpose: String) throws(QwenSFTError) {
        (list, dtype, quantization, included) = (other.list, other.dtype, other.quantization, other.included)
        matrices = try other.matrices.clone(purpose: purpose)
        vectors = try other.vectors.clone(purpose: purpose)
    }

    /// Sets everything to zero by giving the memory back.
    func clear() {
        (matrices as? DenseMemory)?.clear()
        vectors.clear()
    }
}
