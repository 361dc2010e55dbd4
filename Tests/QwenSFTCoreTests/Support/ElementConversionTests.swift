import QwenSFTCore
import Testing

/// Conversions against plain definitions, over every 16-bit pattern and around every rounding boundary.
@Suite struct ElementConversionTests {
    /// `T` and `U` are the bits of the two types.
    private func converted<T: FixedWidthInteger, U: FixedWidthInteger>(
        _ source: [T], _ from: DType, _ to: DType, _: U.Type = U.self
    ) -> [U] {
        // One byte off on both sides: pointers may be unaligned.
        let input = [0] + source.withUnsafeBytes { Array($0) }
        var output = [UInt8](repeating: 0, count: 1 + source.count * to.byteCount)
        input.withUnsafeBytes { input in
            output.withUnsafeMutableBytes { output in
                guard let i = input.baseAddress, let o = output.baseAddress else { return }
                convertElements(from: i + 1, from, to: o + 1, to, count: source.count)
            }
        }
        return (0..<source.count).map { i in
            output.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 1 + i * to.byteCount, as: U.self) }
        }
    }

    /// Nearest bfloat16 by comparing distances in Double.
    private func plainBFloat16(_ value: Float) -> UInt16 {
        let low = UInt16(truncatingIfNeeded: value.bitPattern >> 16)
        let high = low &+ 1
        func number(_ bits: UInt16) -> Double {
            // The step past the largest finite number counts as if the exponent went on.
            bits & 0x7FFF == 0x7F80
                ? (bits & 0x8000 == 0 ? 1 : -1) * 0x1p128 : Double(Float(bitPattern: UInt32(bits) << 16))
        }
        let exact = Double(value)
        let (toLow, toHigh) = (abs(exact - number(low)), abs(number(high) - exact))
        return toLow < toHigh || toLow == toHigh && low & 1 == 0 ? low : high
    }

    private let all16 = Array(UInt16.min...UInt16.max)

    @Test func widening() {
        let fromHalf: [UInt32] = converted(all16, .float16, .float32)
        let fromBrain: [UInt32] = converted(all16, .bfloat16, .float32)
        for (i, bits) in all16.enumerated() {
            let half = Float(Float16(bitPattern: bits))
            if half.isNaN {
                #expect(Float(bitPattern: fromHalf[i]).isNaN)
            } else {
                #expect(fromHalf[i] == half.bitPattern)
            }
            #expect(fromBrain[i] == UInt32(bits) << 16)
        }
    }

    @Test func narrowing() {
        var patterns: [UInt32] = []
        for high in UInt32(0)...0xFFFF {
            for low: UInt32 in [0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF] {
                patterns.append(high << 16 | low)
            }
        }
        let halves: [UInt16] = converted(patterns, .float32, .float16)
        let brains: [UInt16] = converted(patterns, .float32, .bfloat16)
        var wrong = 0
        for (i, pattern) in patterns.enumerated() {
            let value = Float(bitPattern: pattern)
            if value.isNaN {
                if !Float16(bitPattern: halves[i]).isNaN || !Float(bitPattern: UInt32(brains[i]) << 16).isNaN {
                    wrong += 1
                }
            } else {
                if halves[i] != Float16(value).bitPattern { wrong += 1 }
                if brains[i] != (value.isInfinite ? UInt16(pattern >> 16) : plainBFloat16(value)) { wrong += 1 }
            }
        }
        #expect(wrong == 0)
    }

    @Test func betweenTheNarrowTypes() {
        for (from, to) in [(DType.bfloat16, DType.float16), (.float16, .bfloat16)] {
            let direct: [UInt16] = converted(all16, from, to)
            let wide: [UInt32] = converted(all16, from, .float32)
            #expect(direct == converted(wide, .float32, to))
            #expect(all16 == converted(all16, from, from))
        }
    }
}
