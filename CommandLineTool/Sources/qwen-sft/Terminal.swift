import Foundation
import QwenSFTCore

/// Standard output and standard error, and what kind of thing they are.
enum Terminal {
    static let outputIsTerminal = isatty(STDOUT_FILENO) == 1
    static let errorIsTerminal = isatty(STDERR_FILENO) == 1
    static let inputIsTerminal = isatty(STDIN_FILENO) == 1

    /// Columns of standard error.
    static var width: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// A line on standard error.
    static func note(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

    /// The beginning of a line on standard error.
    static func prompt(_ text: String) { write(text, to: STDERR_FILENO) }

    /// Text on standard output, at once. Where it cannot be written, the program ends: what it was asked for does not arrive.
    static func put(_ text: String) {
        guard let number = write(text, to: STDOUT_FILENO) else { return }
        note("error: cannot write standard output: \(String(cString: strerror(number)))")
        exit(Failure.Code.io.rawValue)
    }

    /// Puts something where a stream was closed, so that no file is opened in its place and written over by messages. It cannot be
    /// written to either.
    static func openStandardStreams() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
            _ = open("/dev/null", O_RDONLY)
        }
    }

    /// Writes over the current line of standard error.
    static func rewrite(_ line: String) {
        write("\r" + line.prefix(width - 1) + "\u{1B}[K", to: STDERR_FILENO)
    }

    /// - Returns: the number of the error, if there was one.
    @discardableResult
    private static func write(_ text: String, to descriptor: Int32) -> Int32? {
        var text = text
        return text.withUTF8 { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Foundation.write(descriptor, Array(rest), rest.count)
                if count < 0, errno != EINTR { return errno }
                if count > 0 { rest = rest.dropFirst(count) }
            }
            return nil
        }
    }
}

/// Colors for a terminal; nothing at all elsewhere.
struct Palette {
    var isOn: Bool

    /// As standard output and NO_COLOR (no-color.org) say.
    static var automatic: Palette {
        Palette(isOn: Terminal.outputIsTerminal && (ProcessInfo.processInfo.environment["NO_COLOR"] ?? "").isEmpty)
    }

    func bold(_ text: String) -> String { wrap(text, "1") }
    func dim(_ text: String) -> String { wrap(text, "2") }
    /// Reasoning is dimmed.
    func shown(_ piece: GenerationPiece) -> String { piece.isReasoning ? dim(piece.text) : piece.text }
    func green(_ text: String) -> String { wrap(text, "32") }
    func inverse(_ text: String) -> String { wrap(text, "30;42") }

    private func wrap(_ text: String, _ code: String) -> String {
        isOn && !text.isEmpty ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }
}

/// Numbers as people read them.
enum Format {
    /// "1 epoch of 40", steps in an epoch.
    static func epochs(ofSteps steps: Int, stepsPerEpoch: Int) -> String {
        let epochs = Double(steps) / Double(stepsPerEpoch)
        let number = epochs == epochs.rounded() ? "\(Int(epochs))" : String(format: "%.2f", epochs)
        return "\(number) \(epochs == 1 ? "epoch" : "epochs") of \(count(stepsPerEpoch))"
    }

    static func count(_ value: Int) -> String {
        let digits = String(value.magnitude)
        var groups: [Substring] = []
        var rest = digits[...]
        while !rest.isEmpty {
            groups.insert(rest.suffix(3), at: 0)
            rest = rest.dropLast(3)
        }
        return (value < 0 ? "-" : "") + groups.joined(separator: ",")
    }

    static func bytes(_ value: Int) -> String {
        if value >= 10_000_000_000 { return String(format: "%.1f GB", Double(value) / 1e9) }
        if value >= 1_000_000_000 { return String(format: "%.2f GB", Double(value) / 1e9) }
        return String(format: "%.1f MB", Double(value) / 1e6)
    }

    static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds < 1e9 else { return "–" }
        let s = Int(seconds.rounded())
        if s >= 3600 { return String(format: "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60) }
        return String(format: "%d:%02d", s / 60, s % 60)
    }

    static func loss(_ value: Double?) -> String { value.map { String(format: "%.6f", $0) } ?? "–" }
}
