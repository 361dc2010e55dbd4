import QwenSFTCore
import Testing

@Suite(.serialized, .processWide) struct CheckpointProgressTests {
    @Test func openingAndSavingTellHowFarTheyAre() throws {
        var seen: [Int] = []
        var total = 0
        let model = try Model(directory: tinyModelDirectory) { done, all in
            seen.append(done)
            total = all
            return true
        }
        #expect(seen == seen.sorted() && seen.first == 0 && seen.last == total && seen.count > 4)
        let directory = try TestDirectory()
        seen = []
        try model.save(to: directory.path + "/saved", dtype: .float32) { done, all in
            seen.append(done)
            total = all
            return true
        }
        #expect(seen == seen.sorted() && seen.last == total && total == 4 * model.configuration.parameterCount)
    }

    @Test func cancelledInTheMiddle() throws {
        expectError(.cancelled, "cancelled while the weights were read") {
            try Model(directory: tinyModelDirectory) { done, total in done < total / 2 }
        }
        let directory = try TestDirectory()
        let model = try Model(directory: tinyModelDirectory)
        expectError(.cancelled, "model.safetensors: cancelled") {
            try model.save(to: directory.path + "/saved") { done, total in done < total / 2 }
        }
        #expect(try listDirectory(directory.path).isEmpty)
    }
}
