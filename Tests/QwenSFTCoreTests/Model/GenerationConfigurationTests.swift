import QwenSFTCore
import Testing

@Suite(.processWide) struct GenerationConfigurationTests {
    private func generation(_ text: String) throws -> GenerationConfiguration {
        let document = try Array(text.utf8).withUnsafeBytes {
            try JSONValue(parsing: $0, file: "generation_config.json", dialect: .python)
        }
        return GenerationConfiguration(
            try JSONFields(document, file: "generation_config.json"), configuration: try qwen2Configuration())
    }

    @Test func generationConfiguration() throws {
        let instruct = try generation(
            #"{"eos_token_id": [151645, 151643], "do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}"#
        )
        #expect(instruct.eosTokenIDs == [151645, 151643] && instruct.doSample && instruct.temperature == 0.7)
        #expect(instruct.topP == 0.8 && instruct.topK == 20 && instruct.repetitionPenalty == 1.1)
        #expect(String(decoding: instruct.serialized(addingStopIDs: [151645]), as: UTF8.self).contains("151643\n  ]"))

        let empty = try generation("{}")
        #expect(empty.eosTokenIDs == [151645] && !empty.doSample && empty.topK == 50 && empty.topP == 1)
        #expect(empty.serialized() == Array("{\n  \"eos_token_id\": [\n    151645\n  ]\n}\n".utf8))

        let base = try generation(#"{"eos_token_id": 151643}"#)
        #expect(base.serialized() == Array("{\n  \"eos_token_id\": 151643\n}\n".utf8))
        #expect(
            base.serialized(addingStopIDs: [151645])
                == Array("{\n  \"eos_token_id\": [\n    151643,\n    151645\n  ]\n}\n".utf8))

        let directory = try TestDirectory()
        #expect(
            try GenerationConfiguration(directory: directory.path, configuration: qwen2Configuration()).eosTokenIDs == [
                151645
            ])
    }

    struct Odd: Sendable, CustomTestStringConvertible {
        let text: String
        let warnings: [String]
        let isAsExpected: @Sendable (GenerationConfiguration) -> Bool
        var testDescription: String { text }
        init(
            _ text: String, _ warnings: [String], _ isAsExpected: @escaping @Sendable (GenerationConfiguration) -> Bool
        ) {
            (self.text, self.warnings, self.isAsExpected) = (text, warnings, isAsExpected)
        }
    }

    @Test(arguments: [
        Odd(#"{"eos_token_id": -1}"#, []) { $0.eosTokenIDs.isEmpty },
        Odd(
            #"{"eos_token_id": [151645, 999999]}"#,
            ["'eos_token_id' should be a token id below 151936, or a list of them; the rest of it is ignored"]
        ) { $0.eosTokenIDs == [151645] },
        Odd(#"{"top_k": -1}"#, []) { $0.topK == 0 },
        Odd(#"{"top_k": 0}"#, []) { $0.topK == 0 },
        Odd(#"{"top_k": 50.0}"#, []) { $0.topK == 50 },
        Odd(#"{"top_k": 0.5}"#, ["'top_k' is not a whole number; it is off"]) { $0.topK == 0 },
        Odd(#"{"top_k": "20"}"#, ["'top_k' is not a whole number; it is off"]) { $0.topK == 0 },
        Odd(#"{"top_k": 1e300}"#, ["'top_k' is not a whole number; it is off"]) { $0.topK == 0 },
        Odd(#"{"top_p": 0.0}"#, ["'top_p' is not a number above 0 and at most 1; it is off"]) { $0.topP == 1 },
        Odd(#"{"top_p": 1.5}"#, ["'top_p' is not a number above 0 and at most 1; it is off"]) { $0.topP == 1 },
        Odd(#"{"top_p": NaN}"#, ["'top_p' is not a number above 0 and at most 1; it is off"]) { $0.topP == 1 },
        Odd(#"{"min_p": 0.05}"#, []) { $0.minP == 0.05 },
        Odd(#"{"min_p": -1}"#, ["'min_p' is not a number from 0 to 1; it is off"]) { $0.minP == 0 },
        Odd(#"{"temperature": -0.5}"#, ["'temperature' is not a number at least 0; it is off"]) { $0.temperature == 1 },
        Odd(#"{"temperature": 1e39}"#, ["'temperature' is not a number at least 0; it is off"]) { $0.temperature == 1 },
        Odd(#"{"temperature": 0}"#, []) { $0.temperature == 1 && !$0.doSample },
        Odd(
            #"{"do_sample": true, "temperature": 0.0}"#,
            ["'temperature' is 0; the likeliest token is taken, as with do_sample false"]
        ) { $0.temperature == 1 && !$0.doSample },
        Odd(#"{"repetition_penalty": 0}"#, ["'repetition_penalty' is not a number above 0; it is off"]) {
            $0.repetitionPenalty == 1
        },
        Odd(#"{"repetition_penalty": Infinity}"#, ["'repetition_penalty' is not a number above 0; it is off"]) {
            $0.repetitionPenalty == 1
        },
        Odd(#"{"do_sample": 1}"#, []) { $0.doSample },
        Odd(#"{"do_sample": "yes"}"#, ["'do_sample' is neither true nor false; it is off"]) { !$0.doSample },
        Odd(#"{"num_beams": 1, "typical_p": 1.0, "bad_words_ids": null, "min_length": 0, "suppress_tokens": []}"#, []) {
            _ in true
        },
        Odd(
            #"{"num_beams": 4, "no_repeat_ngram_size": 3, "bad_words_ids": [[1]]}"#,
            ["not used: 'num_beams', 'no_repeat_ngram_size', 'bad_words_ids'"]
        ) { _ in true },
    ])
    func oddGeneration(_ odd: Odd) throws {
        let (result, warnings) = try catchingWarnings { try generation(odd.text) }
        #expect(warnings == odd.warnings.map { "generation_config.json: " + $0 })
        #expect(odd.isAsExpected(result))
        // Whatever it says, the defaults can be sampled with; and it is written again as it was.
        #expect(result.temperature > 0 && result.topK >= 0 && result.topP > 0 && result.topP <= 1)
        #expect(result.repetitionPenalty > 0 && result.minP >= 0 && result.minP <= 1)
        if result.document["top_p"] != nil {
            #expect(String(decoding: result.serialized(), as: UTF8.self).contains("\"top_p\": "))
        }
    }

    @Test(arguments: ["", "[]", "{", "{\"top_p\": 0.8,}", "null", "\u{0}"])
    func unreadableGeneration(text: String) throws {
        let directory = try TestDirectory()
        try directory.write("generation_config.json", text)
        let (result, warnings) = try catchingWarnings {
            try GenerationConfiguration(directory: directory.path, configuration: qwen2Configuration())
        }
        #expect(result.eosTokenIDs == [151645] && result.topP == 1)
        #expect(warnings.count == 1 && warnings[0].hasPrefix("generation_config.json:"))
        #expect(warnings[0].hasSuffix("; the model is opened without generation_config.json"))
    }

    @Test func generationThatIsADirectory() throws {
        let directory = try TestDirectory()
        _ = try directory.makeDirectory("generation_config.json")
        let (_, warnings) = try catchingWarnings {
            try GenerationConfiguration(directory: directory.path, configuration: qwen2Configuration())
        }
        #expect(warnings.count == 1)
    }
}
