import Foundation
import Testing

/// What a person sees who gets something wrong: a line that says what and where, and a code a script can act on.
@Suite struct BadInputTests {
    private func expect(
        _ outcome: Tool.Outcome, _ status: Int32, _ parts: String..., at location: SourceLocation = #_sourceLocation
    ) {
        #expect(outcome.status == status, "\(outcome.error)", sourceLocation: location)
        #expect(outcome.output == "", sourceLocation: location)
        for part in parts { #expect(outcome.error.contains(part), "\(outcome.error)", sourceLocation: location) }
    }

    @Test func wrongUse() throws {
        expect(try Tool.run("train", Tool.tiny, "x.jsonl", "-o", "y", "--epoch", "3"), 64, "--epoch", "--epochs")
        expect(try Tool.run("paint"), 64, "paint")
        expect(try Tool.run("train", Tool.tiny, "x.jsonl"), 64, "--output")
        expect(try Tool.run("chat", Tool.tiny, "--temperature", "warm"), 64, "temperature")
        expect(try Tool.run("chat", Tool.tiny, "hello", "--temperature=-1"), 64, "temperature must be above 0")
        expect(try Tool.run("chat", Tool.tiny, "--greedy", "--top-k", "3"), 64, "--greedy takes no sampling options")
        expect(try Tool.run("inspect", Tool.tiny, "x", "--label-policy", "everything"), 64, "assistant_newline")
        expect(try Tool.run("tokenize", Tool.tiny, "a", "--pieces", "--count"), 64, "exclude each other")
        expect(try Tool.run("chat", Tool.tiny, "hello", "--quantization", "int3"), 64, "int4")
        expect(
            try Tool.run("chat", Tool.tiny, "hello", "--quantization", "int8", "--dtype", "bfloat16"), 64, "no --dtype")
        expect(try Tool.run("train", Tool.tiny, "x.jsonl", "-o", "y", "--quantization", "int8"), 64, "--quantization")
        expect(try Tool.run("chat", Tool.tiny, "hello", "--dtype", "float16"), 64, "'bfloat16' or 'auto'")
    }

    @Test func valuesOutOfRange() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(4))
        func train(_ extra: String...) throws -> Tool.Outcome {
            try Tool.start(["train", Tool.tiny, data, "-o", place.path("out")] + extra).finish()
        }
        expect(try train("--epochs", "0"), 64, "epochs must be above 0")
        expect(try train("--batch-size=-2"), 64, "batch")
        expect(try train("--lr=-1"), 64, "lr must be at least 0")
        expect(try train("--lr", "nan"), 64, "lr")
        // Before any data is read.
        expect(
            try Tool.run("train", Tool.tiny, "/no/such", "-o", place.path("out"), "--warmup-ratio", "2"), 64,
            "warmup_ratio must be")
        expect(
            try Tool.run("train", Tool.tiny, "/no/such", "-o", place.path("out"), "--lora", "--lora-r", "0"), 64,
            "r must be from 1")
        expect(
            try Tool.run("train", Tool.tiny, data, "-o", "/proc/out", "--lora", "--epochs", "1"), 73,
            "cannot write /proc/out", "/proc")
        expect(try train("--loraplus-lr-ratio", "16"), 64, "need --lora")
        for ratio in ["0", "nan", "inf"] {
            expect(
                try train("--lora", "--loraplus-lr-ratio", ratio), 64, "--loraplus-lr-ratio must be above 0 and finite")
        }
        expect(try train("--max-length", "0"), 64, "--max-length must be above 0")
        expect(try train("--momentum", "0.9"), 64, "--optimizer sgd")
        expect(try train("--freeze", "no.such.*"), 64, "no.such.*")
        expect(try train("--max-grad-norm=-1"), 64, "--max-grad-norm")
        #expect(!place.exists("out"))
    }

    /// An adapter's directory where a model's is asked for.
    @Test func anAdapterIsNoModel() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(4))
        let adapter = place.path("adapter")
        let train = try Tool.run("train", Tool.tiny, data, "-o", adapter, "--lora", "--epochs", "1")
        #expect(train.status == 0, "\(train.error)")
        for command in [
            ["chat", adapter, "hi"], ["info", adapter], ["train", adapter, data, "-o", place.path("out")],
            ["merge", adapter, Tool.tiny, "-o", place.path("out")],
            ["export", adapter, place.path("a.gguf")], ["tokenize", adapter, "x"], ["demo", adapter],
        ] {
            expect(
                try Tool.start(command).finish(), 64, "is an adapter, not a model", "--adapter \(adapter)",
                "merge DIR \(adapter)")
        }
    }

    @Test func missingInput() throws {
        let place = try Workspace()
        for command in [
            ["chat", "/no/such"], ["info", "/no/such"], ["tokenize", "/no/such", "x"], ["demo", "/no/such"],
        ] {
            expect(try Tool.start(command).finish(), 66, "error: /no/such", "checkpoint directory holds")
        }
        expect(
            try Tool.run("train", Tool.tiny, place.path("none.jsonl"), "-o", place.path("out")), 66, "none.jsonl",
            "JSON Lines or a JSON array")
        expect(try Tool.run("chat", place.url.path), 66, place.url.lastPathComponent)
        let data = try place.write("data.jsonl", Workspace.conversations(4))
        expect(
            try Tool.run("train", Tool.tiny, data, "-o", place.path("out"), "--resume"), 66, "out.partial",
            "without --resume")
    }

    @Test func aBrokenLineIsNamed() throws {
        let place = try Workspace()
        let fine = Workspace.conversations(20)
        let broken: [(String, Int32, [String])] = [
            (String(fine[16].dropLast()), 65, ["data.jsonl:17:"]),
            (#"{"messages": []}"#, 65, ["data.jsonl:17", "holds no message"]),
            (#"{"text": "hello"}"#, 65, ["data.jsonl:17", "'messages' is missing"]),
            (#"{"messages": [{"role": "user"}]}"#, 65, ["data.jsonl:17", "'content' is missing"]),
            (
                #"{"messages": [{"role": "user", "content": "no answer"}]}"#, 65,
                ["data.jsonl:17", "supervised", "--drop-unusable"]
            ),
            (#"{"messages": [{"role": "user", "content": "x"}], "tools": "x"}"#, 65, ["data.jsonl:17", "'tools'"]),
        ]
        for (line, status, parts) in broken {
            var lines = fine
            lines[16] = line
            let data = try place.write("data.jsonl", lines)
            for command in ["train", "inspect"] {
                let extra = command == "train" ? ["-o", place.path("out")] : []
                let outcome = try Tool.start([command, Tool.tiny, data, "--label-policy", "assistant"] + extra).finish()
                #expect(outcome.status == status, "\(line): \(outcome.error)")
                for part in parts { #expect(outcome.error.contains(part), "\(outcome.error)") }
                #expect(outcome.output == "")
            }
        }
        #expect(!place.exists("out"))
    }

    @Test func outputThatCannotBeWrittenIsFoundBeforeTraining() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(4))
        try FileManager.default.createDirectory(
            at: place.url.appending(path: "full"), withIntermediateDirectories: true)
        _ = try place.write("full/thesis.doc", ["mine"])
        try FileManager.default.createDirectory(
            at: place.url.appending(path: "full/model.safetensors"), withIntermediateDirectories: true)
        for output in ["/proc/none/out", data, place.path("full")] {
            let outcome = try Tool.run("train", Tool.tiny, data, "-o", output, "--overwrite")
            expect(outcome, 73, "cannot write \(output)", "choose another place")
            #expect(!outcome.error.contains("step 1/"))
        }
        expect(
            try Tool.run("train", Tool.tiny, data, "-o", place.path("out"), "--curve", "/proc/c.svg"), 73, "/proc/c.svg"
        )
        expect(try Tool.run("demo", Tool.tiny, "-o", "/proc/none/out"), 73, "cannot write /proc/none/out")
        #expect(try String(decoding: place.bytes("full/thesis.doc"), as: UTF8.self) == "mine\n")
    }

    /// Longer than the model's context, though not than the tokenizer's: found before the first step.
    @Test func rowsThatTheModelCannotTake() throws {
        let place = try Workspace()
        try FileManager.default.copyItem(atPath: Tool.tiny, toPath: place.path("tiny"))
        let config = place.url.appending(path: "tiny/config.json")
        let text = try String(contentsOf: config, encoding: .utf8)
        let short = text.replacing(
            try Regex("\"max_position_embeddings\": *[0-9]+"), with: "\"max_position_embeddings\": 36")
        try Data(short.utf8).write(to: config)
        let long = Workspace.conversation("1+1等于几", String(repeating: "2", count: 40))
        let data = try place.write("data.jsonl", Workspace.conversations(12) + [long])
        let fine = try place.write("fine.jsonl", Workspace.conversations(12))
        for arguments in [[data], [fine, "--validation", data]] {
            let outcome = try Tool.start(["train", place.path("tiny"), "-o", place.path("out")] + arguments).finish()
            expect(outcome, 65, "data.jsonl:13: ", "more than the model's context of 36", "--max-length")
            #expect(!outcome.error.contains("steps:"), "\(outcome.error)")
        }
        #expect(!place.exists("out") && !place.exists("out.partial"))
    }

    @Test func brokenCheckpointsAreNamed() throws {
        let place = try Workspace()
        try FileManager.default.copyItem(atPath: Tool.tiny, toPath: place.path("tiny"))
        let weights = place.url.appending(path: "tiny/model.safetensors")
        let whole = try Data(contentsOf: weights)
        try whole.prefix(whole.count / 2).write(to: weights)
        expect(try Tool.run("chat", place.path("tiny"), "hello"), 65, "model.safetensors")
        try Data("{".utf8).write(to: place.url.appending(path: "tiny/config.json"))
        expect(try Tool.run("info", place.path("tiny")), 65, "config.json")
    }
}
