import Foundation
import QwenSFTCore
import Testing

/// Where Tests/Fixtures is.
let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
    .appending(path: "Fixtures")

/// A tiny random checkpoint and what transformers computes with it (Tests/Fixtures/README.md).
struct ModelFixture: CustomTestStringConvertible {
    let name: String

    static let all = [
        "tied-f32", "untied-bf16", "group7-f16", "sharded-mha-f32", "new-spelling-bf16", "redundant-head-bf16",
        "qwen3-tied-f32", "qwen3-untied-bf16", "yarn-f32", "qwen3-yarn-bf16",
    ]
    .map(ModelFixture.init)

    var directory: String { fixtures.appending(path: "models/\(name)").path }
    var testDescription: String { name }

    func model(dtype: DType = .float32) throws -> Model { try Model(directory: directory, dtype: dtype) }

    func expected() throws -> Expected {
        let json = try JSONSerialization.jsonObject(
            with: Data(contentsOf: URL(filePath: directory).appending(path: "expected.json")))
        return Expected(
            json: try #require(json as? [String: Any]),
            tensors: try SafetensorsFile(directory + "/expected.safetensors"))
    }

    struct Expected {
        let json: [String: Any]
        let tensors: SafetensorsFile

        func tensor(_ name: String) throws -> [Float] {
            let tensor = try #require(tensors.tensors.first { $0.name == name }, "no tensor \(name)")
            var values = [Float](repeating: 0, count: tensor.elementCount)
            try values.withUnsafeMutableBytes { try tensor.read(as: .float32, into: $0.baseAddress!) }
            return values
        }

        func number(_ key: String) throws -> Double { try #require(json[key] as? Double) }

        var batch: Batch { get throws { try batch(weights: nil) } }

        func batch(weights: [Float]?) throws -> Batch {
            func rows(_ key: String) throws -> [[Int64]] {
                try #require(json[key] as? [[Int]]).map { $0.map(Int64.init) }
            }
            let ids = try rows("input_ids")
            return try Batch(
                inputIDs: ids.flatMap { $0 }, labels: rows("labels").flatMap { $0 },
                attentionMask: rows("attention_mask").flatMap { $0 }, tokenWeights: weights, rows: ids.count,
                columns: ids[0].count)
        }
    }
}

/// Largest difference, relative to the largest expected value.
func worst(_ actual: [Float], _ expected: [Float]) -> Double {
    guard actual.count == expected.count else { return .infinity }
    let scale = expected.reduce(0) { max($0, abs($1)) }
    let difference = zip(actual, expected).reduce(Float(0)) {
        max($0, abs($1.0 - $1.1).isNaN ? .infinity : abs($1.0 - $1.1))
    }
    return Double(difference) / Double(max(scale, .leastNormalMagnitude))
}
