/// A history as JSON: an object of tables, each with a list for every column, which is what tables of other programs are made
/// of. What is not there is null.
extension RunHistory {
    /// One line of JSON: {"steps": {"step": […], "epoch": […], …}, "evaluations": {…}, "answers": {…}, "warnings": {…}}.
    public var json: String { String(decoding: document.serialized(), as: UTF8.self) }

    var document: JSONValue {
        func table<Row>(_ rows: [Row], _ columns: [(String, (Row) -> JSONValue)]) -> JSONValue {
            var object = JSONObject()
            for (name, value) in columns { object[name] = .array(rows.map(value)) }
            return .object(object)
        }
        var all = JSONObject()
        all["steps"] = table(
            steps,
            [
                ("step", { .integer($0.step) }), ("epoch", { .integer($0.epoch) }),
                ("lr", { .real($0.learningRate) }), ("loss", { .real($0.metrics?.loss) }),
                ("grad_norm", { .real($0.metrics?.gradientNorm) }), ("conversations", { .integer($0.rows) }),
                ("tokens", { .integer($0.tokens) }),
                ("supervised_tokens", { .integer($0.metrics?.supervisedTokens ?? 0) }),
                ("seconds", { .real($0.metrics?.seconds) }),
            ])
        all["evaluations"] = table(
            evaluations,
            [
                ("step", { .integer($0.step) }), ("data", { .string($0.kind.rawValue) }), ("loss", { .real($0.loss) }),
                ("supervised_tokens", { .integer($0.supervisedTokens) }), ("seconds", { .real($0.seconds) }),
                ("end_of_turn_probability", { .real($0.endOfTurnProbability) }),
                ("worst_rows", { .array($0.worstRows.map { .array([.integer($0.line), .real($0.loss)]) }) }),
            ])
        all["answers"] = table(
            answers,
            [
                ("step", { .integer($0.step) }), ("prompt", { .string($0.prompt) }), ("answer", { .string($0.text) }),
            ])
        all["warnings"] = table(
            warnings, [("step", { .integer($0.step) }), ("text", { .string($0.text) })])
        return .object(all)
    }

    /// - Throws: `invalidFile` naming table and column.
    package init(_ document: JSONFields) throws(QwenSFTError) {
        self.init()
        let steps = try Columns(document, "steps")
        for i in 0..<steps.count {
            let loss = try steps.optional("loss", i)
            let seconds = try steps.optional("seconds", i) ?? 0
            let metrics = try loss.map { (loss) throws(QwenSFTError) in
                StepMetrics(
                    loss: loss, supervisedTokens: try steps.integer("supervised_tokens", i),
                    gradientNorm: try steps.optional("grad_norm", i), seconds: seconds)
            }
            self.steps.append(
                TrainingRunStep(
                    step: try steps.integer("step", i), epoch: try steps.integer("epoch", i),
                    learningRate: try steps.optional("lr", i) ?? 0, rows: try steps.integer("conversations", i),
                    tokens: try steps.integer("tokens", i), metrics: metrics))
        }
        let evaluations = try Columns(document, "evaluations")
        for i in 0..<evaluations.count {
            guard let kind = Evaluation.Kind(rawValue: try evaluations.text("data", i)),
                let loss = try evaluations.optional("loss", i)
            else { throw document.wrong("evaluations", "holds no evaluation at \(i)") }
            var worst: [Evaluation.RowLoss] = []
            if case .array(let rows)? = evaluations["worst_rows", i] {
                for case .array(let pair) in rows {
                    guard pair.count == 2, let line = pair[0].integer, let loss = pair[1].double else { continue }
                    worst.append(.init(line: line, loss: loss))
                }
            }
            self.evaluations.append(
                Evaluation(
                    step: try evaluations.integer("step", i), kind: kind, loss: loss,
                    supervisedTokens: try evaluations.integer("supervised_tokens", i),
                    seconds: try evaluations.optional("seconds", i) ?? 0,
                    endOfTurnProbability: try evaluations.optional("end_of_turn_probability", i), worstRows: worst))
        }
        let answers = try Columns(document, "answers")
        for i in 0..<answers.count {
            self.answers.append(
                Answer(
                    step: try answers.integer("step", i), prompt: try answers.text("prompt", i),
                    text: try answers.text("answer", i)))
        }
        let warnings = try Columns(document, "warnings")
        for i in 0..<warnings.count {
            self.warnings.append(Note(step: try warnings.integer("step", i), text: try warnings.text("text", i)))
        }
    }
}

/// A table of lists of equal length.
private struct Columns {
    private let fields: JSONFields
    private let columns: [String: [JSONValue]]
    private let name: String
    let count: Int

    init(_ document: JSONFields, _ name: String) throws(QwenSFTError) {
        guard let fields = try document.object(name) else { throw document.missing(name) }
        var columns: [String: [JSONValue]] = [:]
        for (key, value) in fields.object.members {
            guard case .array(let values) = value else { throw fields.wrong(key, "must be a list") }
            columns[key] = values
        }
        count = columns.values.first?.count ?? 0
        for (key, values) in columns where values.count != count {
            throw fields.wrong(key, "must be as long as the other lists")
        }
        (self.fields, self.columns, self.name) = (fields, columns, name)
    }

    subscript(key: String, index: Int) -> JSONValue? { columns[key]?[index] }

    func integer(_ key: String, _ index: Int) throws(QwenSFTError) -> Int {
        guard let value = self[key, index]?.integer, value >= 0 else {
            throw fields.wrong(key, "must list counts")
        }
        return value
    }

    func text(_ key: String, _ index: Int) throws(QwenSFTError) -> String {
        guard let value = self[key, index]?.string else { throw fields.wrong(key, "must list texts") }
        return value
    }

    /// A number; nil for null.
    func optional(_ key: String, _ index: Int) throws(QwenSFTError) -> Double? {
        guard let value = self[key, index] else { return nil }
        if case .null = value { return nil }
        guard let number = value.double else { throw fields.wrong(key, "must list numbers") }
        return number
    }
}

extension JSONValue {
    /// A number that is written such that reading gives the same one; null where there is none or it is not finite.
    static func real(_ value: Double?) -> JSONValue {
        guard let value, value.isFinite else { return .null }
        return .number("\(value)")
    }
}
