import CKernels
import QwenSFTCore
import Testing

/// Conversions between the number formats, every variant against the definition of one value.
@Suite(.serialized, .processWide) struct ConversionKernelTests {
    static let sets = InstructionSet.allCases

    @Test(arguments: sets) func widensEveryBFloat16(_ set: InstructionSet) {
        let all = (0...UInt16.max).map { $0 }
        var out = [Float](repeating: 0, count: all.count)
        withInstructionSet(set) { qk_f32_from_bf16_run(&out, all, all.count) }
        let wrong = all.indices.filter { out[$0].bitPattern != UInt32(all[$0]) << 16 }
        #expect(wrong.isEmpty)
    }

    @Test(arguments: sets) func widensEveryFloat16(_ set: InstructionSet) {
        let all = (0...UInt16.max).map { $0 }
        var out = [Float](repeating: 0, count: all.count)
        withInstructionSet(set) { qk_f32_from_f16_run(&out, all, all.count) }
        let wrong = all.indices.filter { i in
            let exact = Float(Float16(bitPattern: all[i]))
            return exact.isNaN ? !out[i].isNaN : out[i].bitPattern != exact.bitPattern
        }
        #expect(wrong.isEmpty)
    }

    /// Around every bfloat16: itself, just below, at and above the middle to the next one.
    @Test(arguments: sets) func roundsToTheNearestTiesToEven(_ set: InstructionSet) {
        let offsets: [UInt32] = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff]
        let values = (0...UInt16.max).flatMap { upper in offsets.map { Float(bitPattern: UInt32(upper) << 16 | $0) } }
        var out = [UInt16](repeating: 0, count: values.count + 1)
        withInstructionSet(set) { qk_bf16_from_f32_run(&out, values, values.count) }
        let wrong = values.indices.filter { i in
            let bits = values[i].bitPattern
            let upper = UInt16(bits >> 16)
            let lower = bits & 0xffff
            if values[i].isNaN { return !Float(bitPattern: UInt32(out[i]) << 16).isNaN }
            let isUp = lower > 0x8000 || (lower == 0x8000 && upper & 1 == 1)
            return out[i] != upper + (isUp ? 1 : 0)
        }
        #expect(wrong.isEmpty)
        #expect(out.last == 0)
    }

    @Test(arguments: sets) func roundsStochasticallyAsDefined(_ set: InstructionSet) {
        let key = qk_round_key(a: 123, b: 456)
        var values = (0..<1000).map { Float($0 - 500) * 0.37 }
        values[10] = .nan
        values[20] = Float(bitPattern: 0xffff_ffff)
        values[40] = -.infinity
        for first in [0, 1, 31, 32, 95, 1 << 33] as [UInt64] {
            var out = [UInt16](repeating: 0, count: values.count)
            withInstructionSet(set) { qk_bf16_from_f32_stochastic_run(&out, values, values.count, first, key) }
            let wrong = values.indices.filter { i in
                if values[i].isNaN { return !Float(bitPattern: UInt32(out[i]) << 16).isNaN }
                let noise = qk_round_noise(key, 0, first + UInt64(i))
                return noise > 0xffff || out[i] != UInt16(truncatingIfNeeded: (values[i].bitPattern &+ noise) >> 16)
            }
            #expect(wrong.isEmpty)
        }
    }

    /// The random bits are uniform and do not repeat from key to key or from element to element.
    @Test func noiseIsUniform() {
        let count = 1 << 16
        var sum = 0.0
        var along = 0.0
        var across = 0.0
        var bits = [Int](repeating: 0, count: 16)
        let key = qk_round_key(a: 7, b: 9)
        let next = qk_round_key(a: 8, b: 9)
        for i in 0..<UInt64(count) {
            let noise = qk_round_noise(key, 0, i)
            let x = Double(noise) / 65536 - 0.5
            sum += x
            along += x * (Double(qk_round_noise(key, 0, i + 1)) / 65536 - 0.5)
            across += x * (Double(qk_round_noise(next, 0, i)) / 65536 - 0.5)
            for bit in 0..<16 where noise >> bit & 1 == 1 { bits[bit] += 1 }
        }
        // Five standard deviations each.
        let n = Double(count)
        #expect(abs(sum) < 5 * (n / 12).squareRoot())
        #expect(abs(along) < 5 * n.squareRoot() / 12 && abs(across) < 5 * n.squareRoot() / 12)
        for ones in bits { #expect(abs(Double(ones) - n / 2) < 5 * n.squareRoot() / 2) }
    }
}
