import CKernels
import QwenSFTCore
import Testing

@Suite(.processWide) struct InstructionSetTests {
    @Test func eachHoldsThoseBeforeIt() {
        for (set, next) in zip(InstructionSet.allCases, InstructionSet.allCases.dropFirst()) {
            #expect(set < next && set.mask & next.mask == set.mask)
        }
        #expect(InstructionSet.current == .available)
        #expect(InstructionSet.capabilities.count == qk_processor_capabilities().nonzeroBitCount)
        #expect(InstructionSet.capabilities.contains("avx2") == (InstructionSet.available >= .avx2))
        #expect(InstructionSet.capabilities.allSatisfy { !$0.isEmpty })
    }

    @Test(arguments: InstructionSet.allCases) func isTheLimit(_ set: InstructionSet) {
        withInstructionSet(set) { #expect(InstructionSet.current == min(set, .available)) }
    }

    @Test func isRefusedForWhatIsNoneAndOnceSomethingWasComputed() {
        #expect(throws: QwenSFTError.self) { try InstructionSet.limit(toSetNamed: "AVX2") }
        for other in [InstructionSet.avx2, .neon] where !InstructionSet.allCases.contains(other) {
            let error = #expect(throws: QwenSFTError.self) { try InstructionSet.limit(toSetNamed: other.rawValue) }
            #expect(error?.code == .invalidArgument && error?.message.contains("'isa' is '\(other)'") == true)
        }
        ThreadPool.shared.run { _ in }
        let error = #expect(throws: QwenSFTError.self) { try InstructionSet.limit(to: .plain) }
        #expect(error?.code == .unsupported)
        #expect(InstructionSet.current == .available)
    }
}
