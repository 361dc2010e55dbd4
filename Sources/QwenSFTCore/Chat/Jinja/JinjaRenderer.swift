/// What a template may use up. A template is a stranger's program: it gets no more than a conversation could need.
package struct JinjaLimits: Sendable {
    /// Work: about one for each operation, one for each `bytesPerStep` bytes of text made.
    package var steps = 1 << 25
    package static let bytesPerStep = 16
    /// Bytes of output.
    package var output = 1 << 30
    /// Macros inside of macros.
    static let macroDepth = 100
    /// Lists inside of lists.
    static let valueDepth = 200
    /// Expressions and statements inside of one another.
    static let nodeDepth = 100
    static let templateBytes = 4 << 20
    static let rangeCount = 100_000

    package init() {}
}

/// One rendering of a template: its variables, what it has written and what it may still use up.
final class JinjaRenderer {
    private var slots: [JinjaValue]
    /// What variables were before the scopes that are open set them.
    private var hidden: [(slot: Int, value: JinjaValue)] = []
    /// Where in `hidden` each open scope begins, and which scope it is.
    private var scopes: [(start: Int, number: Int)] = [(0, 0)]
    private var scopeNumber = 0
    private var macroDepth = 0
    private var captureDepth = 0

    private(set) var output = TaggedText()
    /// Ranges of the output's bytes that stand in `{% generation %}` blocks.
    var generations: [Range<Int>] = []
    /// The message that a loop is at.
    var message: Int32 = -1
    var line = 1
    private var steps: Int
    private let limits: JinjaLimits
    private var namespaces: [JinjaNamespace] = []
    /// The time `strftime_now` tells.
    let clock: JinjaClock

    init(slots: [JinjaValue], limits: JinjaLimits, clock: JinjaClock) {
        self.slots = slots
        self.limits = limits
        self.clock = clock
        steps = limits.steps
        output.reserve(1024)
    }

    /// Lets go of everything that may refer to itself.
    func finish() {
        for namespace in namespaces { namespace.values = [] }
    }

    func error(_ message: String, _ code: QwenSFTError.Code = .invalidArgument) -> QwenSFTError {
        QwenSFTError(code, "chat template, line \(line): \(message)")
    }

    // MARK: Limits

    @inline(__always)
    func charge(_ count: Int) throws(QwenSFTError) {
        steps -= count
        if steps < 0 { throw error("the template does more than \(limits.steps) steps") }
    }

    func charge(bytes: Int) throws(QwenSFTError) { try charge(bytes / JinjaLimits.bytesPerStep) }

    /// A list or dictionary that has just been made.
    func checked(_ value: JinjaValue, count: Int) throws(QwenSFTError) -> JinjaValue {
        try charge(count)
        if value.depth > JinjaLimits.valueDepth { throw error("values are nested too deeply") }
        return value
    }

    func list(
        _ elements: [JinjaValue], _ kind: JinjaList.Kind = .list, origin: TextOrigin = .template
    ) throws(QwenSFTError) -> JinjaValue {
        try checked(.list(JinjaList(elements, kind, origin: origin)), count: elements.count)
    }

    func makeNamespace() throws(QwenSFTError) -> JinjaNamespace {
        try charge(8)
        let namespace = JinjaNamespace()
        namespaces.append(namespace)
        return namespace
    }

    // MARK: Variables

    @inline(__always)
    func value(_ slot: Int) -> JinjaValue { slots[slot] }

    func assign(_ slot: Int, _ value: JinjaValue) {
        if scopes.count > 1 { hidden.append((slot, slots[slot])) }
        slots[slot] = value
    }

    func openScope() {
        scopeNumber += 1
        scopes.append((hidden.count, scopeNumber))
    }

    func closeScope() {
        guard let scope = scopes.popLast() else { return }
        while hidden.count > scope.start, let last = hidden.popLast() { slots[last.slot] = last.value }
    }

    var scope: (level: Int, number: Int) { (scopes.count, scopes.last?.number ?? 0) }

    /// Runs a macro's body in a scope inside of the one that defined the macro: what was set since in scopes that the definition
    /// does not see is out of sight.
    func callMacro(
        _ scope: (level: Int, number: Int), _ body: () throws(QwenSFTError) -> Void
    ) throws(QwenSFTError) -> JinjaText {
        guard scopes.count >= scope.level, scopes[scope.level - 1].number == scope.number else {
            throw error("a macro is called outside of the block that defines it, which is not supported", .unsupported)
        }
        guard macroDepth < JinjaLimits.macroDepth else {
            throw error("macros call one another more than \(JinjaLimits.macroDepth) deep")
        }
        let start = scopes.count > scope.level ? scopes[scope.level].start : hidden.count
        let end = hidden.count
        for i in (start..<end).reversed() { swap(&hidden[i].value, &slots[hidden[i].slot]) }
        let line = self.line
        macroDepth += 1
        // An error ends the rendering: nothing is put back then.
        let text = try capture { () throws(QwenSFTError) in
            openScope()
            try body()
            closeScope()
        }
        macroDepth -= 1
        self.line = line
        for i in start..<end { swap(&hidden[i].value, &slots[hidden[i].slot]) }
        return text
    }

    // MARK: Output

    func emit(_ text: JinjaText) throws(QwenSFTError) {
        try charge(bytes: text.count)
        if text.count > limits.output - output.bytes.count {
            throw error("the text is longer than \(limits.output) bytes")
        }
        try output.makeRoom(for: text)
        output.append(text, message: captureDepth == 0 ? message : -1)
    }

    func emit(_ value: JinjaValue) throws(QwenSFTError) {
        if case .text(let text) = value { return try emit(text) }
        if value.isUndefined { return }
        try emit(string(value))
    }

    /// Takes back everything that was written since.
    func truncate(to mark: (bytes: Int, runs: Int)) { output.truncate(to: mark) }

    /// What the body writes, as a value.
    func capture(_ body: () throws(QwenSFTError) -> Void) throws(QwenSFTError) -> JinjaText {
        var outer = TaggedText()
        swap(&outer, &output)
        captureDepth += 1
        try body()
        captureDepth -= 1
        swap(&outer, &output)
        return JinjaText(outer)
    }

    /// Marks what the body writes as the model's, unless it is captured.
    func markGeneration(_ body: () throws(QwenSFTError) -> Void) throws(QwenSFTError) {
        let start = output.bytes.count
        try body()
        if captureDepth == 0 { generations.append(start..<output.bytes.count) }
    }

    // MARK: Conversions

    /// `str(value)`.
    func string(_ value: JinjaValue) throws(QwenSFTError) -> JinjaText {
        if case .text(let text) = value { return text }
        try charge(value.size)
        var text = TaggedText()
        do { try text.appendString(value) } catch { throw self.error(error.message, error.code) }
        try charge(bytes: text.bytes.count)
        return JinjaText(text)
    }

    /// The elements that a loop over the value goes through.
    func elements(_ value: JinjaValue) throws(QwenSFTError) -> [JinjaValue] {
        switch value {
        case .list(let list): return list.takeAll()
        case .dict(let dict): return dict.entries.map(\.key)
        case .undefined: return []
        case .text(let text):
            let places = PythonText.boundaries(text.bytes)
            try charge(4 * places.count)
            return zip(places, places.dropFirst()).map { .text(text.slice($0..<$1)) }
        default: throw error("a value of type \(value.typeName) cannot be gone through")
        }
    }

    func wrongType(_ what: String, _ value: JinjaValue) -> QwenSFTError {
        if case .undefined(let undefined) = value { return error(undefined.message) }
        return error("\(what) a value of type \(value.typeName)")
    }
}
