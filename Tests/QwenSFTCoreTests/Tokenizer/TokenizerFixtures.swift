import QwenSFTCore
import Testing

/// The files under Tests/Fixtures that the tokenizer's tests read.
enum TokenizerFixtures {
    static let directory: String = {
        let here = #filePath.split(separator: "/").dropLast(3)
        return "/" + here.joined(separator: "/") + "/Fixtures"
    }()

    static let qwen2Directory = directory + "/qwen2-tokenizer"

    /// Loaded once: it takes a moment in debug builds.
    static let qwen2 = Result { try Tokenizer(directory: qwen2Directory) }

    static func text(_ name: String) throws -> String {
        try FileContents(directory + "/" + name).withBytes { (bytes) throws(QwenSFTError) in
            String(decoding: bytes, as: UTF8.self)
        }
    }

    /// A small tokenizer's `vocab`: 256 bytes, then `tokens`, spelled in the byte alphabet.
    static func smallVocabulary(_ tokens: [String]) -> [String: Int] {
        var vocabulary: [String: Int] = [:]
        var shifted = 0x100
        for byte in 0..<256 {
            var scalar = byte
            if !(0x21...0x7E).contains(byte), !(0xA1...0xAC).contains(byte), !(0xAE...0xFF).contains(byte) {
                scalar = shifted
                shifted += 1
            }
            vocabulary[String(Unicode.Scalar(UInt32(scalar)) ?? " ")] = byte
        }
        for (i, token) in tokens.enumerated() { vocabulary[token] = 256 + i }
        return vocabulary
    }

    /// A small tokenizer.json. `replacing`: pieces of it to be exchanged, each of which must occur.
    static func smallTokenizerJSON(
        tokens: [String] = ["he", "ll", "hell", "hello"], merges: [String] = ["h e", "l l", "he ll", "hell o"],
        added: String = #"{"id": 260, "content": "<|end|>", "special": true, "normalized": false}"#,
        replacing pieces: [(String, String)] = []
    ) throws -> String {
        func quoted(_ text: String) -> String {
            String(decoding: JSONValue.string(text).serialized(), as: UTF8.self)
        }
        let vocabulary = smallVocabulary(tokens).sorted { $0.value < $1.value }.map { "\(quoted($0.key)): \($0.value)" }
        var json = """
            {"version": "1.0", "added_tokens": [\(added)], "normalizer": {"type": "NFC"},
             "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
              {"type": "Split", "pattern": {"Regex": \(quoted(PreTokenizer.pattern))}, "behavior": "Isolated", "invert": false},
              {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}]},
             "post_processor": null, "decoder": {"type": "ByteLevel"},
             "model": {"type": "BPE", "dropout": null, "unk_token": null, "byte_fallback": false,
              "vocab": {\(vocabulary.joined(separator: ", "))},
              "merges": [\(merges.map(quoted).joined(separator: ", "))]}}
            """
        for (old, new) in pieces {
            let range = try #require(json.firstRange(of: old), "'\(old)' does not occur")
            json.replaceSubrange(range, with: new)
        }
        return json
    }
}
