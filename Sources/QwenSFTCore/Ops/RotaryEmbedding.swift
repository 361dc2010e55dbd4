import CKernels
import Glibc

/// Rotary position embedding (Su et al., 2021) in the half-split layout: element i of a head turns with element
/// i + headDimension/2 by position · θ^(−2i/headDimension).
package final class RotaryEmbedding {
    private let theta: Double
    let half: Int
    private var cosines: [Float] = []
    private var sines: [Float] = []

    package init(theta: Double, headDimension: Int) {
        self.theta = theta
        half = headDimension / 2
    }

    /// Makes the tables reach position `count` − 1.
    ///
    /// Frequencies and angles are rounded to float32 as transformers does, because that is what models were trained with.
    package func reserve(_ count: Int) {
        let have = cosines.count / half
        guard have < count else { return }
        let want = max(count, 2 * have)
        let frequencies = (0..<half).map { 1 / Float(pow(theta, Double(2 * $0) / Double(2 * half))) }
        cosines.reserveCapacity(want * half)
        sines.reserveCapacity(want * half)
        for position in have..<want {
            for frequency in frequencies {
                let angle = Double(Float(position) * frequency)
                cosines.append(Float(cos(angle)))
                sines.append(Float(sin(angle)))
            }
        }
    }

    /// Adds `bias` (or nothing) to every row of x (rows, ld) and rotates its first `heads` heads in place.
    package func forward(
        _ x: UnsafeMutablePointer<Float>, ld: Int, bias: UnsafePointer<Float>?, positions: UnsafePointer<Int32>,
        rows: Int,
        heads: Int, compute: Compute
    ) {
        cosines.withUnsafeBufferPointer { cosines in
            sines.withUnsafeBufferPointer { sines in
                guard let cosines = cosines.baseAddress, let sines = sines.baseAddress else { return }
                compute.rows(rows) { mine in
                    for row in mine {
                        let at = Int(positions[row]) * half
                        if let bias { qk_add(x + row * ld, bias, ld) }
                        qk_rope(x + row * ld, cosines + at, sines + at, heads, half)
                    }
                }
            }
        }
    }

    /// Rotates `heads` heads of one row in place; the tables must reach `position`.
    func rotate(_ x: UnsafeMutablePointer<Float>, position: Int, heads: Int) {
        cosines.withUnsafeBufferPointer { cosines in
            sines.withUnsafeBufferPointer { sines in
                guard let cosines = cosines.baseAddress, let sines = sines.baseAddress else { return }
                qk_rope(x, cosines + position * half, sines + position * half, heads, half)
            }
        }
    }

    /// Turns gradients back: the rotation's transpose is the rotation by the negative angle.
    package func backward(
        _ dx: UnsafeMutablePointer<Float>, ld: Int, positions: UnsafePointer<Int32>, rows: Int, heads: Int,
        compute: Compute
    ) {
        cosines.withUnsafeBufferPointer { cosines in
            sines.withUnsafeBufferPointer { sines in
                guard let cosines = cosines.baseAddress, let sines = sines.baseAddress else { return }
                compute.run { worker in
                    withUnsafeTemporaryAllocation(of: Float.self, capacity: half) { negative in
                        guard let negative = negative.baseAddress else { return }
                        for row in worker.range(of: rows) {
                            let at = Int(positions[row]) * half
                            for i in 0..<half { negative[i] = -sines[at + i] }
                            qk_rope(dx + row * ld, cosines + at, negative, heads, half)
                        }
                    }
                }
            }
        }
    }
}
