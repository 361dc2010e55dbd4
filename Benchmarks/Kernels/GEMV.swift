import CKernels
import QwenSFTCore

/// One decoding step's matrix products (24 layers and the head, in their order) for one row of activations: time, and
/// memory read per second beside what a plain sum over the same memory reaches.
func benchmarkGEMV(_ options: Options) throws(QwenSFTError) {
    let arena = Arena(purpose: "scratch")
    let step = (0..<24).flatMap { _ in shapes.dropLast() } + shapes.suffix(1)
    let order = step.filter { options.shape == nil || options.shape == $0.name }
    let weights = order.reduce(0) { $0 + $1.outputs * $1.inputs }
    let memory = try HugeBuffer(byteCount: 2 * weights, purpose: "weights")
    fill(memory.base.assumingMemoryBound(to: UInt16.self), weights)
    let activations = try HugeBuffer(byteCount: 4 * (80_000 + 4 * 151_936), purpose: "activations")
    let x = activations.floats
    let y = x + 80_000
    for i in 0..<80_000 { x[i] = Float(i % 113) / 113 - 0.5 }

    func report(_ name: String, bytes: Int, _ seconds: Double) {
        row([name, fixed(seconds * 1e3, 2) + " ms", fixed(Double(bytes) / seconds / 1e9, 1) + " GB/s"])
    }
    report(
        "read", bytes: 2 * weights,
        try options.time { (_) throws(QwenSFTError) in
            ThreadPool.shared.run(threads: options.threads) { worker in
                let own = worker.range(of: 2 * weights, unit: 4096)
                readAll(UnsafeRawBufferPointer(start: memory.base + own.lowerBound, count: own.count))
            }
        })
    for rows in [1, 4] {
        report(
            "bf16 x\(rows)", bytes: 2 * weights,
            try options.time { (_) throws(QwenSFTError) in
                var w = UnsafePointer(memory.base.assumingMemoryBound(to: UInt16.self))
                for shape in order {
                    try MatrixVector.forward(
                        y, yStride: shape.outputs, x, xStride: shape.inputs, w, rows: rows,
                        outputs: shape.outputs, inputs: shape.inputs, arena: arena, threads: options.threads)
                    w += shape.outputs * shape.inputs
                }
            })
    }
    report(
        "float32 x1", bytes: 2 * weights,
        try options.time { (_) throws(QwenSFTError) in
            var w = UnsafePointer(memory.floats)  // half of the layers fit
            for shape in order.prefix(order.count / 2) {
                MatrixVector.forward(
                    y, yStride: shape.outputs, x, xStride: shape.inputs, w, rows: 1, outputs: shape.outputs,
                    inputs: shape.inputs, threads: options.threads)
                w += shape.outputs * shape.inputs
            }
        } * Double(weights) / Double(2 * order.prefix(order.count / 2).reduce(0) { $0 + $1.outputs * $1.inputs }))
    let scales = try HugeBuffer(byteCount: weights / 16, purpose: "scales")
    scales.floats.update(repeating: 0.01, count: weights / 64)
    for (name, form, bytes) in [
        ("int8 x1", QuantizedMatrix.Form.int8, weights + weights / 16), ("int6 x1", .int6, weights * 25 / 32),
    ] {
        report(
            name, bytes: bytes,
            try options.time { (_) throws(QwenSFTError) in
                var (w, s) = (memory.base, scales.base)
                for shape in order {
                    let matrix = QuantizedMatrix(form, values: w, scales: s, rows: shape.outputs, columns: shape.inputs)
                    try MatrixVector.forward(
                        y, yStride: shape.outputs, x, xStride: shape.inputs, matrix, rows: 1, arena: arena,
                        threads: options.threads)
                    w += matrix.rows * matrix.stride
                    s += matrix.rows * matrix.blocks * (form == .int8 ? 4 : 2)
                }
            })
    }
}

/// Reads every byte.
func readAll(_ bytes: UnsafeRawBufferPointer) {
    var sums = (SIMD8<UInt64>(), SIMD8<UInt64>())
    for offset in stride(from: 0, to: bytes.count & ~127, by: 128) {
        sums.0 &+= bytes.loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self)
        sums.1 &+= bytes.loadUnaligned(fromByteOffset: offset + 64, as: SIMD8<UInt64>.self)
    }
    withExtendedLifetime(sums) {}
    if (sums.0 &+ sums.1)[0] == 42 { print("") }  // or the loop would be dropped
}
