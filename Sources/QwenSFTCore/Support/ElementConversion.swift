import CKernels

/// Converts `count` elements; the two areas must not overlap. Either pointer may be unaligned.
///
/// To a narrower format: round to nearest, ties to even; what is too large becomes infinite; a NaN stays a NaN.
package func convertElements(
    from source: UnsafeRawPointer, _ sourceType: DType, to target: UnsafeMutableRawPointer, _ targetType: DType,
    count: Int
) {
    switch (sourceType, targetType) {
    case (.float32, .float32), (.bfloat16, .bfloat16), (.float16, .float16):
        target.copyMemory(from: source, byteCount: count * sourceType.byteCount)
    case (.bfloat16, .float32):
        qk_f32_from_bf16_run(
            target.assumingMemoryBound(to: Float.self), source.assumingMemoryBound(to: UInt16.self), count)
    case (.float16, .float32):
        qk_f32_from_f16_run(
            target.assumingMemoryBound(to: Float.self), source.assumingMemoryBound(to: UInt16.self), count)
    case (.float32, .bfloat16):
        qk_bf16_from_f32_run(
            target.assumingMemoryBound(to: UInt16.self), source.assumingMemoryBound(to: Float.self), count)
    case (.float32, .float16):
        for i in 0..<count {
            let bits = source.loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self)
            target.storeBytes(of: float16(bits), toByteOffset: 2 * i, as: UInt16.self)
        }
    case (.bfloat16, .float16), (.float16, .bfloat16):
        // Through float32, a little at a time.
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 64) { buffer in
            guard let middle = buffer.baseAddress else { return }
            var done = 0
            while done < count {
                let part = min(1024, count - done)
                convertElements(from: source + 2 * done, sourceType, to: middle, .float32, count: part)
                convertElements(from: middle, .float32, to: target + 2 * done, targetType, count: part)
                done += part
            }
        }
    }
}

/// Rounds `count` float64 numbers, which may be unaligned, to float32; what is too large becomes infinite.
package func convertFloat64(
    from source: UnsafeRawPointer, to target: UnsafeMutablePointer<Float>, count: Int
) {
    for i in 0..<count { target[i] = Float(source.loadUnaligned(fromByteOffset: 8 * i, as: Double.self)) }
}

/// The nearest float16 of a float32, bits in, bits out: a loop over it vectorises on every processor.
@inline(__always)
package func float16(_ bits: UInt32) -> UInt16 {
    let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
    let magnitude = bits & 0x7FFF_FFFF
    if magnitude > 0x7F80_0000 { return sign | 0x7E00 }  // NaN
    if magnitude >= 0x4780_0000 { return sign | 0x7C00 }  // 65536 and more
    if magnitude < 0x3880_0000 {
        // Below 2⁻¹⁴, subnormal: adding 0.5 makes float32's own rounding cut at 2⁻²⁴.
        let sum = Float(bitPattern: magnitude) + 0.5
        return sign | UInt16(truncatingIfNeeded: sum.bitPattern &- 0x3F00_0000)
    }
    let rounded = magnitude &+ 0xFFF &+ (magnitude >> 13 & 1)
    return sign | UInt16(truncatingIfNeeded: (rounded &- 0x3800_0000) >> 13)
}
