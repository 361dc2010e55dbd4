// Rates of the bfloat16 products beside OpenBLAS's float32 ones, on the shapes of a Qwen2 0.5B model.
//
// usage: bench-kernels [gemm|gemv] [rows=32,64,…] [shape=NAME] [seconds=S] [threads=N] [quantile=0.5] [clock=thread]
//
// A figure is the rate at the given quantile of the durations measured for S seconds: 0.5 is the median, 0 the best.
// With threads=1, clock=thread counts processor time only, for a machine that others use too.
// Weights are cold: enough copies to fill more than the caches are used in turn. All time is counted, conversion and
// packing included. ISA=avx2 in the environment limits the kernels.
import CKernels
import COpenBLAS
import Glibc
import QwenSFTCore

struct Options {
    var what = "all"
    var rows = [32, 64, 256, 1024]
    var shape: String?
    var seconds = 0.2
    var threads = ThreadPool.shared.threads
    var quantile = 0.5
    var threadClock = false

    init(_ arguments: [String]) throws(QwenSFTError) {
        for argument in arguments {
            let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else {
                what = argument
                continue
            }
            switch parts[0] {
            case "rows": rows = parts[1].split(separator: ",").compactMap { Int($0) }
            case "shape": shape = parts[1]
            case "seconds": seconds = Double(parts[1]) ?? seconds
            case "threads": threads = Int(parts[1]) ?? threads
            case "quantile": quantile = Double(parts[1]) ?? quantile
            case "clock": threadClock = parts[1] == "thread"
            default: throw QwenSFTError(.invalidArgument, "unknown option '\(parts[0])'")
            }
        }
    }

    /// The duration of `work`, which gets the number of the repetition.
    func time(_ work: (Int) throws(QwenSFTError) -> Void) throws(QwenSFTError) -> Double {
        try work(0)
        var times: [Double] = []
        let start = now()
        var repetition = 1
        while times.count < 5 || (now() - start < seconds && times.count < 5000) {
            let before = now(ofThread: threadClock)
            try work(repetition)
            times.append(now(ofThread: threadClock) - before)
            repetition += 1
        }
        return times.sorted()[min(times.count - 1, Int(Double(times.count) * quantile))]
    }
}

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
    guard value.isFinite else { return "-" }
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let rounded = (value * scale).rounded()
    if digits == 0 { return "\(Int(rounded))" }
    let fraction = "\(Int(rounded) % Int(scale))"
    return "\(Int(rounded / scale))." + String(repeating: "0", count: digits - fraction.count) + fraction
}

func row(_ cells: [String]) { print(cells.map { padded($0, 10) }.joined()) }

do {
    if let set = getenv("ISA") { try InstructionSet.limit(toSetNamed: String(cString: set)) }
    let options = try Options(Array(CommandLine.arguments.dropFirst()))
    if options.what != "gemm" { try benchmarkGEMV(options) }
    if options.what != "gemv" { try benchmarkGEMM(options) }
} catch {
    print("bench-kernels: \(error)")
}
