/// How matrices are kept in fewer bits than they were trained in.
public enum Quantization: String, Sendable, CaseIterable {
    /// 8 bits, and a float32 scale for every 64 neighbors of a row.
    case int8
    /// 6 bits, and a bfloat16 scale for every 64 neighbors of a row.
    case int6
    /// 4 bits, and a bfloat16 scale for every 32 neighbors of a row: the least memory.
    case int4
    /// bfloat16 without loss in 12 bits: the weights are the same, and three quarters of the memory are read.
    case lossless

    /// Whether this processor has kernels for it. Without them answers take longer than with bfloat16, which is said as a warning
    /// where such a model is opened.
    public var isFast: Bool { InstructionSet.current != .plain }

    /// Bytes of a matrix in this form; of lossless about, as that depends on its values.
    package func byteCount(rows: Int, columns: Int) -> Int {
        func bytes<Form: QuantizedForm>(_: Form.Type) -> Int {
            typealias Kept = QuantizedWeight<Form>
            return rows
                * (Kept.valueBytes(columns: columns)
                    + Kept.scaleCount(columns: columns) * MemoryLayout<Form.Scale>.stride)
        }
        return switch self {
        case .int8: bytes(Int8Form.self)
        case .int6: bytes(Int6Form.self)
        case .int4: bytes(Int4Form.self)
        case .lossless: rows * columns / 2 * 3
        }
    }

    /// Memory for matrices in this form.
    package func memory(_ shapes: [MatrixShape], purpose: String) throws(QwenSFTError) -> any WeightMemory {
        switch self {
        case .int8: try QuantizedMemory<Int8Form>(shapes, purpose: purpose)
        case .int6: try QuantizedMemory<Int6Form>(shapes, purpose: purpose)
        case .int4: try QuantizedMemory<Int4Form>(shapes, purpose: purpose)
        case .lossless: try LosslessMemory(shapes, purpose: purpose)
        }
    }
}
