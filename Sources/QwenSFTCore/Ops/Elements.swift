import CKernels

/// Passes over a whole weight or gradient.
enum Elements {
    /// A worker's pieces are this long, so that a float32 image of a bfloat16 piece stays in the L1 cache.
    static let piece = 4096

    /// weight *= factor.
    static func scale(_ weight: Weight, by factor: Float, rounding: Rounding, compute: Compute) {
        forEachPiece(of: weight, rounding: rounding, compute: compute) { values, _, count in
            qk_scale(values, factor, count)
        }
    }

    /// y += a·x.
    static func axpy(_ y: UnsafeMutablePointer<Float>, _ a: Float, _ x: UnsafePointer<Float>, count: Int) {
        qk_axpy(y, a, x, count)
    }

    /// Calls `body` with float32 values of every piece of the weight and its place, and stores what it makes of them.
    static func forEachPiece(
        of weight: Weight, rounding: Rounding, compute: Compute,
        _ body: (_ values: UnsafeMutablePointer<Float>, _ start: Int, _ count: Int) -> Void
    ) {
        compute.run { worker in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: piece) { image in
                guard let image = image.baseAddress else { return }
                let mine = worker.range(of: weight.count, unit: piece)
                var start = mine.lowerBound
                while start < mine.upperBound {
                    let count = min(piece, mine.upperBound - start)
                    if weight.dtype == .bfloat16 {
                        qk_f32_from_bf16_run(image, weight.bfloat16s + start, count)
                        body(image, start, count)
                        rounding.store(weight.bfloat16s + start, image, count: count, first: start)
                    } else {
                        body(weight.floats + start, start, count)
                    }
                    start += count
                }
            }
        }
    }

    /// Σ x², in double precision over pieces in a fixed order.
    static func sumOfSquares(_ x: UnsafePointer<Float>, count: Int, compute: Compute) -> Double {
        let pieces = (count + piece - 1) / piece
        let workers = compute.threads
        return withUnsafeTemporaryAllocation(of: Double.self, capacity: workers) { sums in
            sums.initialize(repeating: 0)
            ThreadPool.shared.run(threads: workers) { worker in
                var sum = 0.0
                for index in worker.range(of: pieces) {
                    sum += qk_sum_squares(x + index * piece, min(piece, count - index * piece))
                }
                sums[worker.index] = sum
            }
            return sums.reduce(0, +)
        }
    }
}
