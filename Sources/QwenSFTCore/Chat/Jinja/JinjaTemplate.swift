/// A template in the part of Jinja that chat templates use, rendered as transformers renders them: trim_blocks, lstrip_blocks,
/// loop controls, `raise_exception`, `strftime_now`, `tojson` without escapes, `{% generation %}`; values cannot be changed.
///
/// Parsed once; any number of threads may render it at once.
package struct JinjaTemplate: Sendable {
    /// What a rendering wrote.
    package struct Result: Sendable {
        package let text: TaggedText
        /// Byte ranges of `{% generation %}` blocks.
        package let generations: [Range<Int>]
    }

    private let body: JinjaBody
    private let slots: [String: Int]
    /// Whether it has `{% generation %}` blocks.
    package let hasGenerations: Bool

    /// - Throws: `invalidFile` for what is no template, `unsupported` for what is not supported, with the line.
    package init(_ text: [UInt8]) throws(QwenSFTError) {
        var parser = try JinjaParser(text)
        body = try parser.parse()
        slots = parser.slots
        hasGenerations = parser.hasGenerations
    }

    /// Whether the template mentions a variable of this name.
    func mentions(_ name: String) -> Bool { slots[name] != nil }

    /// - Throws: `invalidArgument` where the template refuses the values (`raise_exception`) or does with them what cannot be done;
    ///   `unsupported` for an operation that is not supported.
    package func render(
        _ variables: [(name: String, value: JinjaValue)], limits: JinjaLimits = .init(), clock: JinjaClock = .now
    ) throws(QwenSFTError) -> Result {
        var values = [JinjaValue](repeating: .missing, count: slots.count)
        for variable in variables {
            if let slot = slots[variable.name] { values[slot] = variable.value }
        }
        let renderer = JinjaRenderer(slots: values, limits: limits, clock: clock)
        defer { renderer.finish() }
        _ = try body.execute(renderer)
        return Result(text: renderer.output, generations: renderer.generations)
    }
}
