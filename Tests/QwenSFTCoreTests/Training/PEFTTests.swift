import Foundation
import QwenSFTCore
import Testing

/// Adapters that peft has written, and what it computes with them (Tests/Fixtures/make_adapter_fixtures.py).
@Suite(.serialized, .processWide) struct PEFTTests {
    struct Fixture: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var directory: String { fixtures.appending(path: "adapters/\(testDescription)").path }

        static let all = [
            "all-linear", "rslora", "patterns", "regex", "layers-bf16", "qwen3", "qwen3-untied", "named", "tokens",
            "tokens-input", "tokens-output", "tokens-apart", "tokens-qwen3", "tokens-qwen3-untied",
        ]
        .map { Fixture(testDescription: $0) }

        func expected() throws -> ModelFixture.Expected {
            let json = try JSONSerialization.jsonObject(
                with: Data(contentsOf: URL(filePath: directory).appending(path: "expected.json")))
            return ModelFixture.Expected(
                json: try #require(json as? [String: Any]),
                tensors: try SafetensorsFile(directory + "/expected.safetensors"))
        }

        func model(_ expected: ModelFixture.Expected) throws -> (Model, Adapter) {
            let model = try ModelFixture(name: #require(expected.json["base"] as? String)).model()
            let name = try #require(expected.json["adapter"] as? String)
            return (model, try model.loadAdapter(directory, name: name))
        }
    }

    @Test(arguments: Fixture.all)
    func logitsGradientsAndTwentySteps(_ fixture: Fixture) throws {
        let expected = try fixture.expected()
        let (model, adapter) = try fixture.model(expected)
        let batch = try expected.batch
        func logits() throws -> [Float] {
            try model.forward(
                batch.inputIDs, rows: batch.rows, columns: batch.columns, attentionMask: batch.attentionMask)
        }
        #expect(worst(try logits(), try expected.tensor("logits").doubles) < 1e-5)
        let gradients = try Trainer(model).gradients(batch)
        #expect(!gradients.isEmpty)
        for (parameter, gradient) in zip(adapter.parameters, gradients) {
            let error = worst(gradient, try expected.tensor("grad." + parameter.name).doubles)
            #expect(error < 1e-4, "\(parameter.name)")
        }
        let trainer = try Trainer(
            model, optimizer: .adamW(AdamW(learningRate: expected.number("lr"), weightDecay: 0.01)))
        for (step, loss) in try #require(expected.json["losses"] as? [Double]).enumerated() {
            let actual = try trainer.step(batch).loss
            #expect(abs(actual / loss - 1) < 1e-4, "step \(step + 1)")
        }
    }

    /// peft's create_loraplus_optimizer: B learns several times as fast as A.
    @Test(arguments: Fixture.all)
    func loraPlus(_ fixture: Fixture) throws {
        let expected = try fixture.expected()
        let (model, _) = try fixture.model(expected)
        var options = TrainerOptions()
        options.loraPlusRatio = try expected.number("loraplus_lr_ratio")
        let optimizer = try AdamW(learningRate: expected.number("lr"), weightDecay: 0.01)
        let trainer = try Trainer(model, optimizer: .adamW(optimizer), options: options)
        let plain = try #require(expected.json["losses"] as? [Double])
        let losses = try #require(expected.json["loraplus_losses"] as? [Double])
        #expect(abs(plain[19] / losses[19] - 1) > 0.01)
        for (step, loss) in losses.enumerated() {
            let actual = try trainer.step(expected.batch).loss
            #expect(abs(actual / loss - 1) < 1e-4, "step \(step + 1)")
        }
        options.loraPlusRatio = 0
        #expect(throws: QwenSFTError.self) { try Trainer(model, options: options) }
    }

    /// What is written is read again, by this library and under the same names by peft; merged weights answer alike.
    @Test(arguments: Fixture.all)
    func writtenAndMerged(_ fixture: Fixture) throws {
        let expected = try fixture.expected()
        let (model, adapter) = try fixture.model(expected)
        let batch = try expected.batch
        let directory = try TestDirectory()
        try model.saveAdapter(to: directory.path, name: adapter.name)
        let inner = adapter.name == "default" ? "" : "/" + adapter.name
        let names = try SafetensorsFile(directory.path + inner + "/adapter_model.safetensors").tensors.map(\.name)
        let peft = try SafetensorsFile(fixture.directory + inner + "/adapter_model.safetensors").tensors.map(\.name)
        #expect(Set(names) == Set(peft))
        let again = try ModelFixture(name: #require(expected.json["base"] as? String)).model()
        let reread = try again.loadAdapter(directory.path, name: adapter.name)
        #expect(reread.configuration == adapter.configuration)
        for (a, b) in zip(adapter.parameters, reread.parameters) {
            #expect(adapter.values(of: a).bits == reread.values(of: b).bits)
        }
        // Saved over itself, and over another.
        try again.saveAdapter(to: directory.path, name: adapter.name)
        if fixture.testDescription == "tokens-apart" {
            let error = #expect(throws: QwenSFTError.self) { try again.mergeAdapter(adapter.name) }
            #expect(error?.code == .unsupported)
            return
        }
        try again.mergeAdapter(adapter.name)
        #expect(again.adapterNames.isEmpty)
        let merged = try again.forward(
            batch.inputIDs, rows: batch.rows, columns: batch.columns, attentionMask: batch.attentionMask)
        #expect(worst(merged, try expected.tensor("logits").doubles) < 1e-5)
    }

    @Test(arguments: [
        (#""use_dora": true"#, "use_dora"), (#""bias": "all""#, "bias"),
        (#""modules_to_save": ["lm_head"]"#, "modules_to_save"),
        (#""peft_type": "IA3""#, "peft_type"), (#""target_modules": ["lm_head"]"#, "lm_head"),
        (#""target_modules": "(""#, "target_modules"), (#""lora_bias": true"#, "lora_bias"),
        (#""trainable_token_indices": [3]"#, "embed_tokens.token_adapter.trainable_tokens_delta"),
        (#""trainable_token_indices": {"q_proj": [3]}"#, "names 'q_proj'"),
        (#""trainable_token_indices": {"lm_head": 3}"#, "must be lists of token ids"),
        (#""trainable_token_indices": [3, "x"]"#, "must be lists of token ids"),
        (#""trainable_token_indices": [3, 131]"#, "131 is not in the model's vocabulary of 131"),
        (#""trainable_token_indices": {"lm_head": [-1]}"#, "at least 0, not -1"),
        (#""trainable_token_indices": [3, 5, 3]"#, "3 is there twice"),
        (#""init_lora_weights": "pissa""#, "init_lora_weights"),
        (#""r": 0"#, "'r'"), (#""r": 5"#, "has shape"), (#""target_modules": ["q_proj"]"#, "no A or B"),
        (#""layers_to_transform": [7]"#, "no layer 7"), (#""target_parameters": ["x"]"#, "target_parameters"),
    ])
    func whatIsNotSupportedIsRefusedByName(_ change: String, _ message: String) throws {
        try expectRefusal(of: Fixture.all[0].directory, with: change, message)
    }

    @Test func regularExpressions() throws {
        for (pattern, text, isMatch) in [
            (#".*\.(q|v)_proj"#, "a.q_proj", true), (#".*\.(q|v)_proj"#, "a.k_proj", false), ("a|b", "ab", false),
            (#"model\.layers\.(1[0-9]|[2-5])\..*"#, "model.layers.13.x", true), ("(a*)*b", "aaaa", false),
            (#"model\.layers\.(1[0-9]|[2-5])\..*"#, "model.layers.1.x", false), ("a{2,3}", "aaa", true),
            ("a{2,3}", "a", false), (#"\w+?\d{1,}"#, "ab12", true), ("(?!x)[^y]+", "xab", false),
            ("(?!x)[^y]+", "ab", true),
            (
                #"(?:.*?(?:self_attn|mlp).*?(?:q_proj|up_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.mlp\.(?:up_proj))"#,
                "model.layers.0.self_attn.q_proj", true
            ), ("^a$", "a", true), ("[]a]", "]", true), ("", "", true),
        ] {
            #expect(try RegularExpression(pattern).matches(text) == isMatch, "\(pattern) \(text)")
        }
        for pattern in ["(", ")", "[a", "*", "a**", "a{3,2}", "\\", "[b-a]", #"\1"#, "(?i)a"] {
            #expect(throws: QwenSFTError.self) { try RegularExpression(pattern) }
        }
        #expect(throws: QwenSFTError.self) {
            try RegularExpression("(a|a)*b").matches(String(repeating: "a", count: 60))
        }
    }

    // MARK: Many adapters, one base

    @Test func anAdapterKnowsItsBase() throws {
        let directory = try TestDirectory()
        let batch = try randomBatch([9, 5], vocabulary: 150, seed: 2)
        try RandomModel().write(to: directory)
        let model = try Model(directory: directory.path)
        try model.addAdapter()
        try model.saveAdapter(to: directory.path + "/adapter")
        func warnings(_ model: Model) throws -> [String] {
            try catchingWarnings { _ = try model.loadAdapter(directory.path + "/adapter") }.1
        }
        for quantization in [nil] + Quantization.allCases.map(Optional.some) {
            let same = try Model(directory: directory.path, dtype: .bfloat16, quantization: quantization)
            #expect(same.baseIdentity == model.baseIdentity)
            #expect(try warnings(same).isEmpty)
        }
        let other = try RandomModel(seed: 2).model()
        #expect(try warnings(other).contains { $0.contains(model.baseIdentity) && $0.contains(other.baseIdentity) })
        let trained = try Model(directory: directory.path)
        try Trainer(trained, optimizer: .sgd(SGD(learningRate: 0.5))).step(batch)
        #expect(try !warnings(trained).isEmpty)
        let wider = try RandomModel(hidden: 20).model()
        #expect { try wider.loadAdapter(directory.path + "/adapter") } throws: { "\($0)".contains("has shape") }
    }

    /// A clone shares the base until either changes it, and takes over what the adapter has learned.
    @Test func clonesShareTheBase() throws {
        let model = try RandomModel().model()
        let batch = try randomBatch([9, 5], vocabulary: 150, seed: 2)
        try model.addAdapter()
        let clone = try model.clone()
        #expect(clone.activeAdapter == "default")
        let trainer = try Trainer(model, optimizer: .adamW(AdamW(learningRate: 0.01)))
        let before = try Trainer(clone).evaluate(batch).loss
        for _ in 0..<5 { try trainer.step(batch) }
        #expect(try Trainer(clone).evaluate(batch).loss == before)
        try clone.copyWeights(from: model)
        #expect(try Trainer(clone).evaluate(batch).loss == trainer.evaluate(batch).loss)
        // The base of one is trained: the other's stays.
        let bits = try model.allBits()
        try clone.setAdapter(nil)
        try Trainer(clone, optimizer: .sgd(SGD(learningRate: 0.1))).step(batch)
        #expect(try model.allBits() == bits)
        #expect(try clone.allBits() != bits)
        try model.mergeAdapter()
        #expect(try model.allBits() != bits)
    }

    @Test func aModelThatChatsNoticesAnotherAdapter() throws {
        let model = try Model(directory: tinyModelDirectory)
        let session = try ChatSession(model, tinyTokenizer())
        let first = try session.send("2+2", options: .greedy).text
        let adapter = try model.addAdapter()
        var noise = Noise(3)
        for parameter in adapter.parameters {
            adapter.setValues(noise.floats(parameter.count, scale: 0.5), of: parameter)
        }
        _ = try session.goBack()
        _ = try session.send("2+2", options: .greedy)
        try model.setAdapter(nil)
        _ = try session.goBack()
        #expect(try session.send("2+2", options: .greedy).text == first)
    }
}

/// An adapter of a tied model whose adapter_config.json is changed is refused with this message, and the model is as before.
func expectRefusal(of source: String, with change: String, _ message: String) throws {
    let directory = try TestDirectory()
    var json = try #require(
        JSONSerialization.jsonObject(
            with: Data(contentsOf: URL(filePath: source + "/adapter_config.json"))) as? [String: Any])
    let changed = try #require(JSONSerialization.jsonObject(with: Data("{\(change)}".utf8)) as? [String: Any])
    for (key, value) in changed { json[key] = value }
    try JSONSerialization.data(withJSONObject: json).write(
        to: URL(filePath: directory.path + "/adapter_config.json"))
    try FileManager.default.copyItem(
        atPath: source + "/adapter_model.safetensors", toPath: directory.path + "/adapter_model.safetensors")
    let model = try ModelFixture(name: "tied-f32").model()
    #expect { try model.loadAdapter(directory.path) } throws: { "\($0)".contains(message) }
    #expect(model.adapterNames.isEmpty)
}
