import Foundation
import QwenSFTCore
import Testing

@Suite struct ArenaTests {
    @Test func steadyStateTakesNothingFromTheSystem() throws {
        let arena = Arena(purpose: "test")
        for _ in 0..<2 {
            for count in [10, 400_000, 3_000_000, 5] { _ = try arena.floats(count) }
            arena.reset()
        }
        let held = arena.byteCount
        for count in [10, 400_000, 3_000_000, 5] { (try arena.floats(count))[count - 1] = 1 }
        #expect(arena.byteCount == held)
    }

    @Test func releaseGivesTheSameMemoryAgain() throws {
        let arena = Arena(purpose: "test")
        _ = try arena.floats(100)
        let mark = arena.mark
        let first = try arena.floats(1 << 20)
        arena.release(to: mark)
        #expect(try arena.floats(1 << 20) == first)
    }

    @Test func impossibleSizesAreErrors() {
        let arena = Arena(purpose: "activations")
        #expect(throws: QwenSFTError.self) { try arena.floats(Int.max / 2) }
    }
}
