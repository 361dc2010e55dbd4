// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 7, second part: what training takes.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_memory_options_init")
public func sft_memory_options_init(
    _ options: UnsafeMutablePointer<sft_memory_options>!, _ struct_size: Int
) -> sft_status {
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_estimate_training_memory")
public func sft_estimate_training_memory(
    _ directory: UnsafePointer<CChar>!, _ directory_size: Int, _ options: UnsafePointer<sft_memory_options>!,
    _ memory: UnsafeMutablePointer<sft_training_memory>!, _ memory_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try fill(memory, memory_size, "memory") { () throws(QwenSFTError) in
            let arguments = try QwenSFTCAPI.options(options).core()
            let configuration = try Configuration(directory: path(directory, directory_size, "directory"))
            let result = try TrainingMemory(
                configuration, arguments.setup(for: configuration), tokens: arguments.tokens,
                supervised: arguments.supervised,
                accumulation: arguments.accumulation)
            return sft_training_memory(
                weights: UInt64(result.weights), gradients: UInt64(result.gradients),
                optimizer: UInt64(result.optimizer), activations: UInt64(result.activations),
                total: UInt64(result.total), available: UInt64(AvailableMemory.bytes ?? 0))
        }
    }
}

/// The arguments of `TrainingMemory`.
struct MemoryArguments {
    var setup = TrainingSetup()
    var tokens = 4096
    var supervised: Int?
    var accumulation = 1
    /// nil: as the configuration says of the files.
    var dtype: DType? = .float32

    /// The setup for a model of this configuration.
    func setup(for configuration: Configuration) -> TrainingSetup {
        var setup = setup
        setup.dtype = dtype ?? (configuration.dtype == .bfloat16 ? .bfloat16 : .float32)
        return setup
    }

    /// Whether gradients are clipped; at which norm makes no difference.
    var clipsGradients: Bool {
        get { setup.options.maxGradientNorm != nil }
        set { setup.options.maxGradientNorm = newValue ? 1 : nil }
    }
}

extension sft_memory_options: OptionsStruct {
    static var coreDefaults: MemoryArguments { MemoryArguments() }
    static var fields: [OptionsField<Self, MemoryArguments>] {
        [
            .count("tokens", \.tokens, \.tokens),
            .size("supervised_tokens", \.supervised_tokens, \.supervised),
            .count("accumulation", \.accumulation, \.accumulation),
            .constant("dtype", memoryDTypes, \.dtype, \.dtype),
            .constant("optimizer", optimizers, \.optimizer, \.setup.optimizer),
            .flag("clips_gradients", \.clips_gradients, \.clipsGradients),
            .flag("recomputation", \.recomputation, \.setup.options.recomputation),
            .constant("quantization", quantizations, \.quantization, \.setup.quantization),
            .reserved(\.reserved),
            OptionsField(
                read: { (options, core) throws(QwenSFTError) in
                    guard options.adapter != nil else { return }
                    core.setup.adapter = try LoRAConfiguration(
                        parsing: UnsafeRawBufferPointer(utf8(options.adapter, options.adapter_size, "adapter")))
                }, write: { _, _ in }),
        ]
    }
}
