import Glibc
import QwenSFTCore
import Testing

/// States of trainers that are read: all of it or nothing.
@Suite(.processWide) struct TrainingStateTests {
    let directory: TestDirectory
    init() throws { directory = try TestDirectory() }

    private func trainer(steps: Int, seed: Int = 1) throws -> Trainer {
        let trainer = try Trainer(RandomModel(seed: seed).model(), optimizer: .adamW(AdamW(learningRate: 1e-3)))
        for _ in 0..<steps { try trainer.step(makeBatch([[1, 2, 3, 4]])) }
        return trainer
    }

    private func bytes(of trainer: Trainer) throws -> [UInt8] {
        try trainer.saveState(to: directory.path + "/check")
        return try directory.read("check")
    }

    /// Somebody cuts the file while it is read. The header and the first tensors are fine by then.
    @Test func aStateThatIsCutChangesNothing() throws {
        try trainer(steps: 3).saveState(to: directory.path + "/state")
        let whole = try directory.read("state")
        let other = try trainer(steps: 1, seed: 2)
        let before = try bytes(of: other)
        for part in 1..<10 {
            let length = whole.count * part / 10
            try directory.write("cut", whole)
            expectError(.invalidFile, "cut: was cut to \(length) bytes while it was read") {
                try other.loadState(from: directory.path + "/cut") { (_: JSONFields) throws(QwenSFTError) in
                    truncate(directory.path + "/cut", off_t(length))
                }
            }
            #expect(try bytes(of: other) == before)
        }
        try other.loadState(from: directory.path + "/state")
        #expect(try bytes(of: other) == whole)
    }

    @Test(arguments: [Float.nan, .infinity, -1e-30]) func impossibleMomentsAreRefused(value: Float) throws {
        try trainer(steps: 3).saveState(to: directory.path + "/state")
        let file = try SafetensorsFile(directory.path + "/state")
        let whole = try directory.read("state")
        let other = try trainer(steps: 1, seed: 2)
        let before = try bytes(of: other)
        for prefix in ["first.", "second."] {
            if prefix == "first.", value.isFinite { continue }
            let name = prefix + "model.layers.1.mlp.up_proj.weight"
            let tensor = try #require(file.tensors.first { $0.name == name })
            var changed = whole
            let place = tensor.offset + 4 * (2 * 16 + 7)
            withUnsafeBytes(of: value) { changed.replaceSubrange(place..<place + 4, with: $0) }
            try directory.write("changed", changed)
            expectError(.invalidFile, "changed: tensor '\(name)' is \(value) at [2, 7]") {
                try other.loadState(from: directory.path + "/changed")
            }
            #expect(try bytes(of: other) == before)
        }
    }
}
