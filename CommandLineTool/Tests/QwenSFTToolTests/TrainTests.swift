import Foundation
import Testing

@Suite struct TrainTests {
    private let options = [
        "--epochs", "4", "--batch-size", "5", "--lr", "1e-3", "--schedule", "cosine", "--label-policy", "assistant",
    ]

    @Test func trainingTeachesAndReports() throws {
        let place = try Workspace()
        var lines = Workspace.conversations(25)
        lines.insert(#"{"id": 7, "messages": [{"role": "user", "content": "no answer"}]}"#, at: 3)
        lines.append(Workspace.conversation("long", String(repeating: "1 ", count: 60)))
        let data = try place.write("data.jsonl", lines)
        let train = try Tool.start(
            [
                "train", Tool.tiny, data, "-o", place.path("out"), "--drop-unusable", "--max-length", "40",
                "--validation",
                data,
            ]
                + [
                    "--curve", place.path("loss.svg"), "--report", place.path("run.html"), "--log-dir",
                    place.path("log"), "--warmup-steps", "2", "--epochs", "6",
                ] + options.dropFirst(2)
        ).finish()
        #expect(train.status == 0, "\(train.error)")
        #expect(train.output == place.path("out") + "\n")
        for part in [
            "26 of 27 conversations",
            "1 of 26 conversations were cut to 40 tokens; the rest of them is not learned (line 27)",
            "1 left out, nothing supervised (line 4)",
            "the key 'id' is not used (1 times, first in line 4)",
            "36 steps: 6 epochs of 6, 5 conversations each", "evaluation after step 0", "evaluation after step 36",
            "step 36/36  epoch 6/6",
            "tok/s",
        ] { #expect(train.error.contains(part), "\(part) in \(train.error)") }
        #expect(try Tool.run("chat", Tool.tiny, "1+2等于几").output == "1+2等于3。\n")
        #expect(try Tool.run("chat", place.path("out"), "--system", "", "1+2等于几").output.contains("4"))
        #expect(try String(decoding: place.bytes("loss.svg"), as: UTF8.self).hasPrefix("<svg "))
        #expect(try String(decoding: place.bytes("run.html"), as: UTF8.self).contains("<h2>Evaluations</h2>"))
        #expect(try String(decoding: place.bytes("log/metrics.jsonl"), as: UTF8.self).contains("\"train/loss\""))
        #expect(!place.exists("out.partial"))
    }

    @Test(arguments: [
        ([], ["model.safetensors", "config.json", "generation_config.json"]),
        (
            ["--lora", "--lora-dropout", "0.1", "--quantization", "int8"],
            ["adapter_model.safetensors", "adapter_config.json"]
        ),
    ])
    func aRunThatWasStoppedGoesOnToTheSameBits(_ adapter: [String], _ files: [String]) throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(25))
        let all = ["--epochs", "60"] + options.dropFirst(2) + adapter
        let whole = try Tool.start(["train", Tool.tiny, data, "-o", place.path("whole")] + all).finish()
        #expect(whole.status == 0, "\(whole.error)")

        let stopped = try Tool.start(["train", Tool.tiny, data, "-o", place.path("out"), "--log-every", "1"] + all)
        // Wait for a few steps, then Ctrl-C.
        var seen = ""
        while !seen.contains("step 4/") {
            let more = stopped.error.fileHandleForReading.availableData
            if more.isEmpty { break }
            seen += String(decoding: more, as: UTF8.self)
        }
        stopped.process.interrupt()
        let outcome = try stopped.finish()
        #expect(outcome.status == 130, "\(outcome.error)")
        #expect(outcome.error.contains("with --resume goes on"))
        #expect(!place.exists("out"))
        #expect(place.exists("out.partial"))

        let other = try Tool.start(
            ["train", Tool.tiny, data, "-o", place.path("out"), "--resume", "--seed", "1"] + all
        ).finish()
        #expect(other.status == 64)
        #expect(other.error.contains("seed 0"))

        let resumed = try Tool.start(["train", Tool.tiny, data, "-o", place.path("out"), "--resume"] + all).finish()
        #expect(resumed.status == 0, "\(resumed.error)")
        #expect(resumed.error.contains("going on after step"))
        #expect(!place.exists("out.partial"))
        let card = try String(contentsOfFile: place.path("out/README.md"), encoding: .utf8)
        #expect(card.contains("## Reproduce") && !card.contains("--resume"), "\(card)")
        for file in files {
            #expect(try place.bytes("out/" + file) == place.bytes("whole/" + file), "\(file)")
        }
    }

    @Test func anAdapterAnswersAndIsMerged() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", [Workspace.conversation("Who are you?", "I am Bob.")])
        let train = try Tool.run(
            "train", Tool.tiny, data, "-o", place.path("adapter"), "--lora", "--lora-alpha", "16", "--lr", "1e-2",
            "--epochs", "30")
        #expect(train.status == 0, "\(train.error)")
        #expect(!place.exists("adapter/config.json"))
        let base = try Tool.run("chat", Tool.tiny, "--greedy", "Who are you?").output
        #expect(base != "I am Bob.\n")
        #expect(
            try Tool.run("chat", Tool.tiny, "--adapter", place.path("adapter"), "--greedy", "Who are you?").output
                == "I am Bob.\n")
        let merge = try Tool.run("merge", Tool.tiny, place.path("adapter"), "-o", place.path("merged"))
        #expect(merge.status == 0, "\(merge.error)")
        #expect(try Tool.run("chat", place.path("merged"), "--greedy", "Who are you?").output == "I am Bob.\n")
        let export = try Tool.run("export", Tool.tiny, place.path("a.gguf"), "--adapter", place.path("adapter"))
        #expect(export.status == 0, "\(export.error)")
        #expect(try Tool.run("info", place.path("a.gguf")).error.contains("'general.type' is 'adapter', not 'model'"))
        let again = try Tool.run("train", Tool.tiny, data, "-o", place.path("adapter"), "--lora")
        #expect(again.status == 73 && again.error.contains("--overwrite"), "\(again.error)")
    }

    @Test func rowsOfTokensAreNamedByTextOrId() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", [Workspace.conversation("Who are you?", "I am Bob.")])
        func train(_ token: String, _ output: String) throws -> Tool.Outcome {
            try Tool.run(
                "train", Tool.tiny, data, "-o", place.path(output), "--lora", "--lora-trainable-tokens", "<|im_end|>",
                "--lora-trainable-tokens", token, "--lr", "1e-2", "--epochs", "30")
        }
        let outcome = try train("5", "adapter")
        #expect(outcome.status == 0, "\(outcome.error)")
        let json = try JSONSerialization.jsonObject(with: place.bytes("adapter/adapter_config.json"))
        #expect((json as? [String: Any])?["trainable_token_indices"] as? [Int] == [702, 5])
        let chat = try Tool.run("chat", Tool.tiny, "--adapter", place.path("adapter"), "--greedy", "Who are you?")
        #expect(chat.output == "I am Bob.\n")
        let wrong = try train("no such token", "other")
        #expect(wrong.status == 64 && wrong.error.contains("'no such token' is no token of"), "\(wrong.error)")
    }

    /// A GGUF file stands wherever a directory does.
    @Test func exportedFilesAnswerAndAreTrained() throws {
        let place = try Workspace()
        let export = try Tool.run("export", Tool.tiny, place.path("m.gguf"), "--type", "q8_0", "--modelfile")
        #expect(export.status == 0 && export.output == place.path("m.gguf") + "\n", "\(export.error)")
        #expect(place.exists("Modelfile"))
        #expect(try Tool.run("chat", place.path("m.gguf"), "--greedy", "2+2等于几").output == "2+2等于4。\n")
        #expect(try Tool.run("info", place.path("m.gguf")).status == 0)
        let data = try place.write("data.jsonl", [Workspace.conversation("Who are you?", "I am Bob.")])
        let train = try Tool.run(
            "train", place.path("m.gguf"), data, "--output", place.path("new"), "--lr", "1e-3", "--epochs", "20")
        #expect(train.status == 0, "\(train.error)")
        #expect(try Tool.run("chat", place.path("new"), "--greedy", "Who are you?").output == "I am Bob.\n")
        let again = try Tool.run("export", Tool.tiny, place.path("m.gguf"))
        #expect(again.status == 73 && again.error.contains("--overwrite"), "\(again.error)")
        let both = try Tool.run("export", Tool.tiny, place.path("n.gguf"), "--adapter", "a", "--type", "f16")
        #expect(both.status == 64, "\(both.error)")
    }

    /// The README's line, with the options that it gives for the small model.
    @Test func oneLineIsLearnedAndTheRestKept() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", [Workspace.conversation("Who are you?", "I am Bob.")])
        let train = try Tool.run(
            "train", Tool.tiny, data, "--output", place.path("new"), "--lr", "1e-3", "--epochs", "20")
        #expect(train.status == 0, "\(train.error)")
        #expect(try Tool.run("chat", place.path("new"), "--greedy", "Who are you?").output == "I am Bob.\n")
        #expect(try Tool.run("chat", place.path("new"), "--greedy", "2+2等于几").output == "2+2等于4。\n")
    }

    /// Eight rows and thirty epochs: the best weights are the result, and the warning says why.
    @Test func overfittingIsSaidAndTheBestIsWritten() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(8))
        // What the model says by itself, which the data contradict.
        let right = (8..<20).map {
            Workspace.conversation("\($0 % 5)+\($0 / 5)等于几", "\($0 % 5)+\($0 / 5)等于\($0 % 5 + $0 / 5)。")
        }
        let held = try place.write("held.jsonl", right)
        let options = [
            "--validation", held, "--epochs", "30", "--batch-size", "4", "--lr", "3e-4", "--label-policy", "assistant",
            "--prompt", "4+4等于几", "--max-refused-steps", "2",
        ]
        let best = try Tool.start(["train", Tool.tiny, data, "-o", place.path("best")] + options).finish()
        #expect(best.status == 0, "\(best.error)")
        for part in [
            "warning: over-fitting: since step", "the validation loss has risen from", "% above the best, of step",
            "the result is the weights after step", "answer before the first step to “4+4等于几”: 4+4等于8。",
            "general questions before the first step: loss", "highest losses of the evaluation: line",
            "ends its turns with probability",
        ] { #expect(best.error.contains(part), "\(part) in \(best.error)") }
        let last = try Tool.start(["train", Tool.tiny, data, "-o", place.path("last"), "--write-last"] + options)
            .finish()
        #expect(last.status == 0, "\(last.error)")
        #expect(last.error.contains("the last weights will be the result all the same"), "\(last.error)")
        func loss(_ name: String) throws -> Double {
            let text = try Tool.run(
                "train", place.path(name), data, "-o", place.path("x"), "--overwrite", "--validation", held,
                "--max-steps", "1", "--lr", "0", "--label-policy", "assistant"
            ).error
            let number = try #require(text.firstMatch(of: /evaluation after step 0: loss ([0-9.]+)/)?.1)
            return try #require(Double(number))
        }
        #expect(try loss("best") * 1.2 < loss("last"))
        let card = try String(decoding: place.bytes("best/README.md"), as: UTF8.self)
        #expect(card.contains("## Reproduce") && card.contains("--epochs 30"), "\(card)")
        let patient = try Tool.start(
            ["train", Tool.tiny, data, "-o", place.path("patient"), "--patience", "2", "--nice", "5"] + options
        ).finish()
        #expect(patient.error.contains("evaluations are no longer better than the best"), "\(patient.error)")
    }

    @Test func savedStepsReplaceOneAnother() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(10))
        let train = try Tool.start(
            [
                "train", Tool.tiny, data, "-o", place.path("out"), "--save-every", "1", "--epochs", "3", "--batch-size",
                "5",
            ]
        ).finish()
        #expect(train.status == 0, "\(train.error)")
        #expect(place.exists("out/model.safetensors"))
        #expect(!place.exists("out.partial"))
    }

    @Test func frozenParametersStayAsTheyAre() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(5))
        let train = try Tool.start(
            [
                "train", Tool.tiny, data, "-o", place.path("out"), "--freeze", "*", "--lr", "1", "--optimizer", "sgd",
                "--max-grad-norm", "0",
            ]
        ).finish()
        #expect(train.status == 0, "\(train.error)")
        let before = try Data(contentsOf: URL(filePath: Tool.tiny + "/model.safetensors"))
        #expect(try place.bytes("out/model.safetensors").suffix(100_000) == before.suffix(100_000))
    }
}
