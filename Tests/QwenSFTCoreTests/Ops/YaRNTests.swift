import QwenSFTCore
import Testing

/// Frequencies at the sizes of real models; what a model does with them is in `ReferenceTests`.
@Suite struct YaRNTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let config: String
        let attentionFactor: Double
        /// Of transformers 5.23, `ROPE_INIT_FUNCTIONS["yarn"]`, by place.
        let frequencies: [Int: Float]
    }

    static let all = [
        Case(
            testDescription: "Qwen2.5-7B, four times its context",
            config: #"""
                {"model_type": "qwen2", "hidden_size": 3584, "num_attention_heads": 28, "rope_theta": 1e6,
                 "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
                """#,
            attentionFactor: 1.138629436111989,
            frequencies: [
                0: 1, 1: 0.8058422207832336, 20: 0.01333521492779255, 24: 0.005375321488827467,
                30: 0.0010643609566614032, 36: 0.0001798411540221423, 40: 4.4456985051510856e-05,
                45: 1.5107409126358107e-05, 50: 5.133812464919174e-06, 63: 3.102344408034696e-07,
            ]),
        Case(
            testDescription: "Qwen3 with every option",
            config: #"""
                {"model_type": "qwen3", "hidden_size": 1024, "num_attention_heads": 16, "head_dim": 128,
                 "rope_parameters": {
                   "rope_type": "yarn", "factor": 2.5, "original_max_position_embeddings": 40960, "rope_theta": 5e6,
                   "beta_fast": 24, "beta_slow": 2, "truncate": false, "mscale": 0.7, "mscale_all_dim": 1.0},
                """#,
            attentionFactor: 0.9748186241724389,
            frequencies: [
                0: 1, 1: 0.785830020904541, 20: 0.008064396679401398, 24: 0.002941679675132036,
                30: 0.0004398665623739362, 36: 6.821649003541097e-05, 40: 2.601379674160853e-05,
                45: 7.795549208822194e-06, 50: 2.3360905743174953e-06, 63: 1.018031881017123e-07,
            ]),
    ]

    @Test(arguments: all) func frequencies(_ c: Case) throws {
        let directory = try TestDirectory()
        try directory.write(
            "config.json",
            c.config + #""intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 9, "num_key_value_heads": 4}"#)
        let configuration = try Configuration(directory: directory.path)
        let yarn = try #require(configuration.yarn)
        #expect(abs(yarn.attentionFactor / c.attentionFactor - 1) < 1e-15)
        let computed = yarn.frequencies(theta: configuration.ropeTheta, headDimension: configuration.headDimension)
        #expect(computed.count == 64)
        // A few roundings of float32, 6e-8 each: torch's power is one of float32.
        for (place, expected) in c.frequencies { #expect(abs(computed[place] / expected - 1) < 3e-7, "\(place)") }
    }
}
