import CKernels

/// What kernels are made for, each with those before it of its architecture. Which of them run decides the speed and, by
/// rounding, results.
public enum InstructionSet: String, CaseIterable, Comparable, CustomStringConvertible, Sendable {
    /// The base of the architecture.
    case plain
    /// With FMA and F16C.
    case avx2
    /// AVX-512 F, BW, DQ and VL.
    case avx512
    /// With AVX512_BF16, VNNI and VBMI: the processor multiplies bfloat16.
    case avx512BF16 = "avx512_bf16"
    /// What every aarch64 processor has.
    case neon
    /// With products of signed bytes, summed in fours.
    case neonDotProduct = "neon_dotprod"
    /// With products of signed and unsigned bytes.
    case neonI8MM = "neon_i8mm"

    /// Those of this architecture.
    public static var allCases: [Self] {
        #if arch(arm64)
            [.plain, .neon, .neonDotProduct, .neonI8MM]
        #else
            [.plain, .avx2, .avx512, .avx512BF16]
        #endif
    }

    /// The best one this processor has.
    public static var available: Self { best(of: qk_processor_capabilities()) }

    /// The one whose kernels run: the best available, unless it was limited.
    public static var current: Self { best(of: qk_capabilities()) }

    /// What kernels can make use of and this processor has, by name: "avx2", "fma", ….
    public static var capabilities: [String] {
        let has = qk_processor_capabilities()
        return (0..<QK_CAPABILITY_COUNT).filter { has >> UInt32($0) & 1 != 0 }
            .map { String(cString: qk_capability_name(Int32($0))) }
    }

    /// Limits kernels to those of a set and the ones before it: to measure, to report a bug, or for the same bits on different
    /// machines. OpenBLAS, which multiplies most of float32, chooses on its own (`OPENBLAS_CORETYPE`).
    /// - Throws: `invalidArgument` for one of another architecture; `unsupported` once something has been computed.
    public static func limit(to most: Self) throws(QwenSFTError) {
        guard allCases.contains(most) else { throw unknown(most.rawValue) }
        guard ThreadPool.shared.beforeFirstWork({ qk_limit_capabilities(most.mask) }) else {
            throw QwenSFTError(
                .unsupported,
                "the instruction set cannot be limited to \(most) any more: something has been computed with \(current)"
            )
        }
    }

    /// - Parameter name: one of `allCases`.
    /// - Throws: `invalidArgument` for any other name; `unsupported` once something has been computed.
    public static func limit(toSetNamed name: String) throws(QwenSFTError) {
        guard let set = Self(rawValue: name) else { throw unknown(name) }
        try limit(to: set)
    }

    private static func unknown(_ name: String) -> QwenSFTError {
        let names = allCases.map(\.rawValue).joined(separator: ", ")
        return QwenSFTError(.invalidArgument, "'isa' is '\(name)', expected one of \(names)")
    }

    public var description: String { rawValue }

    public static func < (a: Self, b: Self) -> Bool { a.mask.nonzeroBitCount < b.mask.nonzeroBitCount }

    /// Its capabilities, a bit each.
    package var mask: UInt32 {
        switch self {
        case .plain: 0
        case .avx2: UInt32(QK_SET_AVX2)
        case .avx512: UInt32(QK_SET_AVX512)
        case .avx512BF16: UInt32(QK_SET_AVX512_BF16)
        case .neon: UInt32(QK_SET_NEON)
        case .neonDotProduct: UInt32(QK_SET_NEON_DOTPROD)
        case .neonI8MM: UInt32(QK_SET_NEON_I8MM)
        }
    }

    private static func best(of has: UInt32) -> Self { allCases.last { has & $0.mask == $0.mask } ?? .plain }
}
