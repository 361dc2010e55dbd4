import CKernels
import Libc

/// Rotary position embedding (Su et al., 2021) in the half-split layout: element i of a head turns with element
/// i + headDimension/2 by position · θ^(−2i/headDimension).
package final class RotaryEmbedding {
    let half: Int
    private let frequencies: [Float]
    /// YaRN's factor of both tables.
    private let scale: Float
    private var cosines: [Float] = []
    private var sines: [Float] = []

    package init(theta: Double, headDimension: Int, yarn: YaRN? = nil) {
        half = headDimension / 2
        frequencies =
            yarn?.frequencies(theta: theta, headDimension: headDimension)
            ?? stride(from: 0, to: headDimension, by: 2).map {
                1 / Float(pow(theta, Double($0) / Double(headDimension)))
            }
        scale = Float(yarn?.attentionFactor ?? 1)
    }

    /// Makes the tables reach position `count` − 1.
    ///
    /// Frequencies and angles are rounded to float32 as transformers does, because that is what models were trained with.
    package func reserve(_ count: Int) {
        let have = cosines.count / half
        guard have < count else { return }
        let want = max(count, 2 * have)
        cosines.reserveCapacity(want * half)
        sines.reserveCapacity(want * half)
        for position in have..<want {
            for frequency in frequencies {
                let angle = Double(Float(position) * frequency)
                cosines.append(Float(cos(angle)) * scale)
                sines.append(Float(sin(angle)) * scale)
            }
        }
    }

    /// Adds `bias` (1, columns) or nothing to every row of x and rotates its first `heads` heads in place.
    package func forward(
        _ x: MutableMatrix<Float>, bias: Matrix<Float>?, positions: [Int32], heads: Int, compute: Compute
    ) {
        withTables { cosines, sines in
            compute.rows(x.rows) { mine in
                for row in mine {
                    let at = Int(positions[row]) * half
                    if let bias { qk_add(x.at(row), bias.base, x.columns) }
                    qk_rope(x.at(row), cosines + at, sines + at, heads, half)
                }
            }
        }
    }

    /// Rotates one head in place on the calling thread; the tables must reach `position`.
    func rotate(_ x: MutableMatrix<Float>, position: Int) {
        withTables { cosines, sines in qk_rope(x.base, cosines + position * half, sines + position * half, 1, half) }
    }

    /// Turns gradients back: the rotation's transpose is the rotation by the negative angle, with the same scale.
    package func backward(_ dx: MutableMatrix<Float>, positions: [Int32], heads: Int, compute: Compute) {
        withTables { cosines, sines in
            compute.run { worker in
                withUnsafeTemporaryAllocation(of: Float.self, capacity: half) { negative in
                    guard let negative = negative.baseAddress else { return }
                    for row in worker.range(of: dx.rows) {
                        let at = Int(positions[row]) * half
                        for i in 0..<half { negative[i] = -sines[at + i] }
                        qk_rope(dx.at(row), cosines + at, negative, heads, half)
                    }
                }
            }
        }
    }

    private func withTables(_ body: (_ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>) -> Void) {
        cosines.withUnsafeBufferPointer { cosines in
            sines.withUnsafeBufferPointer { sines in
                if let cosines = cosines.baseAddress, let sines = sines.baseAddress { body(cosines, sines) }
            }
        }
    }
}
