/// Makes sure that a tokenizer.json describes Qwen2's way from text to ids: this is what the code does, and nothing else. The ways
/// to write it that change no id are all accepted: steps alone or in sequences, and what concerns offsets only.
/// - Throws: `unsupported`, naming the part that would give other ids.
func requireQwen2Pipeline(_ fields: JSONFields) throws(QwenSFTError) {
    let normalizers = try steps(fields, "normalizer", "normalizers")
    guard !normalizers.isEmpty, normalizers.allSatisfy({ $0.type == "NFC" }) else {
        throw fields.unsupported("normalizer", "is \(described(normalizers)), not NFC, which Qwen2 has")
    }
    let decoders = try steps(fields, "decoder", "decoders")
    guard decoders.count == 1, decoders[0].type == "ByteLevel" else {
        throw fields.unsupported("decoder", "is \(described(decoders)), not ByteLevel, which Qwen2 has")
    }
    let processors = try steps(fields, "post_processor", "processors")
    for processor in processors where try !addsNothing(processor) {
        throw fields.unsupported(
            "post_processor", "is \(described(processors)), which adds tokens; Qwen2 has ByteLevel, which does not")
    }
    let splitters = try steps(fields, "pre_tokenizer", "pretokenizers")
    guard splitters.count == 2, try isQwen2Split(splitters[0].fields), try isByteLevel(splitters[1]) else {
        throw fields.unsupported(
            "pre_tokenizer", "is \(described(splitters)), not Qwen2's: a split by its pattern, then bytes")
    }
}

private typealias Step = (type: String, fields: JSONFields)

/// The steps of a part of the pipeline, sequences laid out one after the other; none where it is null.
private func steps(_ fields: JSONFields, _ key: String, _ listKey: String) throws(QwenSFTError) -> [Step] {
    guard let part = try fields.object(key) else { return [] }
    return try steps(part, listKey)
}

private func steps(_ part: JSONFields, _ listKey: String) throws(QwenSFTError) -> [Step] {
    let type = try part.string("type") ?? "nothing"
    guard type == "Sequence" else { return [(type, part)] }
    guard case .array(let list)? = part.value(listKey) else { throw part.wrong(listKey, "must be a list") }
    var result: [Step] = []
    for value in list {
        guard case .object = value else { throw part.wrong(listKey, "must be a list of objects") }
        result += try steps(JSONFields(value, file: part.file), listKey)
    }
    return result
}

private func described(_ steps: [Step]) -> String {
    steps.isEmpty ? "nothing" : steps.map { printable($0.type) }.joined(separator: " and ")
}

private func isQwen2Split(_ split: JSONFields) throws(QwenSFTError) -> Bool {
    let type = try split.string("type")
    let isInverted = try split.bool("invert") ?? false
    guard type == "Split", !isInverted, try split.string("behavior") == "Isolated" else { return false }
    return try split.object("pattern")?.string("Regex")?.utf8.elementsEqual(PreTokenizer.pattern.utf8) ?? false
}

/// Bytes to characters and nothing else: no split of its own, no space put before the text.
private func isByteLevel(_ step: Step) throws(QwenSFTError) -> Bool {
    let (splits, addsSpace) = (
        try step.fields.bool("use_regex") ?? true, try step.fields.bool("add_prefix_space") ?? true
    )
    return step.type == "ByteLevel" && !splits && !addsSpace
}

/// Whether a post-processor leaves the ids of a text as they are: ByteLevel concerns offsets, and a template may consist of the
/// text alone, which is how transformers writes that no token is added.
private func addsNothing(_ step: Step) throws(QwenSFTError) -> Bool {
    if step.type == "ByteLevel" { return true }
    guard step.type == "TemplateProcessing", case .array(let pieces)? = step.fields.value("single") else {
        return false
    }
    guard pieces.count == 1, case .object(let piece) = pieces[0] else { return false }
    guard case .object(let sequence)? = piece["Sequence"] else { return false }
    return sequence["id"]?.string == "A"
}
