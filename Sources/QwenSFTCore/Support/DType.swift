/// Types of floating-point elements, in memory and in files; raw values are torch's names.
public enum DType: String, Sendable, CaseIterable {
    case float32
    case bfloat16
    case float16

    /// Bytes of one element.
    public var byteCount: Int { self == .float32 ? 4 : 2 }
}
