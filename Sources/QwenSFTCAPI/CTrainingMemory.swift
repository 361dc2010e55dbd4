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
            let plan = try QwenSFTCAPI.options(options).core()
            let configuration = try Configuration(directory: path(directory, directory_size, "directory"))
            let result = try plan.memory(configuration)
            return sft_training_memory(
                weights: UInt64(result.weights), gradients: UInt64(result.gradients),
                optimizer: UInt64(result.optimizer), activations: UInt64(result.activations),
                total: UInt64(result.total), available: UInt64(AvailableMemory.bytes ?? 0))
        }
    }
}

/// The arguments of `TrainingMemory`.
struct MemoryPlan {
    var tokens = 4096
    var supervised: Int?
    var accumulation = 1
    var dtype: DType?
    var optimizer = Optimizer.sgd(SGD())
    var options = TrainerOptions()
    var quantization: Quantization?
    var adapter: LoRAConfiguration?

    func memory(_ configuration: Configuration) throws(QwenSFTError) -> TrainingMemory {
        guard let adapter else {
            guard quantization == nil else {
                throw QwenSFTError(.unsupported, "'quantization': only an adapter can be trained on quantized weights")
            }
            return TrainingMemory(
                configuration, dtype: dtype ?? .float32, optimizer: optimizer, options: options, tokens: tokens,
                supervised: supervised, accumulation: accumulation)
        }
        return try TrainingMemory(
            configuration, adapter: adapter, dtype: dtype ?? .float32, quantization: quantization, optimizer: optimizer,
            options: options, tokens: tokens, supervised: supervised)
    }

    /// Whether gradients are clipped; at which norm makes no difference.
    var clipsGradients: Bool {
        get { options.maxGradientNorm != nil }
        set { options.maxGradientNorm = newValue ? 1 : nil }
    }
}

extension sft_memory_options: OptionsStruct {
    static var coreDefaults: MemoryPlan { MemoryPlan() }
    static var fields: [OptionsField<Self, MemoryPlan>] {
        [
            .count("tokens", \.tokens, \.tokens),
            .size("supervised_tokens", \.supervised_tokens, \.supervised),
            .count("accumulation", \.accumulation, \.accumulation),
            .constant("dtype", dtypes, \.dtype, \.dtype),
            .constant("optimizer", optimizers, \.optimizer, \.optimizer),
            .flag("clips_gradients", \.clips_gradients, \.clipsGradients),
            .flag("recomputation", \.recomputation, \.options.recomputation),
            .constant("quantization", quantizations, \.quantization, \.quantization),
            .reserved(\.reserved),
            OptionsField(
                read: { (options, core) throws(QwenSFTError) in
                    guard options.adapter != nil else { return }
                    core.adapter = try LoRAConfiguration(
                        parsing: UnsafeRawBufferPointer(utf8(options.adapter, options.adapter_size, "adapter")))
                }, write: { _, _ in }),
        ]
    }
}
