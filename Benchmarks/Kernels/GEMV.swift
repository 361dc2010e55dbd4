import CKernels
import QwenSFTCore

/// One decoding step's matrix products (24 layers and the head, in their order) for one row of activations: time, and
/// memory read per second beside what a plain sum over the same memory reaches.
func benchmarkGEMV(_ options: Options) throws(QwenSFTError) {
    let all = (0..<24).flatMap { _ in shapes.dropLast() } + shapes.suffix(1)
    let order = all.filter { options.shape == nil || options.shape == $0.name }
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
    let compute = Compute(threads: options.threads)
    /// A step's products with the weights of `order` one after the other.
    func step(
        rows: Int, _ order: ArraySlice<Shape>, _ weight: (Shape) -> Weight
    ) throws(QwenSFTError) {
        for shape in order {
            try Linear.forward(
                MutableMatrix(y, rows: rows, columns: shape.outputs), Matrix(x, rows: rows, columns: shape.inputs),
                weight(shape), compute: compute)
        }
    }
    for rows in [1, 4] {
        report(
            "bf16 x\(rows)", bytes: 2 * weights,
            try options.time { (_) throws(QwenSFTError) in
                var w = memory.base.assumingMemoryBound(to: UInt16.self)
                try step(rows: rows, order[...]) { shape in
                    defer { w += shape.outputs * shape.inputs }
                    return .bfloat16(BFloat16Weight(MutableMatrix(w, rows: shape.outputs, columns: shape.inputs)))
                }
            })
    }
    let half = order.prefix(order.count / 2)  // half of the layers fit
    report(
        "float32 x1", bytes: 2 * weights,
        try options.time { (_) throws(QwenSFTError) in
            var w = memory.floats
            try step(rows: 1, half) { shape in
                defer { w += shape.outputs * shape.inputs }
                return .float32(Float32Weight(MutableMatrix(w, rows: shape.outputs, columns: shape.inputs)))
            }
        } * Double(weights) / Double(2 * half.reduce(0) { $0 + $1.outputs * $1.inputs }))
    let scales = try HugeBuffer(byteCount: weights / 8, purpose: "scales")
    scales.floats.update(repeating: 0.01, count: weights / 32)
    func quantized<Form: QuantizedForm>(_: Form.Type, _ name: String) throws(QwenSFTError) {
        let scale = MemoryLayout<Form.Scale>.stride
        report(
            name, bytes: weights / 64 * Form.bytesPer64 + weights / Form.scaleBlock * scale,
            try options.time { (_) throws(QwenSFTError) in
                var (w, s) = (memory.base, scales.base)
                try step(rows: 1, order[...]) { shape in
                    typealias Quantized = QuantizedWeight<Form>
                    defer {
                        w += shape.outputs * Quantized.valueBytes(columns: shape.inputs)
                        s += shape.outputs * Quantized.scaleCount(columns: shape.inputs) * scale
                    }
                    return Quantized(values: w, scales: s, rows: shape.outputs, columns: shape.inputs).weight
                }
            })
    }
    try quantized(Int8Form.self, "int8 x1")
    try quantized(Int6Form.self, "int6 x1")
    try quantized(Int4Form.self, "int4 x1")
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
