/// A run as one page to read and to keep: losses, rate and gradients as curves, evaluations, answers, what was learned of the data, settings,
/// and how to do it again. The page needs nothing else, and follows the reader's light or dark.
public struct RunReport {
    private let tuning: FineTuning

    public init(_ tuning: FineTuning) { self.tuning = tuning }

    private var run: TrainingRun { tuning.run }
    private var history: RunHistory { run.history }

    /// A document in HTML.
    /// - Parameter title: of the page.
    public func html(title: String = "Fine-tuning") -> String {
        let body = [
            "<h1>\(markup(title))</h1>", summary, warnings, charts, evaluations, answers, data, preview, settings,
            again,
        ]
        return """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(markup(title))</title>
            <style>
            \(Self.style)
            </style>
            </head>
            <body>
            <main>
            \(body.filter { !$0.isEmpty }.joined(separator: "\n"))
            </main>
            </body>
            </html>

            """
    }

    /// Writes the page, in the place of an older one.
    public func write(to path: String, title: String = "Fine-tuning") throws(QwenSFTError) {
        let bytes = Array(html(title: title).utf8)
        if let warning = try replaceFile(
            path, { (file: inout WritableFile) throws(QwenSFTError) in try file.write(bytes) })
        {
            Warnings.send(warning)
        }
    }

    // MARK: Sections

    private var summary: String {
        var tiles: [(String, String)] = [("steps", "\(run.stepCount) of \(run.totalSteps)")]
        if let loss = history.steps.last?.metrics?.loss { tiles.append(("training loss", decimal(loss, digits: 4))) }
        if let start = history.start { tiles.append(("validation loss before", decimal(start.loss, digits: 4))) }
        if let best = history.best {
            tiles.append(("best, after step \(best.step)", decimal(best.loss, digits: 4)))
        }
        if let last = history.validations.last, last.step != history.best?.step {
            tiles.append(("validation loss at the end", decimal(last.loss, digits: 4)))
        }
        let seconds = history.steps.reduce(0) { $0 + ($1.metrics?.seconds ?? 0) }
        if seconds > 0 {
            let tokens = history.steps.reduce(0) { $0 + ($1.metrics == nil ? 0 : $1.tokens) }
            tiles.append(("seconds in steps", decimal(seconds, digits: seconds < 100 ? 1 : 0)))
            tiles.append(("tokens a second", decimal(Double(tokens) / seconds, digits: 0)))
        }
        if run.refusedSteps > 0 { tiles.append(("steps left out", "\(run.refusedSteps)")) }
        if let end = tuning.end { tiles.append(("weights written", "those after step \(end.weightsStep)")) }
        let shown = tiles.map { "<div><b>\(markup($0.1))</b><span>\(markup($0.0))</span></div>" }.joined()
        return "<div class=\"tiles\">\(shown)</div>"
    }

    private var warnings: String {
        if history.warnings.isEmpty { return "" }
        let items = history.warnings.map { "<li>after step \($0.step): \(markup($0.text))</li>" }.joined(
            separator: "\n")
        return section("Warnings", "<ul class=\"warnings\">\n\(items)\n</ul>")
    }

    private var charts: String {
        guard !history.steps.isEmpty else { return "" }
        let colors = Self.colors
        func plot(_ title: String, _ value: (TrainingRunStep) -> Double?) -> String {
            let points = history.steps.compactMap { step in value(step).map { (step.step, $0) } }
            if points.isEmpty { return "" }
            let series = Plot.Series(name: title, points: points, color: colors.first, isSmoothed: true)
            return Plot([series], title: title, width: 460, height: 220, colors: colors).svg
        }
        let small = [
            plot("Learning rate × 10⁶") { $0.learningRate * 1e6 }, plot("Gradient norm") { $0.metrics?.gradientNorm },
            plot("Tokens a second") { step in step.metrics.map { Double(step.tokens) / max($0.seconds, 1e-9) } },
        ]
        let main = history.curve.plot(title: "Loss", width: 640, height: 300, colors: colors).svg
        return section("Curves", main + "<div class=\"charts\">\(small.joined())</div>")
    }

    private var evaluations: String {
        if history.evaluations.isEmpty { return "" }
        let best = history.best
        let rows = history.evaluations.map { evaluation in
            let mark = evaluation.kind == .validation && evaluation.step == best?.step ? " <b>best</b>" : ""
            // The general questions are nobody's lines.
            let listed = evaluation.kind == .validation ? evaluation.worstRows : []
            let worst = listed.map { "line \($0.line) (\(decimal($0.loss, digits: 2)))" }
            return [
                "\(evaluation.step)", evaluation.kind.rawValue, decimal(evaluation.loss, digits: 4) + mark,
                evaluation.endOfTurnProbability.map { decimal($0, digits: 3) } ?? "",
                worst.joined(separator: ", "),
            ]
        }
        return section(
            "Evaluations",
            table(
                ["step", "data", "loss", "probability of the end of a turn, at its end", "worst conversations"], rows))
    }

    private var answers: String {
        if history.answers.isEmpty { return "" }
        var prompts: [String] = []
        for answer in history.answers where !prompts.contains(answer.prompt) { prompts.append(answer.prompt) }
        let parts = prompts.map { prompt in
            // Said once, as long as it stays the same.
            var changed: [RunHistory.Answer] = []
            for answer in history.answers where answer.prompt == prompt && answer.text != changed.last?.text {
                changed.append(answer)
            }
            let rows = changed.map { answer in
                [
                    answer.step == 0 ? "before" : "after step \(answer.step)",
                    "<div class=\"text\">\(markup(answer.text, keepsLines: true))</div>",
                ]
            }
            return "<h3>\(markup(prompt))</h3>\n" + table(["", "answer, where it changed"], rows)
        }
        return section("Answers", parts.joined(separator: "\n"))
    }

    private var data: String {
        var lines = run.data.report.description
        if let validation = tuning.validation { lines += validation.report.description }
        return section("Data", "<pre>\(markup(lines.joined(separator: "\n"), keepsLines: true))</pre>")
    }

    /// The first rows, with what is learned of them.
    private var preview: String {
        guard let tokenizer = tuning.tokenizer else { return "" }
        var rows: [String] = []
        for row in 0..<min(3, run.data.count) {
            guard let batch = try? run.data.batch([row]) else { continue }
            let (ids, labels) = (batch.inputIDs, batch.labels)
            var text = ""
            var start = 0
            while start < min(ids.count, 1000) {
                let isLearned = labels[start] != LabelledSequences.ignored
                var end = start
                while end < min(ids.count, 1000), (labels[end] != LabelledSequences.ignored) == isLearned { end += 1 }
                let part = markup(
                    tokenizer.decode(ids[start..<end].map { Int32(truncatingIfNeeded: $0) }), keepsLines: true)
                text += isLearned ? "<mark>\(part)</mark>" : part
                start = end
            }
            rows.append("<pre>\(text)\(ids.count > 1000 ? "…" : "")</pre>")
        }
        return section(
            "What is learned",
            "<p>The first rows; <mark>marked</mark> is what the model learns to write.</p>" + rows.joined())
    }

    private var settings: String {
        section(
            "Settings",
            table(["", ""], run.settings.members.map { [markup($0.key), markup($0.value.string ?? "")] }))
    }

    private var again: String {
        guard let command = tuning.options.command else { return "" }
        return section(
            "Reproduce",
            "<pre>\(markup(command))</pre><p>With the same binary, processor and number of threads the weights come out the same, bit for bit.</p>"
        )
    }

    private func section(_ title: String, _ content: String) -> String {
        "<section>\n<h2>\(title)</h2>\n\(content)\n</section>"
    }

    /// - Parameter rows: of cells in HTML.
    private func table(_ columns: [String], _ rows: [[String]]) -> String {
        let head = columns.allSatisfy(\.isEmpty) ? "" : "<tr>" + columns.map { "<th>\($0)</th>" }.joined() + "</tr>\n"
        let body = rows.map { "<tr>" + $0.map { "<td>\($0)</td>" }.joined() + "</tr>" }.joined(separator: "\n")
        return "<div class=\"wide\"><table>\n\(head)\(body)\n</table></div>"
    }

    // MARK: Looks

    private static let colors = Plot.Colors(
        ground: nil, title: "var(--text)", text: "var(--faint)", axis: "var(--faint)", grid: "var(--line)",
        first: "var(--first)", second: "var(--second)")

    private static let style = """
        :root { color-scheme: light dark; --text: #1f2328; --faint: #59636e; --line: #d8dee4; --ground: #ffffff; --box: #f4f6f8;
          --first: #2f6fb5; --second: #c2571a; --mark: #c8ecd0; }
        @media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --faint: #9aa4ae; --line: #343b44; --ground: #0f1318; --box: #1a2027;
          --first: #6cacf0; --second: #f0935a; --mark: #1f5a33; } }
        body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
        main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
        h1 { font-size: 1.6rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1rem; overflow-wrap: anywhere; }
        svg { max-width: 100%; height: auto; }
        .tiles { display: flex; flex-wrap: wrap; gap: .5rem; }
        .tiles div { background: var(--box); border-radius: .4rem; padding: .5rem .8rem; display: flex; flex-direction: column; }
        .tiles span { color: var(--faint); font-size: .8rem; }
        .charts { display: flex; flex-wrap: wrap; gap: .5rem; }
        .wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
        th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
        th { color: var(--faint); font-weight: normal; }
        pre, .text { white-space: pre-wrap; overflow-wrap: anywhere; } pre { background: var(--box); border-radius: .4rem; padding: .6rem .8rem; font-size: .85rem; }
        mark { background: var(--mark); color: inherit; } .warnings { border-left: 4px solid var(--second); padding-left: 1.5rem; }
        """
}
