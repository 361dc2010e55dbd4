import Foundation
import Testing

/// Data in its formats, its report, and what is held back of it.
@Suite struct DataTests {
    private func fixture(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Tests/Fixtures/data/" + name).path
    }

    @Test(arguments: [
        ("messages.jsonl", "(messages)"), ("messages.jsonl.gz", "(messages, gzip)"),
        ("messages.jsonl.zst", "(messages, zstd)"), ("sharegpt.json", "(sharegpt)"), ("alpaca.json", "(alpaca)"),
        ("prompt_completion.jsonl", "(prompt_completion)"), ("tools.json", "(sharegpt)"),
        ("question_answer.jsonl", "(prompt_completion (prompt=question, completion=answer))"),
    ])
    func everyFormat(_ name: String, _ format: String) throws {
        let seen = try Tool.run("inspect", Tool.tiny, fixture(name), "--label-policy", "assistant")
        #expect(seen.status == 0 && seen.error.hasPrefix("\(name): 2 of 2 conversations \(format), "), "\(seen.error)")
        #expect(seen.output.contains("⟦"))
    }

    @Test func namesAndMaps() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", [#"{"q": "1+1等于几", "a": "2。"}"#])
        let unknown = try Tool.run("inspect", Tool.tiny, data)
        #expect(unknown.status == 65 && unknown.error.contains("data.jsonl:1: expected 'messages', or"))
        #expect(unknown.error.contains("found 'q', 'a'; a map (prompt=question,completion=answer)"), "\(unknown.error)")
        let mapped = try Tool.run("inspect", Tool.tiny, data, "--map", "prompt=q,completion=a")
        #expect(mapped.status == 0 && mapped.output.contains("1+1等于几"), "\(mapped.error)")
        let named = try Tool.run("inspect", Tool.tiny, data, "--format", "alpaca")
        #expect(
            named.status == 65 && named.error.contains("format 'alpaca' needs 'instruction', 'output'"),
            "\(named.error)")
        let bad = try Tool.run("inspect", Tool.tiny, data, "--map", "q=prompt")
        #expect(bad.status == 64 && bad.error.contains("--map: the map names 'q', which no format has"), "\(bad.error)")
    }

    @Test func strict() throws {
        let place = try Workspace()
        let lines = Workspace.conversations(3)
        let data = try place.write("data.jsonl", lines + [lines[1]])
        #expect(try Tool.run("inspect", Tool.tiny, data).status == 0)
        let refused = try Tool.run("inspect", Tool.tiny, data, "--strict")
        #expect(refused.status == 65 && refused.output.isEmpty)
        #expect(refused.error.contains("data.jsonl: 1 equal to an earlier one (line 4) (strict:"), "\(refused.error)")
    }

    @Test func heldBack() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(24))
        func train(_ options: String...) throws -> Tool.Outcome {
            try Tool.start(["train", Tool.tiny, data, "-o", place.path("out"), "--overwrite"] + options).finish()
        }
        let half = try train("--validation-share", "0.5")
        #expect(half.status == 0, "\(half.error)")
        for part in ["held back to measure the loss on: 12 of them", "evaluation after step 0", "2 steps"] {
            #expect(half.error.contains(part), "\(part) in \(half.error)")
        }
        let few = try train()
        #expect(few.error.contains("no validation data") && few.error.contains("3 steps"), "\(few.error)")
        #expect(!few.error.contains("evaluation after"))
        let tokens = try train("--validation-share", "0", "--tokens-per-step", "200")
        #expect(
            tokens.status == 0 && tokens.error.contains("4 steps: 1 epoch of 4, about 200 tokens each"),
            "\(tokens.error)")
        let both = try train("--validation-share", "0.5", "--validation", data)
        #expect(both.status == 64 && both.error.contains("exclude each other"), "\(both.error)")
        let wrong = try train("--validation-share", "1")
        #expect(wrong.status == 64 && wrong.error.contains("must be at least 0 and less than 1"), "\(wrong.error)")
    }
}
