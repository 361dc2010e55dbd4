import CKernels

/// Root-mean-square normalisation, y = x / sqrt(mean(x²) + ε) · w (Zhang & Sennrich, 2019), over rows of `width`.
package enum RMSNorm {
    /// - Parameters:
    ///   - y: (rows, width), may not be `x`.
    ///   - reciprocal: (rows), 1 / sqrt(mean(x²) + ε), for backward.
    package static func forward(
        _ y: UnsafeMutablePointer<Float>, reciprocal: UnsafeMutablePointer<Float>, x: UnsafePointer<Float>,
        weight: UnsafePointer<Float>, rows: Int, width: Int, epsilon: Float, compute: Compute
    ) {
        compute.rows(rows) { mine in
            let at = mine.lowerBound * width
            qk_rmsnorm_forward(y + at, reciprocal + mine.lowerBound, x + at, weight, mine.count, width, epsilon)
        }
    }

    /// dx += r·(w∘dy) − x·r³·mean(w∘dy∘x),  dw += Σ dy∘x·r with r the saved reciprocal.
    package static func backward(
        _ dx: UnsafeMutablePointer<Float>, _ dw: UnsafeMutablePointer<Float>, reciprocal: UnsafePointer<Float>,
        dy: UnsafePointer<Float>, x: UnsafePointer<Float>, weight: UnsafePointer<Float>, rows: Int, width: Int,
        compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let partial = try compute.zeros(compute.threads * width)
        compute.run { worker in
            let mine = worker.range(of: rows)
            let at = mine.lowerBound * width
            qk_rmsnorm_backward(
                dx + at, partial + worker.index * width, dy + at, x + at, weight, reciprocal + mine.lowerBound,
                mine.count,
                width)
        }
        for worker in 0..<compute.threads { qk_add(dw, partial + worker * width, width) }
    }
}

extension Compute {
    /// `count` zeros in the arena.
    func zeros(_ count: Int) throws(QwenSFTError) -> UnsafeMutablePointer<Float> {
        let memory = try arena.floats(count)
        memory.update(repeating: 0, count: count)
        return memory
    }
}
