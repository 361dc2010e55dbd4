import Foundation
import QwenSFTCore
import Testing

/// Every command as a transcript.
@Suite struct CommandTests {
    @Test func helpNamesEveryCommandAndOption() throws {
        let help = try Tool.run("--help")
        #expect(help.status == 0)
        for command in ["chat", "train", "inspect", "tokenize", "info", "merge", "export", "demo"] {
            #expect(help.output.contains("\n  \(command) "))
            let own = try Tool.run(command, "--help")
            #expect(own.status == 0)
            // Every option has a sentence beside or below it.
            #expect(!own.output.contains(try Regex(#"\n  --[a-z-]+( <[^>]+>)?\n  -"#)), "\(own.output)")
        }
        #expect(try Tool.run("--version").output == "\(QwenSFTLibrary.version)\n")
    }

    @Test func demoTeachesAnotherAnswer() throws {
        let place = try Workspace()
        let demo = try Tool.run("demo", Tool.tiny, "-o", place.path("out"))
        #expect(demo.status == 0, "\(demo.error)")
        #expect(demo.output == "2+2等于几\n  2+2等于4。\n2+2等于几\n  2+2等于5。\n")
        #expect(demo.error.contains("step 10/10  loss 0.00"))
        #expect(demo.error.contains(place.path("out")))
        #expect(try Tool.run("chat", place.path("out"), "2+2等于几").output == "2+2等于5。\n")
    }

    @Test func demoFindsTheEmbeddedModel() throws {
        let place = try Workspace()
        let demo = try Tool.run("demo", in: place.url)
        #expect(demo.status == 0, "\(demo.error)")
        #expect(place.exists("qwen-sft-demo/model.safetensors"))
    }

    @Test func chatAnswersTurnsAndObeysCommands() throws {
        let chat = try Tool.run(
            "chat", Tool.tiny, "--greedy",
            input:
                "2+2等于几\n\n/settings\n/set temperature 0.5\n/set top-k many\n/undo\n/system Be brief.\n/reset\n/nonsense\nWho are \\\nyou?\n/quit\n你好\n"
        )
        #expect(chat.status == 0, "\(chat.error)")
        #expect(chat.output.hasPrefix("2+2等于4。\n"))
        #expect(chat.output.split(separator: "\n").count == 2, "nothing is answered after /quit: \(chat.output)")
        #expect(chat.error.contains("greedy, repetition-penalty 1.0, max-new-tokens 512"))
        #expect(chat.error.contains("sampled, temperature 0.5"))
        #expect(chat.error.contains("top-k must be"))
        #expect(chat.error.contains("Be brief."))
        #expect(chat.error.contains("There is no command /nonsense"))
        let help = try Tool.run("chat", Tool.tiny, input: "/help\n")
        for command in ["/reset", "/system", "/set ", "/settings", "/undo", "/quit"] {
            #expect(help.error.contains(command))
        }
    }

    @Test func chatKeepsWeightsInFewerBits() throws {
        let plain = try Tool.run("chat", Tool.tiny, "--greedy", "2+2等于几", "--dtype", "bfloat16")
        #expect(plain.output == "2+2等于4。\n", "\(plain.error)")
        #expect(try Tool.run("chat", Tool.tiny, "--greedy", "2+2等于几").output == plain.output)
        // Where a form makes answers slower, that is said, and it is not taken unasked.
        let slow = try Tool.run("chat", Tool.tiny, "hello", "--quantization", "int8", "--max-isa", "plain")
        #expect(slow.status == 0 && slow.error.contains("answers take longer than with bfloat16"), "\(slow.error)")
        let unasked = try Tool.run("chat", Tool.tiny, "hello", "--max-isa", "plain")
        #expect(unasked.status == 0 && !unasked.error.contains("take longer"), "\(unasked.error)")
        for form in ["none", "lossless", "int8", "int6", "int4"] {
            let answer = try Tool.run("chat", Tool.tiny, "--greedy", "2+2等于几", "--quantization", form)
            #expect(answer.output == plain.output, "\(form): \(answer)")
        }
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(1))
        func loss(_ form: String) throws -> Double {
            let shown = try Tool.run("inspect", Tool.tiny, data, "--losses", "--quantization", form).output
            let number = try #require(shown.firstMatch(of: try Regex("loss ([0-9.]+)"))?.output[1].substring)
            return try #require(Double(number))
        }
        // Six bits a weight: a thousandth of the loss of a real checkpoint, more of one with 64 numbers a row.
        #expect(abs(try loss("int6") / loss("none") - 1) < 0.1)
    }

    @Test func aTurnCostsItsOwnTokens() throws {
        let chat = try Tool.run(
            "chat", Tool.tiny, "--greedy",
            input: "2+2等于几\n/settings\n3+3等于几\n/settings\n/undo\n3+3等于几\n/settings\n/reset\n/undo\n2+2等于几\n")
        #expect(chat.status == 0, "\(chat.error)")
        let answers = chat.output.split(separator: "\n")
        #expect(answers.count == 4 && answers[1] == answers[2] && answers[0] == answers[3], "\(answers)")
        #expect(chat.error.contains("There is nothing to take back."))
        let context = chat.error.matches(
            of: try Regex("context ([0-9]+) of [0-9,]+ tokens, last question ([0-9]+) of them")
        )
        .map { [$0.output[1], $0.output[2]].compactMap { $0.substring.flatMap { Int($0) } } }
        try #require(context.count == 3)
        // The first turn computes its whole prompt, the second what came since; taken back and said again, all of it is there
        // but the last token, whose logits are needed.
        #expect(context[0][1] > 20 && context[0][1] < context[0][0])
        #expect(context[1][1] < context[1][0] - context[0][1])
        #expect(context[2] == [context[1][0], 1])
    }

    @Test func aFullContextIsSaid() throws {
        let long = String(repeating: "1 ", count: 150)
        let chat = try Tool.run(
            "chat", Tool.tiny, "--greedy", "--max-new-tokens", "2", input: (long + "\n") + "/quit\n")
        #expect(chat.error.contains("(The answer was cut after 2 tokens.)"))
        let turns = String(repeating: long + "\n", count: 20)
        let full = try Tool.run("chat", Tool.tiny, "--greedy", "--max-new-tokens", "2", input: turns)
        #expect(full.status == 65, "\(full.error)")
        #expect(full.error.contains("the model's context ends at"))
        #expect(full.error.contains("/reset begins anew"))
    }

    @Test func ctrlCStopsTheAnswerAndNotTheChat() throws {
        let chat = try Tool.start(
            ["chat", Tool.tiny, "--temperature", "50", "--top-k", "0", "--max-new-tokens", "1500"],
            input: "Hello\n/reset\n/set greedy on\n2+2等于几\n")
        _ = chat.output.fileHandleForReading.availableData  // the first answer has begun
        chat.process.interrupt()
        let outcome = try chat.finish()
        #expect(outcome.status == 0, "\(outcome.error)")
        #expect(outcome.output.hasSuffix("\n2+2等于4。\n"))
    }

    @Test func severalAnswersStopStringsAndProbabilities() throws {
        let stopped = try Tool.run("chat", Tool.tiny, "--greedy", "2+2等于几", "--stop-string", "于", "--stop-string", "x")
        #expect(stopped.output == "2+2等\n" && stopped.error == "", "\(stopped)")
        let three = try Tool.run(
            "chat", Tool.tiny, "2+2等于几", "--temperature", "4", "--seed", "1", "--num-return-sequences", "3",
            "--max-new-tokens", "8")
        #expect(three.status == 0 && three.error.contains("cut after 8 tokens"), "\(three.error)")
        let second = try Tool.run(
            "chat", Tool.tiny, "2+2等于几", "--temperature", "4", "--seed", "2", "--max-new-tokens", "8")
        #expect(three.output.contains("\n\n" + second.output.dropLast() + "\n\n"), "\(three.output) \(second.output)")
        let tokens = try Tool.run("chat", Tool.tiny, "--greedy", "2+2等于几", "--log-probabilities").output
            .split(separator: "\n").map { $0.split(separator: "\t") }
        #expect(tokens.first?.last == "\"2\"" && tokens.last?.last == "\"<|im_end|>\"", "\(tokens)")
        for token in tokens {
            let (probability, logarithm) = (try #require(Double(token[0])), try #require(Double(token[1])))
            #expect(probability > 0.5 && abs(probability - exp(logarithm)) < 1e-4)
        }
    }

    @Test func threadsChangeNothingButTime() throws {
        let one = try Tool.run("chat", Tool.tiny, "--greedy", "--threads", "1", "2+2等于几")
        #expect(one.status == 0 && one.output == "2+2等于4。\n", "\(one)")
        let none = try Tool.run("chat", Tool.tiny, "--threads", "0", "2+2等于几")
        #expect(none.status == 64 && none.error.contains("'count' is 0, expected 1 to 256 threads"), "\(none)")
    }

    @Test func inspectShowsWhatConversationsCost() throws {
        let place = try Workspace()
        let data = try place.write(
            "data.jsonl", [Workspace.conversation("2+2等于几", "2+2等于4。"), Workspace.conversation("2+2等于几", "2+2等于5。")])
        let rows = try Tool.run("inspect", Tool.tiny, data, "--label-policy", "assistant", "--losses").output
            .matches(of: Regex("── line [12], 31 tokens, loss ([0-9.]+)\n")).compactMap {
                $0.output[1].substring.flatMap { Double($0) }
            }
        try #require(rows.count == 2)
        #expect(rows[0] < 0.1 && rows[1] > 10 * rows[0], "\(rows)")
        // Where: at the 5.
        let tokens = try Tool.run(
            "inspect", Tool.tiny, data, "--label-policy", "assistant", "--losses", "--ids", "--line", "2"
        ).output.split(separator: "\n").filter { $0.contains("\tloss ") }
        let costs = try tokens.map { try #require(Double($0.split(separator: " ").last ?? "")) }
        #expect(abs(costs.reduce(0, +) / Double(costs.count) - rows[1]) < 1e-4)
        let dearest = try #require(costs.indices.max { costs[$0] < costs[$1] })
        #expect(tokens[dearest].contains("\"5\""))
    }

    @Test func sampledAnswersFollowTheirSeed() throws {
        func say(_ seed: String) throws -> String {
            try Tool.run(
                "chat", Tool.tiny, "Hello", "--temperature", "3", "--top-p", "1", "--seed", seed, "--max-new-tokens",
                "12"
            ).output
        }
        let first = try say("1")
        #expect(try say("1") == first)
        #expect(try say("2") != first || say("3") != first)
    }

    @Test func anAnswerCanBeStopped() throws {
        // Hot sampling does not come to an end by itself.
        let chat = try Tool.start([
            "chat", Tool.tiny, "Hello", "--temperature", "50", "--top-k", "0", "--max-new-tokens", "1500",
        ])
        _ = chat.output.fileHandleForReading.availableData  // the answer has begun
        chat.process.interrupt()
        let outcome = try chat.finish()
        #expect(outcome.status == 130)
        #expect(outcome.output.hasSuffix("\n"))
    }

    @Test func tokenizeGoesBothWays() throws {
        let ids = try Tool.run("tokenize", Tool.tiny, "2+2等于几 <|im_end|>")
        #expect(ids.status == 0)
        let words = ids.output.dropLast().split(separator: " ")
        #expect(words.last == "702")
        #expect(try Tool.run("tokenize", Tool.tiny, "--decode", ids.output).output == "2+2等于几 <|im_end|>\n")
        #expect(try Tool.run("tokenize", Tool.tiny, "--count", input: "2+2等于几 <|im_end|>").output == "\(words.count)\n")
        let text = try Tool.run("tokenize", Tool.tiny, "--split-special-tokens", "<|im_end|>")
        #expect(!text.output.split(separator: " ").contains("702"))
        let pieces = try Tool.run("tokenize", Tool.tiny, "--pieces", "a\n<|im_end|>")
        #expect(pieces.output.contains("\t\"\\n\"\n702\t\"<|im_end|>\"\n"))
        #expect(try Tool.run("tokenize", Tool.tiny, "--decode", "12 x").status == 65)
    }

    @Test(arguments: ["-", "/dev/stdin"])
    func dataFromStandardInput(path: String) throws {
        let input = Workspace.conversation("1+1等于几", "1+1等于2。") + "\n"
        let shown = try Tool.run("inspect", Tool.tiny, path, input: input)
        #expect(shown.status == 0 && shown.output.contains("1+1等于2。"), "\(shown.error)")
        let empty = try Tool.run("inspect", Tool.tiny, path)
        #expect(empty.status == 65 && empty.error.contains("stdin: holds no conversation"), "\(empty.error)")
    }

    /// Conversations are cut where the tokenizer's files say, and refused by their line where the model's context ends.
    @Test func lengthsOfConversations() throws {
        let place = try Workspace()
        for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
            let text = try String(contentsOfFile: Tool.tiny + "/" + name, encoding: .utf8)
                .replacing("\"model_max_length\": 2048", with: "\"model_max_length\": 16")
            _ = try place.write(name, [text])
        }
        let long = Workspace.conversation(String(repeating: "1+1等于几", count: 800), "2")
        let data = try place.write("data.jsonl", Workspace.conversations(1) + [long])
        let cut = try Tool.run("inspect", place.url.path, data, "--label-policy", "all")
        #expect(
            cut.status == 0
                && cut.error.contains("cut to 16 tokens (the tokenizer's model_max_length; max_length sets another)"),
            "\(cut.error)")
        let refused = try Tool.run("inspect", place.url.path, data, "--max-length", "100000")
        #expect(refused.status == 65 && refused.error.contains("data.jsonl:2: "), "\(refused.error)")
        #expect(refused.error.contains("tokens are more than the model's context of 2048"), "\(refused.error)")
        let dropped = try Tool.run("inspect", place.url.path, data, "--max-length", "100000", "--drop-unusable")
        #expect(
            dropped.status == 0 && dropped.error.contains("1 left out, longer than the context (line 2)"),
            "\(dropped.error)")
        // Without a model, nobody knows its context.
        try FileManager.default.removeItem(atPath: place.path("config.json"))
        #expect(try Tool.run("inspect", place.url.path, data, "--max-length", "100000").status == 0)
    }

    @Test func inspectShowsWhatIsSupervised() throws {
        let place = try Workspace()
        let data = try place.write(
            "data.jsonl", [Workspace.conversation("1+1等于几", "1+1等于2。"), "", Workspace.conversation("你好", "你好！")])
        let plain = try Tool.run("inspect", Tool.tiny, data, "--label-policy", "assistant", "--no-default-system")
        #expect(
            plain.output == """
                ── line 1, 20 tokens
                <|im_start|>user
                1+1等于几<|im_end|>
                <|im_start|>assistant
                ⟦1+1等于2。<|im_end|>⟧
                ── line 3, \(plain.output.split(separator: "line 3, ").last?.prefix(2) ?? "") tokens
                <|im_start|>user
                你好<|im_end|>
                <|im_start|>assistant
                ⟦你好！<|im_end|>⟧

                """)
        #expect(plain.error.contains("2 of 2 conversations"))
        let colored = try Tool.run(
            "inspect", Tool.tiny, data, "--label-policy", "assistant", "--color", "always", "--line", "3")
        #expect(colored.output.contains("\u{1B}[30;42m你好！<|im_end|>\u{1B}[0m\n"))
        #expect(!colored.output.contains("line 1"))
        let ids = try Tool.run("inspect", Tool.tiny, data, "--ids", "--line", "1")
        #expect(ids.output.contains("\n0\t701\t701\t\"<|im_start|>\"\n1\t"))
        #expect(try Tool.run("inspect", Tool.tiny, data, "--line", "2").status == 65)
    }

    @Test func infoDescribes() throws {
        let info = try Tool.run("info", Tool.tiny)
        #expect(info.status == 0)
        for part in [
            "type                  qwen2\n", "878,720", "heads                 4", "vocab_size: 700",
            "tokenizer_config.json",
            "You are a helpful assistant.",
            "AdamW, bfloat16",
        ] {
            #expect(info.output.contains(part), "\(part)")
        }
        #expect(!info.output.contains("YaRN"))
    }

    /// What is written beside the result can be, before anything is computed; and nothing is lost of what is there.
    @Test func reportsThatCannotBeWritten() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(4))
        func train(_ extra: String...) throws -> Tool.Outcome {
            try Tool.start(["train", Tool.tiny, data, "-o", place.path("out"), "--max-steps", "1"] + extra).finish()
        }
        for option in ["--report", "--curve"] {
            for path in [place.path("none/file"), place.path("")] {
                let outcome = try train(option, path)
                #expect(outcome.status == 73 && outcome.error.contains("cannot write \(path)"), "\(outcome)")
            }
        }
        let old = try place.write("old.html", ["old"])
        #expect(try train("--report", old, "--freeze", "nothing").status != 0)
        #expect(try String(contentsOfFile: old, encoding: .utf8) == "old\n")
        #expect(!place.exists("out"))
        let logged = try train("--log-dir", data)
        #expect(logged.status == 0 && logged.error.contains("warning: the log cannot be written"), "\(logged)")
    }

    /// In memory as in the files, which are bfloat16.
    @Test func dtypeOfTheFiles() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(4))
        func weights(_ dtype: String) throws -> String? {
            let info = try Tool.run("info", Tool.tiny, "--data", data, "--dtype", dtype)
            #expect(info.status == 0, "\(info)")
            return info.output.split(separator: "\n").first { $0.contains("(weights ") }?
                .split(separator: "(weights ").last?.split(separator: ",").first.map(String.init)
        }
        let auto = try weights("auto")
        #expect(try auto != nil && auto == weights("bfloat16") && auto != weights("float32"))
        #expect(try Tool.run("chat", Tool.tiny, "2+2等于几", "--greedy", "--dtype", "auto").output == "2+2等于4。\n")
        #expect(try Tool.run("info", Tool.tiny, "--dtype", "float16").status == 64)
    }

    /// What a run takes is said before it begins, by 'info' and by 'train'; one that there is no memory for does not.
    @Test func planOfARun() throws {
        let place = try Workspace()
        let data = try place.write(
            "data.jsonl", Array(repeating: Workspace.conversation("1+1等于几", "1+1等于2。"), count: 4))
        let options = ["--batch-size", "2", "--epochs", "3", "--lora"]
        let info = try Tool.start(["info", Tool.tiny, "--data", data] + options).finish()
        let steps = "6, 3 epochs of 2"
        #expect(info.status == 0 && info.output.contains("steps                 " + steps), "\(info)")
        #expect(info.output.contains("TFLOP") && info.error.contains("4 of 4 conversations"), "\(info)")
        let train = try Tool.start(["train", Tool.tiny, data, "-o", place.path("out")] + options).finish()
        #expect(train.status == 0 && train.error.contains("steps: " + steps), "\(train)")

        try FileManager.default.copyItem(atPath: Tool.tiny, toPath: place.path("huge"))
        let path = place.path("huge/config.json")
        let config = try String(contentsOfFile: path, encoding: .utf8)
        try config.replacing(#/"intermediate_size": \d+/#, with: "\"intermediate_size\": 1000000000")
            .write(toFile: path, atomically: true, encoding: .utf8)
        let refused = try Tool.run("train", place.path("huge"), data, "-o", place.path("more"))
        #expect(refused.status == 71 && refused.error.contains("--ignore-memory"), "\(refused)")
        #expect(try Tool.run("info", place.path("huge"), "--data", data).output.contains("does not fit"))
        // It is tried then, and the file is not that of such a model.
        #expect(
            try Tool.run("train", place.path("huge"), data, "-o", place.path("more"), "--ignore-memory").status == 65)
    }

    /// Templates, tools and arguments of one's own reach the rows.
    @Test func chatTemplates() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", [Workspace.conversation("1+1等于几", "1+1等于2。")])
        let template = try place.write(
            "own.jinja",
            [
                #"{% for m in messages %}<|im_start|>{{ m.role }}{{ '\n' }}{{ m.content }}{{ mark }}<|im_end|>{{ '\n' }}{% endfor %}"#
                    + "{{ tools | tojson }}"
            ])
        let tools = try place.write("tools.json", [#"[{"name": "f"}]"#])
        let shown = try Tool.run(
            "inspect", Tool.tiny, data, "--label-policy", "all", "--chat-template", template, "--tools", tools,
            "--chat-template-kwargs", #"{"mark": "!"}"#)
        #expect(shown.status == 0 && shown.output.contains("1+1等于2。!<|im_end|>"), "\(shown)")
        #expect(shown.output.contains(#"[{"name": "f"}]"#), "\(shown)")
        #expect(try Tool.run("inspect", Tool.tiny, data, "--chat-template", "chatml").status == 0)
        let unknown = try Tool.run("inspect", Tool.tiny, data, "--chat-template", "none")
        #expect(unknown.status == 64 && unknown.error.contains("no chat template called 'none'"), "\(unknown)")
        #expect(try Tool.run("chat", Tool.tiny, "1+1等于几", "--tools", place.path("missing")).status == 66)
    }
}
