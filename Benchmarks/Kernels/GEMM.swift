import CKernels
import COpenBLAS
import QwenSFTCore

/// GFLOP/s of forward, input gradient and weight gradient with bfloat16 weights, with float32 weights, and of
/// OpenBLAS's float32 products.
func benchmarkGEMM(_ options: Options) throws(QwenSFTError) {
    let previous = openblas_get_num_threads()
    openblas_set_num_threads(Int32(options.threads))
    defer { openblas_set_num_threads(previous) }
    let compute = Compute(threads: options.threads)
    row([
        "shape", "rows", "forward", "dX", "dW f32", "dW f32 =0", "W nearest", "W stoch.", "f32 Y", "f32 dX", "f32 dW",
        "sgemm Y", "sgemm dX", "sgemm dW",
    ])
    for shape in shapes where options.shape == nil || options.shape == shape.name {
        let n = shape.outputs
        let k = shape.inputs
        let size = n * k
        let copies = max(2, min(30, (128 << 20) / (2 * size)))
        let weights = try HugeBuffer(byteCount: 2 * size * copies, purpose: "weights")
        let w = weights.base.assumingMemoryBound(to: UInt16.self)
        fill(w, size * copies)
        let gradients = try HugeBuffer(byteCount: 4 * size * max(2, copies / 2), purpose: "gradients")
        gradients.floats.update(repeating: 0, count: size * max(2, copies / 2))
        for m in options.rows {
            let activations = try HugeBuffer(byteCount: 4 * m * (2 * n + 2 * k), purpose: "activations")
            let x = activations.floats
            let y = x + m * k
            let dy = y + m * n
            let dx = dy + m * n
            for i in 0..<m * k { x[i] = Float(i % 113) / 113 - 0.5 }
            for i in 0..<m * n { dy[i] = Float(i % 127) / 127 - 0.5 }
            func weight(_ r: Int) -> UnsafeMutablePointer<UInt16> { w + r % copies * size }
            func gradient(_ r: Int) -> UnsafeMutablePointer<Float> { gradients.floats + r % max(2, copies / 2) * size }
            func rate(_ work: (Int) throws(QwenSFTError) -> Void) throws(QwenSFTError) -> String {
                fixed(2 * Double(m) * Double(size) / (try options.time(work)) / 1e9)
            }
            var cells = [shape.name, "\(m)"]
            func weight32(_ r: Int) -> Weight { .float32(Float32Weight(.init(gradient(r), rows: n, columns: k))) }
            func weight16(_ r: Int) -> BFloat16Weight { BFloat16Weight(.init(weight(r), rows: n, columns: k)) }
            let (x32, dy32) = (Matrix(x, rows: m, columns: k), Matrix(dy, rows: m, columns: n))
            cells.append(
                try rate { (r) throws(QwenSFTError) in
                    try Linear.forward(
                        MutableMatrix(y, rows: m, columns: n), x32, .bfloat16(weight16(r)), compute: compute)
                })
            cells.append(
                try rate { (r) throws(QwenSFTError) in
                    try Linear.inputGradient(
                        MutableMatrix(dx, rows: m, columns: k), dy32, .bfloat16(weight16(r)), compute: compute)
                })
            let rounding = Rounding.stochastic(seed: 1, step: 2, stream: 3)
            let targets: [(Int) -> GradientDestination] = [
                { GradientDestination(weight32($0)) }, { GradientDestination(weight32($0), beta: 0) },
                { GradientDestination(.bfloat16(weight16($0)), alpha: -1e-6) },
                { GradientDestination(.bfloat16(weight16($0)), alpha: -1e-6, rounding: rounding) },
            ]
            for target in targets {
                cells.append(
                    try rate { (r) throws(QwenSFTError) in
                        try BFloat16GEMM.weightGradient(target(r), dy32, x32, compute: compute)
                    })
            }
            cells.append(
                try rate { (r) throws(QwenSFTError) in
                    try Linear.forward(MutableMatrix(y, rows: m, columns: n), x32, weight32(r), compute: compute)
                })
            cells.append(
                try rate { (r) throws(QwenSFTError) in
                    try Linear.inputGradient(
                        MutableMatrix(dx, rows: m, columns: k), dy32, weight32(r), compute: compute)
                })
            cells.append(
                try rate { (r) throws(QwenSFTError) in
                    let target = weight32(r)
                    try Linear.weightGradient(
                        GradientDestination(target, alpha: -1e-6), dy32, x32, of: target, compute: compute)
                })
            let m32 = blasint(m)
            let n32 = blasint(n)
            let k32 = blasint(k)
            cells.append(
                try rate { (r) throws(QwenSFTError) in
                    cblas_sgemm(
                        CblasRowMajor, CblasNoTrans, CblasTrans, m32, n32, k32, 1, x, k32, gradient(r), k32, 0, y, n32)
                })
            cells.append(
                try rate { (r) throws(QwenSFTError) in
                    cblas_sgemm(
                        CblasRowMajor, CblasNoTrans, CblasNoTrans, m32, k32, n32, 1, dy, n32, gradient(r), k32, 0, dx,
                        k32)
                })
            cells.append(
                try rate { (r) throws(QwenSFTError) in
                    cblas_sgemm(
                        CblasRowMajor, CblasTrans, CblasNoTrans, n32, k32, m32, 1e-6, dy, n32, x, k32, 1, gradient(r),
                        k32)
                })
            row(cells)
        }
    }
}

/// Small bfloat16 numbers of either sign.
func fill(_ w: UnsafeMutablePointer<UInt16>, _ count: Int) {
    for i in 0..<count { w[i] = qk_bf16_from_f32(Float(i % 251 - 125) * 1e-3) }
}
