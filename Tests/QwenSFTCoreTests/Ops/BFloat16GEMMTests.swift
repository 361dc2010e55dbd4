import CKernels
import Testing

@testable import QwenSFTCore

/// Each product against a float64 sum, on sizes around every block boundary, for every variant of the kernels.
@Suite(.serialized) struct BFloat16GEMMTests {
    /// How a variant is reached.
    enum Variant: String, CaseIterable {
        case native, scalarBlocks, panels, panelsScalar

        func run<T>(_ body: () throws -> T) rethrows -> T {
            switch self {
            case .native: break
            case .scalarBlocks, .panelsScalar: qk_limit_isa(Int32(QK_ISA_SCALAR))
            case .panels: qk_limit_isa(Int32(QK_ISA_AVX512))
            }
            defer { qk_limit_isa(Int32(QK_ISA_AVX512_BF16)) }
            return try body()
        }
    }
}
