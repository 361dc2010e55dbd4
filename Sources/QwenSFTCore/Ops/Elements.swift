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

    /// weight += a·x, for a few elements: on the calling thread. x is as long as the weight.
    static func axpy(_ weight: Weight, _ a: Float, _ x: Matrix<Float>, compute: Compute) {
        guard case .float32(let y) = weight, !compute.isRehearsal else { return }
        qk_axpy(y.matrix.base, a, x.base, weight.count)
    }

    /// y += x for a row, on the calling thread.
    static func add(_ x: Matrix<Float>, to y: MutableMatrix<Float>) { qk_add(y.base, x.base, y.columns) }

    /// Calls `body` with float32 values of every piece of the weight and its place, and stores what it makes of them.
    static func forEachPiece(
        of weight: Weight, rounding: Rounding, compute: Compute,
        _ body: (_ values: UnsafeMutablePointer<Float>, _ start: Int, _ count: Int) -> Void
    ) {
        guard let (elements, dtype) = weight.elements else { return }
        let total = weight.count
        compute.run { worker in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: piece) { image in
                guard let image = image.baseAddress else { return }
                let mine = worker.range(of: total, unit: piece)
                var start = mine.lowerBound
                while start < mine.upperBound {
                    let count = min(piece, mine.upperBound - start)
                    if dtype == .bfloat16 {
                        let values = elements.assumingMemoryBound(to: UInt16.self) + start
                        qk_f32_from_bf16_run(image, values, count)
                        body(image, start, count)
                        rounding.store(values, image, count: count, first: start)
                    } else {
                        body(elements.assumingMemoryBound(to: Float.self) + start, start, count)
                    }
                    start += count
                }
            }
        }
    }

    /// √ Σ x²; no number in x is larger. 0 in a rehearsal.
    static func norm(_ x: Matrix<Float>, compute: Compute) -> Double {
        withUnsafeTemporaryAllocation(of: Double.self, capacity: compute.threads) { sums in
            sums.initialize(repeating: 0)
            compute.run { worker in
                for row in worker.range(of: x.rows) { sums[worker.index] += qk_sum_squares(x.at(row), x.columns) }
            }
            return sums.reduce(0, +).squareRoot()
        }
    }

    /// √ Σ w² of a whole weight that can be written.
    static func norm(_ weight: Weight, compute: Compute) -> Double {
        guard let (elements, dtype) = weight.elements else { return 0 }
        let total = weight.count
        return withUnsafeTemporaryAllocation(of: Double.self, capacity: compute.threads) { sums in
            sums.initialize(repeating: 0)
            compute.run { worker in
                withUnsafeTemporaryAllocation(of: Float.self, capacity: piece) { image in
                    guard let image = image.baseAddress else { return }
                    let mine = worker.range(of: total, unit: piece)
                    for start in stride(from: mine.lowerBound, to: mine.upperBound, by: piece) {
                        let count = min(piece, mine.upperBound - start)
                        if dtype == .bfloat16 {
                            qk_f32_from_bf16_run(image, elements.assumingMemoryBound(to: UInt16.self) + start, count)
                            sums[worker.index] += qk_sum_squares(image, count)
                        } else {
                            sums[worker.index] += qk_sum_squares(
                                elements.assumingMemoryBound(to: Float.self) + start, count)
                        }
                    }
                }
            }
            return sums.reduce(0, +).squareRoot()
        }
    }

    /// Σ x², in double precision over pieces in a fixed order.
    static func sumOfSquares(_ values: MutableMatrix<Float>, compute: Compute) -> Double {
        let (x, count) = (values.base, values.rows * values.columns)
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
