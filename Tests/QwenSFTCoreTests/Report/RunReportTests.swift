import Foundation
import FoundationXML
import Testing

@testable import QwenSFTCore

@Suite(.processWide) struct RunReportTests {
    private func tuning(_ logDirectory: String? = nil) throws -> FineTuning {
        let tokenizer = try tinyTokenizer()
        func data(_ rows: ClosedRange<Int>) throws -> EncodedDataset {
            try EncodedDataset(
                Dataset(
                    rows.map { row in
                        [
                            Message(role: "user", content: "\(row)+1等于几 <b>&"),
                            Message(role: "assistant", content: "\(row)+1等于\(row + 1)。"),
                        ]
                    }), tokenizer: tokenizer)
        }
        let trainer = try Trainer(
            Model(directory: tinyModelDirectory), optimizer: .adamW(AdamW(learningRate: 1e-3)),
            options: FineTuning.trainerOptions)
        var options = FineTuningOptions()
        options.run.batchSize = 2
        options.run.epochs = 2
        options.prompts = ["1+1等于几 <i>"]
        options.maxAnswerTokens = 4
        options.command = "qwen-sft train <DIR>"
        options.logDirectory = logDirectory
        return try FineTuning(trainer, data(1...6), validation: data(7...8), tokenizer: tokenizer, options: options)
    }

    @Test func page() throws {
        let tuning = try tuning()
        while try tuning.next() != nil {}
        let page = RunReport(tuning).html(title: "a < b")
        #expect(page.contains("<title>a &lt; b</title>") && page.contains("<h3>1+1等于几 &lt;i&gt;</h3>"))
        #expect(
            page.contains("qwen-sft train &lt;DIR&gt;") && !page.contains("<i>")
                && !page.contains("http://www.w3.org/1999"))
        for title in ["Curves", "Evaluations", "Answers", "Data", "What is learned", "Settings", "Reproduce"] {
            #expect(page.contains("<h2>\(title)</h2>"))
        }
        #expect(page.contains("1+1等于2。&lt;|im_end|&gt;\n</mark>"), "what is learned")
        #expect(page.contains(decimal(try #require(tuning.run.history.best?.loss), digits: 4)))
        // Beyond the head, it is well-formed XML.
        let start = try #require(page.range(of: "<main>"))
        let end = try #require(page.range(of: "</main>"))
        let parser = XMLParser(data: Data(page[start.lowerBound..<end.upperBound].utf8))
        #expect(parser.parse(), "\(String(describing: parser.parserError))")
        let directory = try TestDirectory()
        try RunReport(tuning).write(to: directory.path + "/report.html")
        #expect(try String(contentsOfFile: directory.path + "/report.html", encoding: .utf8).hasSuffix("</html>\n"))
    }

    @Test func log() throws {
        let directory = try TestDirectory()
        let path = directory.path + "/new/log"
        let tuning = try tuning(path)
        while try tuning.next() != nil {}
        func lines() throws -> [[String: Double]] {
            try String(contentsOfFile: path + "/metrics.jsonl", encoding: .utf8).split(separator: "\n").map {
                try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Double])
            }
        }
        let written = try lines()
        let history = tuning.run.history
        #expect(written.count == history.steps.count + history.evaluations.count)
        // Foundation reads numbers to the last digit or two.
        func isNear(_ a: [Double], _ b: [Double]) -> Bool {
            a.count == b.count && zip(a, b).allSatisfy { abs($0 / $1 - 1) < 1e-14 }
        }
        #expect(isNear(written.compactMap { $0["train/loss"] }, history.steps.compactMap { $0.metrics?.loss }))
        #expect(isNear(written.compactMap { $0["validation/loss"] }, history.validations.map(\.loss)))
        #expect(written.first?["step"] == 0)
        // Begun anew from the history it has the same lines.
        _ = try RunLog(path, history)
        func told(_ lines: [[String: Double]]) -> [[String: Double]] {
            lines.sorted { "\($0.sorted { $0.key < $1.key })" < "\($1.sorted { $0.key < $1.key })" }
        }
        #expect(try told(lines()) == told(written))
    }

    /// As TensorBoard's own reader takes it: lengths, checksums, and the message's fields.
    @Test func events() throws {
        #expect(EventFile.crc32c(Array("123456789".utf8)) == 0xE306_9283)
        let record = EventFile.scalars([("a", 1.5)], step: 300, time: 2)
        let data: [UInt8] = [
            0x09, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x10, 0xAC, 0x02, 0x2A, 0x0A, 0x0A, 0x08, 0x0A, 0x01, 0x61, 0x15, 0, 0,
            0xC0,
            0x3F,
        ]
        func bytes(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }
        let length: [UInt8] = [24, 0, 0, 0, 0, 0, 0, 0]
        #expect(
            record == length + bytes(EventFile.maskedChecksum(length)) + data + bytes(EventFile.maskedChecksum(data)))
    }
}
