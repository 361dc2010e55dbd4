import CKernels

/// Passes over a run of float32 numbers that leave one number.
extension UnsafeBufferPointer<Float> {
    /// The largest number; a NaN may be passed over.
    var largest: Float { qk_max_value(baseAddress, count) }

    /// Σ exp(x − subtracted).
    func sumOfExponentials(subtracting subtracted: Float) -> Float { qk_sum_exp(baseAddress, count, subtracted) }

    /// Σ x²: finite only if every number is.
    var sumOfSquares: Double { qk_sum_squares(baseAddress, count) }
}
