import ArgumentParser
import Foundation
import QwenSFTCore

struct ChatCommand: ToolCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat",
        abstract: "Talk to a model.",
        discussion: """
            Answers appear as they are made; Ctrl-C stops an answer and not the program. Lines that begin with / are commands, \
            /help lists them; a line that ends with \\ goes on in the next. With a PROMPT there is one answer and no \
            conversation; when standard input is no terminal, every line of it is a turn.
            """)

    @OptionGroup var checkpoint: CheckpointArguments
    @OptionGroup var quantization: QuantizationArguments

    @Option(help: ArgumentHelp("Answer with this adapter, in PEFT's format.", valueName: "dir"), completion: .directory)
    var adapter: String?

    @Argument(help: ArgumentHelp("Answer this and end.", valueName: "PROMPT"))
    var prompt: String?

    @Option(help: ArgumentHelp("The system message; without it, the template's default.", valueName: "text"))
    var system: String?

    @OptionGroup(title: "Answers") var generation: GenerationArguments

    @Option(help: ArgumentHelp("Answer PROMPT this often.", valueName: "n"))
    var numReturnSequences: Int?

    @Flag(help: "Show every token of the answer to PROMPT with its probability, one a line.")
    var logProbabilities = false

    func validate() throws {
        try quantization.check(checkpoint)
        guard prompt == nil, numReturnSequences != nil || logProbabilities else { return }
        throw ValidationError("--num-return-sequences and --log-probabilities need a PROMPT")
    }

    func execute() throws {
        let tokenizer = try checkpoint.openTokenizer()
        let model = try checkpoint.openFastest(quantization)
        if let adapter { try model.loadAdapter(adapter) }
        Interrupt.catchSignals()
        if let prompt { return try answer(prompt, model, tokenizer) }
        var chat = try Chat(model, tokenizer, options: generation.options, system: system)
        if Terminal.inputIsTerminal {
            Terminal.note(
                "\(checkpoint.directory): \(Format.count(model.configuration.parameterCount)) parameters, \(model.quantization?.rawValue ?? model.dtype.rawValue). /help lists commands."
            )
        }
        while let line = readTurn() {
            if line.hasPrefix("/") {
                guard chat.obey(line) else { return }
            } else if line.contains(where: { !$0.isWhitespace }) {
                do { try chat.answer(line) } catch let error as QwenSFTError where error.code != .outOfMemory {
                    Terminal.note("error: \(error.message)")
                    if error.code == .tooLong { Terminal.note("       \(Chat.waysOutOfAFullContext)") }
                    guard Terminal.inputIsTerminal else { throw ExitCode(Failure(error).code.rawValue) }
                }
                _ = Interrupt.take()
            }
        }
        if Terminal.inputIsTerminal { Terminal.note("") }
    }

    private func answer(_ prompt: String, _ model: Model, _ tokenizer: Tokenizer) throws {
        let messages = Chat.beginning(system) + [Message(role: "user", content: prompt)]
        var options = generation.options
        options.numReturnSequences = numReturnSequences ?? 1
        options.logProbabilities = logProbabilities
        var current = 0
        let answers = try replies(model, tokenizer, messages, options) { piece in
            // An empty line between two answers.
            if piece.sample > current { Terminal.put(logProbabilities ? "\n" : "\n\n") }
            current = piece.sample
            Terminal.put(logProbabilities ? line(piece, tokenizer) : Palette.automatic.shown(piece))
            return !Interrupt.isPending
        }
        if !logProbabilities { Terminal.put("\n") }
        for answer in answers {
            Chat.explainTheEnd(of: answer, options, model, waysOut: "a shorter prompt leaves room")
        }
        if Interrupt.take() { throw ExitCode(Failure.Code.interrupted.rawValue) }
    }

    private func replies(
        _ model: Model, _ tokenizer: Tokenizer, _ messages: [Message], _ options: GenerationOptions,
        _ onPiece: (GenerationPiece) -> Bool
    ) throws -> [Generation] {
        do {
            return try model.replies(tokenizer, messages, options: options, onPiece: onPiece)
        } catch let error where error.code == .tooLong {
            throw Failure(.data, error.message, advice: "a shorter prompt leaves room for an answer")
        }
    }

    /// Probability, its logarithm, id and text of a token.
    private func line(_ piece: GenerationPiece, _ tokenizer: Tokenizer) -> String {
        let logProbability = Double(piece.logProbability ?? .nan)
        let numbers = String(format: "%.6f\t%.4f\t%d", exp(logProbability), logProbability, piece.id)
        return "\(numbers)\t\(tokenizer.shown(piece.id))\n"
    }

    /// What a person types until a line that does not end with \; nil at the end of the input.
    private func readTurn() -> String? {
        var turn = ""
        var isFirst = true
        while true {
            if Terminal.inputIsTerminal { Terminal.prompt(isFirst ? "> " : "… ") }
            guard let line = Interrupt.whileReading({ readLine() }) else { return isFirst ? nil : turn }
            isFirst = false
            guard line.hasSuffix("\\") else { return turn + line }
            turn += line.dropLast() + "\n"
        }
    }
}

/// A conversation and how it is to be continued. The session keeps what the model has computed, so a turn costs its own tokens.
struct Chat {
    private var session: ChatSession
    private var options: GenerationOptions
    private var last: Generation?

    /// - Parameter system: nil: the template's default.
    init(
        _ model: Model, _ tokenizer: Tokenizer, options: GenerationOptions, system: String?
    ) throws {
        self.options = options
        session = try ChatSession(
            model, tokenizer, messages: Self.beginning(system), options: options)
    }

    static let waysOutOfAFullContext = "/undo takes back the last question and its answer, /reset begins anew"

    static func beginning(_ system: String?) -> [Message] {
        system.map { [Message(role: "system", content: $0)] } ?? []
    }

    /// Says the answer to `text`, piece by piece, and remembers both. What Ctrl-C cuts off is remembered as far as it came.
    mutating func answer(_ text: String) throws {
        let answer = try session.send(text, options: options) { piece in
            Terminal.put(Palette.automatic.shown(piece))
            return !Interrupt.isPending
        }
        Terminal.put("\n")
        last = answer
        Self.explainTheEnd(of: answer, options, session.model, waysOut: Self.waysOutOfAFullContext)
    }

    /// Says why an answer ended where the model did not end it.
    static func explainTheEnd(
        of answer: Generation, _ options: GenerationOptions, _ model: Model, waysOut: String
    ) {
        switch answer.finishReason {
        case .length: Terminal.note("(The answer was cut after \(options.maxNewTokens) tokens.)")
        case .context:
            let most = Format.count(model.configuration.maxPositions)
            Terminal.note("(The model's context of \(most) tokens is full: \(waysOut).)")
        case .stopID, .stopString, .cancelled: break
        }
    }

    /// Carries out a line that begins with /; false: the chat is over.
    mutating func obey(_ line: String) -> Bool {
        let words = line.split(separator: " ", maxSplits: 1)
        let rest = words.count > 1 ? words[1].trimmed : ""
        switch words.first ?? "" {
        case "/help", "/?": Terminal.note(Self.help)
        case "/quit", "/exit", "/bye": return false
        case "/reset":
            Self.attempt {
                try session.reset()
                last = nil
                Terminal.note("The conversation begins anew.")
            }
        case "/undo":
            Self.attempt {
                let found = try session.goBack()
                Terminal.note(
                    found ? "The last question and its answer are forgotten." : "There is nothing to take back.")
            }
        case "/system":
            Self.attempt {
                let system = rest.isEmpty ? nil : rest
                session = try ChatSession(
                    session.model, session.tokenizer, messages: Self.beginning(system), options: options)
                last = nil
                Terminal.note("System message: \(system ?? "the template's default"). The conversation begins anew.")
            }
        case "/settings": Terminal.note(settings)
        case "/set":
            Self.attempt {
                try set(rest)
                Terminal.note(settings)
            }
        default: Terminal.note("There is no command \(words.first ?? ""); /help lists them.")
        }
        return true
    }

    /// What goes wrong in a command is said, and the chat goes on.
    private static func attempt(_ body: () throws -> Void) {
        do { try body() } catch let failure as Failure { Terminal.note("error: \(failure.message)") } catch {
            Terminal.note("error: \(error)")
        }
    }

    private static let help = """
        /reset            forget the conversation
        /undo             forget the last question and its answer
        /system TEXT      begin anew with this system message; without TEXT, with the template's default
        /settings         show how answers are made, and how full the context is
        /set NAME VALUE   change that: temperature, top-k, top-p, min-p, repetition-penalty, seed, max-new-tokens;
                          VALUE "default" takes the checkpoint's. /set greedy on|off
        /quit             end (also Ctrl-D)
        A line that ends with \\ goes on in the next. Ctrl-C stops an answer.
        """

    private var settings: String {
        let d = session.model.generationDefaults
        let samples = options.doSample ?? d.doSample
        func show<T>(_ name: String, _ value: T?, _ standard: T) -> String {
            "\(name) \(value ?? standard)" + (value == nil ? " (default)" : "")
        }
        var parts = [samples ? "sampled" : "greedy"]
        if samples {
            parts += [
                show("temperature", options.temperature, Float(d.temperature)), show("top-k", options.topK, d.topK),
                show("top-p", options.topP, Float(d.topP)), show("min-p", options.minP, Float(d.minP)),
                "seed " + (options.seed.map(String.init) ?? "none"),
            ]
        }
        parts.append(show("repetition-penalty", options.repetitionPenalty, Float(d.repetitionPenalty)))
        parts.append("max-new-tokens \(options.maxNewTokens)")
        let context = session.model.configuration.maxPositions
        let used = last.map { $0.promptTokens + $0.ids.count } ?? 0
        parts.append("context \(Format.count(used)) of \(Format.count(context)) tokens")
        if let last { parts.append("last question \(Format.count(last.computedPromptTokens)) of them") }
        return parts.joined(separator: ", ")
    }

    private mutating func set(_ text: String) throws {
        let words = text.split(separator: " ")
        guard words.count == 2 else { throw Failure(.usage, "/set takes a name and a value") }
        let value = words[1] == "default" ? nil : words[1]
        func parsed<T: LosslessStringConvertible>(_ isFine: (T) -> Bool, _ must: String) throws -> T? {
            guard let value else { return nil }
            guard let number = T(String(value)), isFine(number) else {
                throw Failure(.usage, "\(words[0]) must be \(must)")
            }
            return number
        }
        switch words[0] {
        case "temperature": options.temperature = try parsed({ $0 > 0 && $0.isFinite }, "a number above 0")
        case "top-k": options.topK = try parsed({ $0 >= 0 }, "a whole number from 0 on")
        case "top-p": options.topP = try parsed({ $0 > 0 && $0 <= 1 }, "above 0 and at most 1")
        case "min-p": options.minP = try parsed({ $0 >= 0 && $0 <= 1 }, "from 0 to 1")
        case "repetition-penalty": options.repetitionPenalty = try parsed({ $0 > 0 && $0.isFinite }, "a number above 0")
        case "seed": options.seed = try parsed({ _ in true }, "a whole number from 0 on")
        case "max-new-tokens":
            options.maxNewTokens = try parsed({ $0 > 0 }, "a whole number above 0") ?? GenerationOptions().maxNewTokens
        case "greedy":
            switch value {
            case "on": (options.doSample, options.repetitionPenalty) = (false, 1)
            case "off": (options.doSample, options.repetitionPenalty) = (true, nil)
            case nil: (options.doSample, options.repetitionPenalty) = (nil, nil)
            default: throw Failure(.usage, "greedy is on, off or default")
            }
            return
        default: throw Failure(.usage, "there is no setting '\(words[0])'; /help lists them")
        }
        if ["temperature", "top-k", "top-p", "min-p", "seed"].contains(words[0]), value != nil {
            options.doSample = true
        }
    }
}

extension Substring {
    fileprivate var trimmed: String {
        var text = self
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}
