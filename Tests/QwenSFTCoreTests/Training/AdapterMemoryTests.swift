import Foundation
import QwenSFTCore
import Testing

/// What an adapter's training is said to take, beside what it takes; and what is left of adapters that are gone.
@Suite(.serialized, .processWide) struct AdapterMemoryTests {
    @Test(arguments: [nil, Quantization.int8, .int6, .int4, .lossless], [false, true])
    func theEstimateIsWhatIsTaken(_ quantization: Quantization?, recomputes: Bool) throws {
        let directory = try TestDirectory()
        var sizes = RandomModel(hidden: 256, intermediate: 640, layers: 4, headDimension: 64, vocabulary: 1000)
        sizes.positions = 512
        try sizes.write(to: directory)
        let model = try Model(directory: directory.path, dtype: .bfloat16, quantization: quantization)
        var configuration = LoRAConfiguration()
        configuration.targets = .names(["q_proj", "v_proj", "up_proj", "down_proj"])
        let adapter = try model.addAdapter(configuration)
        var setup = TrainingSetup()
        (setup.dtype, setup.quantization, setup.adapter) = (.bfloat16, quantization, configuration)
        setup.optimizer = .adamW(AdamW())
        setup.options.recomputation = recomputes
        let trainer = try Trainer(model, optimizer: setup.optimizer, options: setup.options)
        let batch = try randomBatch([256, 200], vocabulary: 1000, seed: 1, supervised: 100)
        try trainer.step(batch)
        let memory = try TrainingMemory(
            Configuration(directory: directory.path), setup, tokens: 456)
        // Rows of a quantized matrix are padded, and groups of matrices begin at multiples of 64 elements.
        let weights = model.weightBytes + adapter.parameterCount * 4
        #expect((0.98..<1.02).contains(Double(memory.weights) / Double(weights)))
        #expect((0.99..<1.01).contains(Double(memory.gradients) / Double(adapter.parameterCount * 4)))
        #expect(memory.optimizer == 2 * memory.gradients)
        // Of the arena's blocks the last is not full.
        let taken = Double(model.compute.arena.byteCount)
        #expect((0.7..<1.3).contains(Double(memory.activations) / taken), "\(memory.activations) of \(taken)")
    }

    @Test func anAdapterThatCannotBe() throws {
        let directory = try TestDirectory()
        try RandomModel().write(to: directory)
        var setup = TrainingSetup()
        setup.adapter = LoRAConfiguration()
        setup.adapter?.layers = [9]
        #expect(throws: QwenSFTError.self) {
            try TrainingMemory(Configuration(directory: directory.path), setup, tokens: 1)
        }
        (setup.adapter, setup.quantization) = (nil, .int8)
        #expect(throws: QwenSFTError.self) {
            try TrainingMemory(Configuration(directory: directory.path), setup, tokens: 1)
        }
    }

    /// Memory is where it was after adding, training and deleting adapters a thousand times.
    @Test func memoryReturns() throws {
        let model = try RandomModel().model()
        let batch = try randomBatch([9, 4], vocabulary: 150, seed: 1)
        func once() throws {
            try model.addAdapter()
            try Trainer(model, optimizer: .adamW(AdamW())).step(batch)
            try model.deleteAdapter("default")
        }
        for _ in 0..<100 { try once() }
        let before = (mapped: try pages(0), resident: try pages(1))
        for _ in 0..<1000 { try once() }
        let after = (mapped: try pages(0), resident: try pages(1))
        // Pages of 4 KiB. An adapter and its training map more than 8 MB, of which a thousand would be 8 GB.
        #expect(after.mapped - before.mapped < 16_000 && after.resident - before.resident < 2_000, "\(before) \(after)")
        #expect(model.adapterNames.isEmpty)
    }
}

/// Pages of this process, mapped (0) or resident (1).
private func pages(_ field: Int) throws -> Int {
    let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
    return Int(text.split(separator: " ")[field]) ?? 0
}
