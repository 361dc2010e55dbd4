import Foundation
import Testing

/// The built executable, run as a user runs it.
enum Tool {
    struct Outcome {
        let status: Int32
        let output: String
        let error: String
    }

    /// Stands beside the program that runs the tests.
    static let executable = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        .appending(path: "qwen-sft")

    static let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    static let tiny = repository.appending(path: "Examples/tiny-qwen2").path

    static func start(_ arguments: [String], input: String = "", in directory: URL? = nil) throws -> Running {
        let process = Process()
        process.executableURL = executable
        process.arguments = arguments
        process.currentDirectoryURL = directory
        let (stdin, stdout, stderr) = (Pipe(), Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        process.standardError = stderr
        try process.run()
        stdin.fileHandleForWriting.write(Data(input.utf8))
        try stdin.fileHandleForWriting.close()
        return Running(process: process, output: stdout, error: stderr)
    }

    static func run(_ arguments: String..., input: String = "", in directory: URL? = nil) throws -> Outcome {
        try start(arguments, input: input, in: directory).finish()
    }

    struct Running {
        let process: Process
        let output: Pipe
        let error: Pipe

        func finish() throws -> Outcome {
            // What the tests make it say fits into a pipe, so that one can be read after the other.
            let out = output.fileHandleForReading.readDataToEndOfFile()
            let err = error.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return Outcome(
                status: process.terminationStatus, output: String(decoding: out, as: UTF8.self),
                error: String(decoding: err, as: UTF8.self))
        }
    }
}

/// A directory of a test's own, removed when the test lets go of it.
final class Workspace {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appending(path: "qwen-sft-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func path(_ name: String) -> String { url.appending(path: name).path }

    func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }

    func bytes(_ name: String) throws -> Data { try Data(contentsOf: url.appending(path: name)) }

    /// A file of conversations, one a line.
    func write(_ name: String, _ lines: [String]) throws -> String {
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: url.appending(path: name))
        return path(name)
    }

    /// Sums that are wrong by one: what the small model does not say by itself.
    static func conversations(_ count: Int) -> [String] {
        (0..<count).map { i in
            let (a, b) = (i % 5, i / 5 % 5)
            return conversation("\(a)+\(b)等于几", "\(a)+\(b)等于\(a + b + 1)。")
        }
    }

    static func conversation(_ question: String, _ answer: String) -> String {
        #"{"messages": [{"role": "user", "content": "\#(question)"}, {"role": "assistant", "content": "\#(answer)"}]}"#
    }
}
