import ArgumentParser
import QwenSFTCore

/// An error as a person at a shell needs it.
struct Failure: Error {
    /// The codes of sysexits.h that the tool uses.
    enum Code: Int32 {
        case usage = 64
        case data = 65
        case noInput = 66
        case unavailable = 69
        case internalError = 70
        case noMemory = 71
        case cannotCreate = 73
        case io = 74
        case interrupted = 130
    }

    var code: Code
    var message: String
    /// What to do about it.
    var advice: String?

    init(_ code: Code, _ message: String, advice: String? = nil) {
        self.code = code
        self.message = message
        self.advice = advice
    }

    init(_ error: QwenSFTError) {
        message = error.message
        switch error.code {
        case .invalidArgument, .bufferTooSmall:
            code = .usage
        case .notFound:
            code = .noInput
            advice =
                message.contains("adapter_config.json")
                ? "an adapter's directory holds adapter_config.json and adapter_model.safetensors"
                : "check the path; a checkpoint directory holds config.json, model.safetensors and tokenizer.json"
        case .io: code = .io
        case .invalidFile: code = .data
        case .unsupported:
            code = .unavailable
            if error.message.contains("ChatML") { advice = "--chat-template chatml forces the plain ChatML template" }
        case .outOfMemory:
            code = .noMemory
            advice =
                "--dtype bfloat16 halves the weights; --max-batch-tokens, --recomputation and --optimizer sgd make training smaller; "
                + "'qwen-sft info DIR' says what it takes"
        case .noSupervisedTokens:
            code = .data
            advice =
                "'qwen-sft inspect' shows what each label policy supervises; --drop-unusable leaves such conversations out"
        case .tooLong:
            code = .data
            advice = "--max-length cuts conversations, --drop-unusable leaves them out"
        case .nonFinite:
            code = .internalError
            advice = "try a lower --lr, or --max-grad-norm"
        case .cancelled: code = .interrupted
        case .busy: code = .internalError
        }
    }

    /// Says it, and returns what to throw so that the program ends with the code.
    func report() -> ExitCode {
        Terminal.note("error: \(message)")
        if let advice { Terminal.note("       \(advice)") }
        return ExitCode(code.rawValue)
    }
}

/// An error in reading or making something, told apart because the same code means different things for the two.
func writing<T>(_ what: String, _ body: () throws -> T) throws -> T {
    do { return try body() } catch let error as QwenSFTError {
        guard [.io, .notFound, .invalidArgument].contains(error.code) else { throw error }
        throw Failure(
            .cannotCreate, "cannot write \(what): \(error.message)",
            advice: "choose another place, or make this one writable")
    }
}
