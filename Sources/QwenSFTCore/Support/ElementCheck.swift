import CKernels

/// The first element that is infinite or not a number; nil if all are finite. `elements` is aligned.
package func firstNonFinite(_ elements: UnsafeRawPointer, _ dtype: DType, count: Int) -> Int? {
    switch dtype {
    case .float32:
        let values = elements.assumingMemoryBound(to: Float.self)
        guard qk_largest_f32(values, count) >= 0x7F80_0000 else { return nil }
        return (0..<count).first { !values[$0].isFinite }
    case .bfloat16, .float16:
        let infinity: UInt16 = dtype == .bfloat16 ? 0x7F80 : 0x7C00
        let values = elements.assumingMemoryBound(to: UInt16.self)
        guard qk_largest_16(values, count) >= infinity else { return nil }
        return (0..<count).first { values[$0] & 0x7FFF >= infinity }
    }
}

/// What becomes of finite numbers in a narrower type.
package struct NarrowingLoss: Sendable {
    /// Numbers that round to infinity, and the first of them.
    package var overflowing = 0
    package var firstOverflowing: Int?
    /// Numbers other than 0 that round to 0.
    package var vanishing = 0

    /// None.
    package init() {}

    /// - Parameter dtype: bfloat16 or float16; float32 has room for all.
    package init(_ values: UnsafePointer<Float>, count: Int, to dtype: DType) {
        // Magnitudes as bits: halfway between the largest number and what would be the next; half of the smallest.
        let (tooLarge, tooSmall): (UInt32, UInt32)
        switch dtype {
        case .float32: return
        case .bfloat16: (tooLarge, tooSmall) = (0x7F7F_8000, 0x0000_8000)
        case .float16: (tooLarge, tooSmall) = (0x477F_F000, 0x3300_0000)
        }
        vanishing = qk_count_vanishing_f32(values, count, tooSmall)
        guard qk_largest_f32(values, count) >= tooLarge else { return }
        for index in 0..<count where values[index].magnitude.bitPattern >= tooLarge {
            overflowing += 1
            firstOverflowing = firstOverflowing ?? index
        }
    }
}

/// An element's place in a tensor, as a message gives it: "[3, 17]".
package func elementPlace(_ index: Int, shape: [Int]) -> String {
    var rest = index
    var place: [Int] = []
    for size in shape.reversed() {
        place.insert(rest % max(size, 1), at: 0)
        rest /= max(size, 1)
    }
    return "\(place)"
}
