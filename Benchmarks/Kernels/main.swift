// Rates of the bfloat16 products beside OpenBLAS's float32 ones, on the shapes of a Qwen2 0.5B model.
//
// usage: bench-kernels [gemm|gemv] [seconds per figure] [rows,rows,…]
//
// Weights are cold: enough copies to fill more than the caches are used in turn. All time is counted, conversion and
// packing included.
import CKernels
import COpenBLAS
import QwenSFTCore

struct Shape {
    let name: String
    let outputs: Int, inputs: Int
}

let shapes = [
    Shape(name: "qkv", outputs: 1152, inputs: 896),
    Shape(name: "o", outputs: 896, inputs: 896),
    Shape(name: "gate+up", outputs: 9728, inputs: 896),
    Shape(name: "down", outputs: 896, inputs: 4864),
    Shape(name: "head", outputs: 151936, inputs: 896),
]

func padded(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
}

func fixed(_ value: Double, _ digits: Int = 0) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let rounded = (value * scale).rounded()
    if digits == 0 { return "\(Int(rounded))" }
    let fraction = "\(Int(rounded) % Int(scale))"
    return "\(Int(rounded / scale))." + String(repeating: "0", count: digits - fraction.count) + fraction
}

func row(_ cells: [String]) { print(cells.map { padded($0, 10) }.joined()) }

do {
    let arguments = Array(CommandLine.arguments.dropFirst())
    let budget = arguments.count > 1 ? Double(arguments[1]) ?? 0.2 : 0.2
    if arguments.first != "gemv" {
        let rows = arguments.count > 2 ? arguments[2].split(separator: ",").compactMap { Int($0) } : [32, 64, 256, 1024]
        try benchmarkGEMM(rows: rows, budget: budget, only: arguments.count > 3 ? arguments[3] : nil)
    }
} catch {
    print("bench-kernels: \(error)")
}
