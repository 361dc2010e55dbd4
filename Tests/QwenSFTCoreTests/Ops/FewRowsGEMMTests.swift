import CKernels
import QwenSFTCore
import Testing

/// The float32 products for few rows against sums in double precision.
///
/// Tolerance: (n + 4)·2⁻²⁴ for sums of n products below 1/4; measured at most a quarter of that.
/// Where the processor has no AVX-512 nothing calls these kernels, and there is nothing to compare.
@Suite struct FewRowsGEMMTests {
    struct Case: CustomTestStringConvertible {
        let rows: Int, outputs: Int, inputs: Int
        var testDescription: String { "\(rows) x \(outputs) x \(inputs)" }
    }
    static let cases = [
        (1, 1, 1), (5, 7, 3), (16, 24, 16), (17, 25, 65), (32, 97, 67), (33, 130, 128), (50, 300, 101), (64, 96, 200),
    ]
    .map { Case(rows: $0.0, outputs: $0.1, inputs: $0.2) }

    private func random(_ count: Int, seed: UInt64) -> [Float] {
        var source = RandomSource(seed: seed)
        return (0..<count).map { _ in Float(source.uniform()) - 0.5 }
    }

    @Test(arguments: cases, [false, true])
    func forward(_ c: Case, accumulate: Bool) {
        let x = random(c.rows * c.inputs, seed: 1)
        let w = random(c.outputs * c.inputs, seed: 2)
        let before = random(c.rows * c.outputs, seed: 3)
        var y = before
        let width = (c.rows + 15) / 16 * 16
        var panel = [Float](repeating: .nan, count: width * c.inputs)
        qk_f32_pack(&panel, width, x, c.inputs, c.rows, 0, c.inputs / 2)
        qk_f32_pack(&panel, width, x, c.inputs, c.rows, c.inputs / 2, c.inputs)
        qk_f32_forward(&y, c.outputs, panel, width, c.rows, w, c.inputs, c.outputs, c.inputs, accumulate ? 1 : 0)
        for row in 0..<c.rows {
            for output in 0..<c.outputs {
                var sum = accumulate ? Double(before[row * c.outputs + output]) : 0
                for k in 0..<c.inputs { sum += Double(x[row * c.inputs + k]) * Double(w[output * c.inputs + k]) }
                #expect(abs(Double(y[row * c.outputs + output]) - sum) < Double(c.inputs + 4) * 0x1p-24)
            }
        }
    }

    @Test(arguments: cases, [false, true])
    func inputGradient(_ c: Case, accumulate: Bool) {
        let dy = random(c.rows * c.outputs, seed: 4)
        let w = random(c.outputs * c.inputs, seed: 5)
        let before = random(c.rows * c.inputs, seed: 6)
        var dx = before
        qk_f32_input_gradient(
            &dx, c.inputs, dy, c.outputs, c.rows, w, c.inputs, c.outputs, c.inputs, accumulate ? 1 : 0)
        for row in 0..<c.rows {
            for k in 0..<c.inputs {
                var sum = accumulate ? Double(before[row * c.inputs + k]) : 0
                for output in 0..<c.outputs {
                    sum += Double(dy[row * c.outputs + output]) * Double(w[output * c.inputs + k])
                }
                #expect(abs(Double(dx[row * c.inputs + k]) - sum) < Double(c.outputs + 4) * 0x1p-24)
            }
        }
    }

    /// Sums as long as a vocabulary, of numbers of one sign: added one after the other they would be off by some 1e-5.
    /// Measured: 9.0e-7, times three.
    @Test func longSums() {
        let (rows, long, short) = (3, 150_000, 16)
        let a = random(rows * long, seed: 7).map { $0 + 0.5 }
        let b = random(long * short, seed: 8).map { $0 + 0.5 }  // (long, short)
        var bTransposed = [Float](repeating: 0, count: b.count)
        for i in 0..<long { for j in 0..<short { bTransposed[j * long + i] = b[i * short + j] } }
        var panel = [Float](repeating: .nan, count: 16 * long)
        var (y, dx) = ([Float](repeating: 0, count: rows * short), [Float](repeating: 0, count: rows * short))
        qk_f32_pack(&panel, 16, a, long, rows, 0, long)
        qk_f32_forward(&y, short, panel, 16, rows, bTransposed, long, short, long, 0)
        qk_f32_input_gradient(&dx, short, a, long, rows, b, short, long, short, 0)
        for row in 0..<rows {
            for j in 0..<short {
                var sum = 0.0
                for i in 0..<long { sum += Double(a[row * long + i]) * Double(b[i * short + j]) }
                #expect(abs(Double(y[row * short + j]) / sum - 1) < 3e-6)
                #expect(abs(Double(dx[row * short + j]) / sum - 1) < 3e-6)
            }
        }
    }
}
