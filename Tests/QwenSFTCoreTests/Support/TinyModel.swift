import Foundation
import QwenSFTCore

/// The trained tiny model of Examples/, small enough to chat with in a test.
let tinyModelDirectory = URL(filePath: fixtures.path).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Examples/tiny-qwen2").path

func tinyTokenizer() throws -> Tokenizer { try tiny.get() }

private let tiny = Result { try Tokenizer(directory: tinyModelDirectory) }

func expOf(_ x: Double) -> Double { exp(x) }
func logOf(_ x: Double) -> Double { log(x) }
