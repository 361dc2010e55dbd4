import QwenSFTCore
import Testing

/// Logits, loss, every gradient and ten steps of every optimizer against transformers and torch in float64.
///
/// Tolerances: float32 torch itself is off by at most 5e-7 (logits), 3e-6 (gradients) and 4.2e-5 (AdamW's parameters, where
/// tiny gradients are divided by their own size); four times that leaves room for another order of summation.
@Suite(.processWide) struct ReferenceTests {
    @Test(arguments: ModelFixture.all)
    func logits(_ fixture: ModelFixture) throws {
        let expected = try fixture.expected()
        let batch = try expected.batch
        let logits = try fixture.model().forward(
            batch.inputIDs, rows: batch.rows, columns: batch.columns, attentionMask: batch.attentionMask)
        #expect(worst(logits, try expected.tensor("logits")) < 4e-6)
    }

    @Test(arguments: ModelFixture.all)
    func lossAndGradients(_ fixture: ModelFixture) throws {
        let expected = try fixture.expected()
        let batch = try expected.batch
        let model = try fixture.model()
        let trainer = try Trainer(model)
        let metrics = try trainer.evaluate(batch)
        #expect(abs(metrics.loss / (try expected.number("loss")) - 1) < 1e-6)
        #expect(metrics.supervisedTokens == expected.json["supervised_tokens"] as? Int)
        for (parameter, gradient) in zip(model.parameters, try trainer.gradients(batch)) {
            let error = worst(gradient, try expected.tensor("grad." + parameter.name))
            // A bias of the keys moves all scores of a row alike: its gradient is 0 but for what rounding leaves.
            #expect(error < (parameter.name.hasSuffix("k_proj.bias") ? 4e-5 : 1.2e-5), "\(parameter.name)")
        }
    }

    @Test(arguments: ModelFixture.all)
    func weightedTokens(_ fixture: ModelFixture) throws {
        let expected = try fixture.expected()
        guard let weighted = expected.json["weighted"] as? [String: Any] else { return }
        let weights = try #require(weighted["token_weights"] as? [[Double]]).flatMap { $0.map(Float.init) }
        let norms = try #require(weighted["gradient_norms"] as? [String: Double])
        let model = try fixture.model()
        let trainer = try Trainer(model)
        let batch = try expected.batch(weights: weights)
        let loss = try #require(weighted["loss"] as? Double)
        #expect(abs(try trainer.evaluate(batch).loss / loss - 1) < 1e-6)
        for (parameter, norm) in zip(model.parameters, try trainer.gradientNorms(batch)) {
            #expect(abs(norm / (try #require(norms[parameter.name])) - 1) < 1.2e-5, "\(parameter.name)")
        }
    }

    @Test(arguments: ModelFixture.all)
    func tenStepsOfEveryOptimizer(_ fixture: ModelFixture) throws {
        let expected = try fixture.expected()
        let batch = try expected.batch
        for (name, value) in try #require(expected.json["optimizers"] as? [String: [String: Any]]) {
            let model = try fixture.model()
            let trainer = try Trainer(model, optimizer: try optimizer(value))
            for (step, loss) in try #require(value["losses"] as? [Double]).enumerated() {
                let metrics = try trainer.step(batch)
                #expect(abs(metrics.loss / loss - 1) < 4e-5, "\(name) step \(step + 1)")
            }
            for parameter in model.parameters {
                let error = worst(try model.values(of: parameter), try expected.tensor("\(name).\(parameter.name)"))
                #expect(error < 1.7e-4, "\(name) \(parameter.name)")
            }
        }
    }

    /// Greedy answers, with and without a repetition penalty.
    @Test(arguments: ModelFixture.all)
    func generation(_ fixture: ModelFixture) throws {
        let model = try fixture.model()
        for run in try #require(fixture.expected().json["generation"] as? [[String: Any]]) {
            var options = GenerationOptions.greedy
            options.maxNewTokens = try #require(run["max_new_tokens"] as? Int)
            options.repetitionPenalty = Float(try #require(run["repetition_penalty"] as? Double))
            let prompt = try #require(run["prompt"] as? [Int]).map(Int32.init)
            #expect(try model.generate(prompt, options: options) == (run["new_ids"] as? [Int])?.map(Int32.init))
        }
    }

    private func optimizer(_ value: [String: Any]) throws -> Optimizer {
        func number(_ key: String) -> Double { value[key] as? Double ?? 0 }
        let rate = try #require(value["lr"] as? Double)
        switch value["kind"] as? String {
        case "SGD":
            return .sgd(
                SGD(
                    learningRate: rate, momentum: number("momentum"), dampening: number("dampening"),
                    weightDecay: number("weight_decay"), nesterov: value["nesterov"] as? Bool ?? false))
        default:
            let betas = try #require(value["betas"] as? [Double])
            return .adamW(
                AdamW(
                    learningRate: rate, beta1: betas[0], beta2: betas[1], epsilon: number("eps"),
                    weightDecay: number("weight_decay")))
        }
    }
}
