import Foundation
import Testing

/// Nothing that was trained or saved is lost: whatever ends a run, and whatever is at its output already.
@Suite struct LossTests {
    private let options = ["--batch-size", "5", "--lr", "1e-3", "--label-policy", "assistant", "--log-every", "1"]

    /// Starts training and waits until it has come to this step.
    private func start(_ arguments: [String], step: Int) throws -> Tool.Running {
        let running = try Tool.start(arguments)
        var seen = ""
        while !seen.contains("step \(step)/") {
            let more = running.error.fileHandleForReading.availableData
            if more.isEmpty { break }
            seen += String(decoding: more, as: UTF8.self)
        }
        #expect(seen.contains("step \(step)/"), "\(seen)")
        return running
    }

    @Test(arguments: [SIGTERM, SIGHUP, SIGXCPU]) func signalsSaveTheRun(number: Int32) throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(25))
        let all = ["train", Tool.tiny, data, "-o", place.path("out"), "--epochs", "400"] + options
        let running = try start(all, step: 3)
        // A terminal that is closed may send it twice.
        kill(running.process.processIdentifier, number)
        kill(running.process.processIdentifier, number)
        let outcome = try running.finish()
        #expect(outcome.status == 128 + number, "\(outcome.error)")
        #expect(outcome.error.contains("with --resume goes on"), "\(outcome.error)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: place.path("out.partial")).count == 1)
        let resumed = try start(all + ["--resume"], step: 5)
        resumed.process.interrupt()
        #expect(try resumed.finish().status == 130)
    }

    /// A run that was stopped is in the way of another one until somebody says what becomes of it.
    @Test func aStoppedRunIsNotOverwrittenUnasked() throws {
        let place = try Workspace()
        let data = try place.write("it's data.jsonl", Workspace.conversations(25))
        let all = ["train", Tool.tiny, data, "-o", place.path("out"), "--epochs", "400"] + options
        let running = try start(all, step: 2)
        running.process.interrupt()
        let stopped = try running.finish()
        #expect(stopped.status == 130, "\(stopped.error)")
        // The command that goes on, as a shell takes it.
        #expect(stopped.error.contains("it'\\''s data.jsonl' -o \(place.path("out")) --epochs 400"), "\(stopped.error)")
        #expect(stopped.error.contains("--log-every 1 --resume\n"), "\(stopped.error)")
        let again = try Tool.start(all).finish()
        #expect(again.status == 73 && again.error.contains("out.partial holds a run that was stopped after step"))
        #expect(again.error.contains("--resume goes on with it, --overwrite removes it"), "\(again.error)")
        let other = try Tool.start(all + ["--resume", "--batch-size", "4"]).finish()
        #expect(other.status == 64 && other.error.contains("batch_size was 5 and is 4"), "\(other.error)")
        let forced = try start(all + ["--resume", "--force", "--batch-size", "4"], step: 5)
        forced.process.interrupt()
        let warned = try forced.finish()
        #expect(warned.status == 130, "\(warned.error)")
        let anew = try Tool.start(all + ["--overwrite", "--max-steps", "2"]).finish()
        #expect(anew.status == 0 && !anew.error.contains("going on"), "\(anew.error)")
        #expect(!place.exists("out.partial"))
        let nothing = try Tool.start(all + ["--resume", "--overwrite"]).finish()
        #expect(nothing.status == 66 && nothing.error.contains("holds nothing to resume"))
    }

    /// Whoever reads the progress goes away; training does not.
    @Test func nobodyReads() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(25))
        let shell =
            "\"$0\" train \"$1\" \"$2\" -o \"$3\" --epochs 4 --log-every 1 2>&1 >/dev/null | head -n 1 >/dev/null; sleep 0.1"
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-c", shell, Tool.executable.path, Tool.tiny, data, place.path("out")]
        try process.run()
        process.waitUntilExit()
        #expect(place.exists("out/model.safetensors"))
    }

    /// The output cannot be written at the end, though it could at the beginning: the same command finishes later.
    @Test func anEndThatFailsLosesNothing() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(25))
        let rest = ["--epochs", "30"] + options
        let whole = try Tool.start(["train", Tool.tiny, data, "-o", place.path("whole")] + rest).finish()
        #expect(whole.status == 0, "\(whole.error)")
        let running = try start(["train", Tool.tiny, data, "-o", place.path("out")] + rest, step: 3)
        try Data("mine".utf8).write(to: place.url.appending(path: "out"))
        let outcome = try running.finish()
        #expect(outcome.status == 73 && outcome.output == "", "\(outcome.error)")
        #expect(outcome.error.contains("cannot write \(place.path("out"))"), "\(outcome.error)")
        #expect(
            outcome.error.contains("Saved after step 150 of 150 in \(place.path("out.partial"))"), "\(outcome.error)")
        #expect(try place.bytes("out") == Data("mine".utf8))
        try FileManager.default.removeItem(atPath: place.path("out"))
        let again = try Tool.start(["train", Tool.tiny, data, "-o", place.path("out"), "--resume"] + rest).finish()
        #expect(again.status == 0, "\(again.error)")
        #expect(try place.bytes("out/model.safetensors") == place.bytes("whole/model.safetensors"))
        #expect(!place.exists("out.partial"))
    }

    /// No room for the optimizer's memory anywhere, here by a limit of 4 MB on the size of files: the weights are saved at the least.
    @Test func withoutRoomTheWeightsAreSaved() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(25))
        let shell =
            "ulimit -f 8000; trap '' XFSZ; cd \"$3\"; exec \"$0\" train \"$1\" \"$2\" -o out --epochs 400 --log-every 1 --save-every 2 --lr 1e-3"
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-c", shell, Tool.executable.path, Tool.tiny, data, place.url.path]
        let (output, error) = (Pipe(), Pipe())
        (process.standardOutput, process.standardError) = (output, error)
        try process.run()
        let running = Tool.Running(process: process, output: output, error: error)
        var seen = ""
        while !seen.contains("step 5/") {
            let more = error.fileHandleForReading.availableData
            if more.isEmpty { break }
            seen += String(decoding: more, as: UTF8.self)
        }
        // What cannot be saved along the way is a warning.
        #expect(seen.contains("warning: step 2 cannot be saved"), "\(seen)")
        process.interrupt()
        let outcome = try running.finish()
        #expect(outcome.status == 130, "\(outcome.error)")
        #expect(outcome.error.contains("Saved the weights after step"), "\(outcome.error)")
        let checkpoint = try #require(
            outcome.error.firstMatch(of: try Regex("in ([^ ]*checkpoint);"))?.output[1].substring.map(String.init))
        let path = checkpoint.hasPrefix("/") ? checkpoint : place.path(checkpoint)
        #expect(try Tool.run("chat", path, "--greedy", "2+2等于几").status == 0)
    }

    @Test func checkpointsAreReplacedOnRequestOnly() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(5))
        try FileManager.default.copyItem(atPath: Tool.tiny, toPath: place.path("base"))
        try FileManager.default.createSymbolicLink(atPath: place.path("link"), withDestinationPath: "base")
        let before = try place.bytes("base/model.safetensors")
        func train(_ output: String, _ extra: String...) throws -> Tool.Outcome {
            try Tool.start(
                ["train", place.path("base"), data, "-o", place.path(output), "--lr", "1e-3"] + extra
            ).finish()
        }
        for output in ["base", "base/", "link", "base/../base"] {
            for extra in [[], ["--overwrite"]] {
                let outcome = try Tool.start(
                    ["train", place.path("base"), data, "-o", place.path(output)] + extra
                ).finish()
                #expect(outcome.status == 73 && outcome.error.contains("--overwrite-base"), "\(outcome.error)")
            }
        }
        #expect(try train("out").status == 0)
        let first = try place.bytes("out/model.safetensors")
        let second = try train("out", "--epochs", "2")
        #expect(second.status == 73 && second.error.contains("holds a checkpoint already"), "\(second.error)")
        #expect(second.error.contains("--overwrite replaces it"))
        #expect(try place.bytes("out/model.safetensors") == first)
        #expect(try train("out", "--epochs", "2", "--overwrite").status == 0)
        #expect(try place.bytes("out/model.safetensors") != first)
        #expect(try place.bytes("base/model.safetensors") == before)
        #expect(try train("base", "--overwrite-base").status == 0)
        #expect(try place.bytes("base/model.safetensors") != before)
        // The same in demo, whose own place is its own.
        let demo = try Tool.run("demo", place.path("base"), "-o", place.path("out"))
        #expect(demo.status == 73 && demo.error.contains("--overwrite replaces it"), "\(demo.error)")
        #expect(try Tool.run("demo", place.path("base"), "-o", place.path("base")).status == 73)
        for _ in 0..<2 { #expect(try Tool.run("demo", place.path("base"), in: place.url).status == 0) }
    }

    /// The directory the shell stands in stays the same directory.
    @Test func theCurrentDirectoryAsOutput() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(5))
        func number() throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: place.url.path)[.systemFileNumber] as? Int
        }
        let before = try number()
        let outcome = try Tool.run("train", Tool.tiny, data, "-o", ".", in: place.url)
        #expect(outcome.status == 0, "\(outcome.error)")
        #expect(try number() == before)
        #expect(place.exists("model.safetensors") && place.exists("data.jsonl"))
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: place.url.path).allSatisfy {
                !$0.hasPrefix(".") || $0 == ".gitattributes"
            })
    }

    /// What does not arrive is an error in every command.
    @Test func aFullDeviceIsNoticed() throws {
        let place = try Workspace()
        let data = try place.write("data.jsonl", Workspace.conversations(5))
        var trained = 0
        for command in [
            ["--help"], ["--version"], ["help", "chat"], ["train", "--help"], ["chat", Tool.tiny, "2+2"],
            ["chat", Tool.tiny],
            ["chat", Tool.tiny, "2+2", "--log-probabilities"], ["inspect", Tool.tiny, data],
            ["inspect", Tool.tiny, data, "--ids"], ["tokenize", Tool.tiny, "x"],
            ["tokenize", Tool.tiny, "x", "--count"],
            ["tokenize", Tool.tiny, "x", "--pieces"], ["tokenize", Tool.tiny, "3", "--decode"], ["info", Tool.tiny],
            ["demo", Tool.tiny, "-o", place.path("demo")], ["train", Tool.tiny, data, "-o", place.path("out")],
            ["--generate-completion-script", "bash"],
        ] {
            for target in ["> /dev/full", ">&-"] {
                let process = Process()
                process.executableURL = URL(filePath: "/bin/sh")
                process.arguments = ["-c", "echo 2+2 | \"$0\" \"$@\" \(target)", Tool.executable.path] + command
                let error = Pipe()
                process.standardError = error
                try process.run()
                let text = String(decoding: error.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
                process.waitUntilExit()
                #expect(process.terminationStatus == 74, "\(command) \(target): \(text)")
                #expect(text.contains("cannot write standard output"), "\(command) \(target): \(text)")
                guard place.exists("out") else { continue }
                #expect(place.exists("out/model.safetensors"))
                try FileManager.default.removeItem(atPath: place.path("out"))
                trained += 1
            }
        }
        // What was trained is there nevertheless.
        #expect(trained == 2)
    }
}
