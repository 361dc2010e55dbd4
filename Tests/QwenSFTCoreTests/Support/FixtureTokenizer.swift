import QwenSFTCore

/// Qwen2's tokenizer, opened once.
func qwen2Tokenizer() throws -> Tokenizer { try fixtureTokenizer.get() }

private let fixtureTokenizer = Result { try Tokenizer(directory: fixtureDirectory + "/qwen2-tokenizer") }
