/// What a file of a checkpoint directory is, as its name says.
enum CheckpointFileKind {
    /// The model's weights under the names that transformers gives them. A save replaces all of them.
    case weights
    /// What belongs to the weights: configuration, tokenizer, template. A save copies and replaces it.
    case part
    /// What is for people. A save copies it to where there is none.
    case document
    /// What no checkpoint needs: data, a trainer's leavings, anything else. It is neither copied nor touched.
    case foreign

    /// The file without which a directory is no checkpoint.
    static let marker = Configuration.fileName

    init(_ name: String) {
        if Self.isWeights(name) {
            self = .weights
        } else if Self.parts.contains(name) || name.hasSuffix(".tiktoken") || name.hasSuffix(".jinja")
            || name.hasSuffix(".py") && Self.codePrefixes.contains(where: name.hasPrefix)
        {
            self = .part
        } else if name == ".gitattributes" || Self.documents.contains(Self.stem(name)) {
            self = .document
        } else {
            self = .foreign
        }
    }

    private static let parts: Set<String> = [
        Configuration.fileName, GenerationConfiguration.fileName, "configuration.json", "tokenizer.json",
        "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json",
        "chat_template.json", "tokenizer.model",
    ]

    /// Code that transformers runs where it is told to trust a checkpoint.
    private static let codePrefixes = ["configuration_", "modeling_", "tokenization_"]

    private static let documents: Set<String> = ["README", "LICENSE", "LICENCE", "NOTICE", "COPYING", "USE_POLICY"]

    /// The name without what says how a document is written.
    private static func stem(_ name: String) -> String {
        for ending in [".md", ".txt", ".rst"] where name.hasSuffix(ending) {
            return String(name.dropLast(ending.count))
        }
        return name
    }

    private static func isWeights(_ name: String) -> Bool {
        for (stem, ending) in [("model", ".safetensors"), ("pytorch_model", ".bin")] {
            if name == stem + ending || name == stem + ending + ".index.json" { return true }
            guard name.hasPrefix(stem + "-"), name.hasSuffix(ending) else { continue }
            // model-00001-of-00002.safetensors
            let numbers = name.dropFirst(stem.count + 1).dropLast(ending.count).split(
                separator: "-", omittingEmptySubsequences: false)
            if numbers.count == 3, numbers[1] == "of", [numbers[0], numbers[2]].allSatisfy({ Int($0) != nil }) {
                return true
            }
        }
        return false
    }
}
