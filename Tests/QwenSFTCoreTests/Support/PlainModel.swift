import Glibc
import QwenSFTCore

/// Qwen2 and Qwen3 by their definition, in double precision: one sequence after the other, one token after the other, nothing shared,
/// nothing in blocks. What the library computes is compared with it.
struct PlainModel {
    let c: Configuration
    var weights: [String: [Double]] = [:]

    init(_ model: Model) throws {
        c = model.configuration
        for parameter in model.parameters { weights[parameter.name] = try model.values(of: parameter).doubles }
    }

    /// Σ weight · cross-entropy ÷ Σ weights.
    func loss(_ batch: Batch) -> Double {
        var (sum, total) = (0.0, 0.0)
        for row in 0..<batch.rows {
            let cells = row * batch.columns..<(row + 1) * batch.columns
            let length = batch.attentionMask[cells].reduce(0, +)
            let labels = Array(batch.labels[cells])
            let last = labels.lastIndex { $0 >= 0 } ?? 0
            guard length > 1, last > 0 else { continue }
            let logits = logits(batch.inputIDs[cells].prefix(last).map { Int($0) })
            for position in 1...last where labels[position] >= 0 {
                let scores = logits[position - 1]
                let most = scores.max() ?? 0
                let logSumExp = most + log(scores.reduce(0) { $0 + exp($1 - most) })
                let weight = Double(batch.tokenWeights?[cells.lowerBound + position] ?? 1)
                sum += weight * (logSumExp - scores[Int(labels[position])])
                total += weight
            }
        }
        return sum / total
    }

    /// Scores of the token after each.
    func logits(_ ids: [Int]) -> [[Double]] {
        var x = ids.map { Array(weights["model.embed_tokens.weight"]![$0 * c.hiddenSize..<($0 + 1) * c.hiddenSize]) }
        for layer in 0..<c.layers {
            let p = "model.layers.\(layer)."
            let normalized = x.map { norm($0, p + "input_layernorm.weight") }
            let attended = attention(normalized, p + "self_attn.")
            for t in x.indices { add(&x[t], product(attended[t], p + "self_attn.o_proj")) }
            for t in x.indices {
                let v = norm(x[t], p + "post_attention_layernorm.weight")
                let gate = product(v, p + "mlp.gate_proj")
                let up = product(v, p + "mlp.up_proj")
                add(&x[t], product(zip(gate, up).map { $0 / (1 + exp(-$0)) * $1 }, p + "mlp.down_proj"))
            }
        }
        let head = weights["lm_head.weight"] == nil ? "model.embed_tokens" : "lm_head"
        return x.map { product(norm($0, "model.norm.weight"), head) }
    }

    private func attention(_ x: [[Double]], _ p: String) -> [[Double]] {
        let d = c.headDimension
        let q = x.enumerated().map { rotated(heads(product($1, p + "q_proj"), p + "q_norm.weight"), $0) }
        let k = x.enumerated().map { rotated(heads(product($1, p + "k_proj"), p + "k_norm.weight"), $0) }
        let v = x.map { product($0, p + "v_proj") }
        return x.indices.map { t in
            (0..<c.heads).flatMap { head in
                let (at, from) = (head * d, head / (c.heads / c.kvHeads) * d)
                let scores = (0...t).map { s in
                    exp((0..<d).reduce(0) { $0 + q[t][at + $1] * k[s][from + $1] } / Double(d).squareRoot())
                }
                let sum = scores.reduce(0, +)
                return (0..<d).map { i in (0...t).reduce(0) { $0 + scores[$1] / sum * v[$1][from + i] } }
            }
        }
    }

    private func rotated(_ x: [Double], _ position: Int) -> [Double] {
        let d = c.headDimension
        var y = x
        for at in stride(from: 0, to: x.count, by: d) {
            for i in 0..<d / 2 {
                let angle = Double(position) * pow(c.ropeTheta, -2 * Double(i) / Double(d))
                y[at + i] = x[at + i] * cos(angle) - x[at + i + d / 2] * sin(angle)
                y[at + i + d / 2] = x[at + i + d / 2] * cos(angle) + x[at + i] * sin(angle)
            }
        }
        return y
    }

    /// Each head normalized, where there is a norm of that name.
    private func heads(_ x: [Double], _ name: String) -> [Double] {
        guard weights[name] != nil else { return x }
        return stride(from: 0, to: x.count, by: c.headDimension).flatMap {
            norm(Array(x[$0..<$0 + c.headDimension]), name)
        }
    }

    private func norm(_ x: [Double], _ name: String) -> [Double] {
        let r = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + c.rmsNormEpsilon).squareRoot()
        return zip(x, weights[name]!).map { $0 * r * $1 }
    }

    private func product(_ x: [Double], _ name: String) -> [Double] {
        var y = weights[name + ".bias"] ?? []
        weights[name + ".weight"]!.withUnsafeBufferPointer { w in
            let rows = w.count / x.count
            if y.isEmpty { y = [Double](repeating: 0, count: rows) }
            for row in 0..<rows {
                var sum = 0.0
                for i in x.indices { sum += w[row * x.count + i] * x[i] }
                y[row] += sum
            }
        }
        return y
    }

    private func add(_ x: inout [Double], _ y: [Double]) { for i in x.indices { x[i] += y[i] } }
}
