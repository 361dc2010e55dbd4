import CKernels

/// What this processor is good at, as far as the way to a result depends on it. Nothing else asks.
enum Processor {
    /// Whether it multiplies bfloat16 numbers itself: then activations are rounded to bfloat16 on their way into a product.
    static var multipliesBFloat16: Bool { qk_multiplies_bf16() != 0 }

    /// Whether float32 products of few rows have more than plain kernels; where not, see `hasPanelKernels`.
    static var hasFewRowsKernels: Bool { qk_f32_few_rows_is_fast() != 0 }

    /// Whether products of packed panels have more than plain kernels: with every set but plain.
    static var hasPanelKernels: Bool { InstructionSet.current != .plain }

    /// Whether integers of 16 bits are multiplied faster than what weights in few bits would become otherwise, float32 or bfloat16.
    static var prefersIntegers: Bool { qk_multiplies_i16() != 0 && !multipliesBFloat16 }
}
