import Foundation
import QwenSFTCore

let args = CommandLine.arguments
let dir = args[1]
let dtype: DType = args.count > 2 && args[2] == "bfloat16" ? .bfloat16 : .float32
let mode = args.count > 3 ? args[3] : "seed"
let clock = ContinuousClock()
var t = clock.now
let model = try Model(directory: dir, dtype: dtype)
print("load", clock.now - t)
var batch: Batch
if mode == "seed" {
    let j = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: args[4]))) as! [String: Any]
    let ids = (j["input_ids"] as! [[Int]]).flatMap { $0.map(Int64.init) }
    let labels = (j["labels"] as! [[Int]]).flatMap { $0.map(Int64.init) }
    batch = try Batch(inputIDs: ids, labels: labels, attentionMask: ids.map { _ in 1 }, tokenWeights: nil, rows: 2, columns: 32)
} else {
    let rows = Int(args[4])!, cols = Int(args[5])!
    var r = RandomSource(seed: 1)
    let ids = (0..<rows*cols).map { _ in Int64(r.below(150000)) }
    let labels = (0..<rows*cols).map { $0 % cols >= cols * 7 / 10 ? ids[$0] : -100 }
    batch = try Batch(inputIDs: ids, labels: labels, attentionMask: ids.map { _ in 1 }, tokenWeights: nil, rows: rows, columns: cols)
}
let steps = args.last!.hasPrefix("n=") ? Int(args.last!.dropFirst(2))! : 10
let trainer = try Trainer(model, optimizer: .sgd(SGD(learningRate: mode == "seed" ? 1e-3 : 1e-6)))
for _ in 0..<steps {
    let m = try trainer.step(batch)
    print(m.loss, m.supervisedTokens, m.seconds)
}
let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
print(status.split(separator: "\n").first { $0.hasPrefix("VmHWM") }!)
