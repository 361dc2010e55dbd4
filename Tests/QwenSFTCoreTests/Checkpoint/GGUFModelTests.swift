import Foundation
import QwenSFTCore
import Testing

/// Models as GGUF files: as llama.cpp's converter writes them, and back.
@Suite(.processWide) struct GGUFModelTests {
    let directory: TestDirectory
    init() throws { directory = try TestDirectory() }

    static let cases = ["qwen2-tied", "qwen3-untied-yarn"]

    private func fixture(_ name: String) -> String { fixtures.appending(path: "gguf/\(name)").path }

    private func bytes(_ path: String) throws -> [UInt8] { try Array(Data(contentsOf: URL(filePath: path))) }

    /// What the converter's file of a type has: keys, and type, shape and digest of each tensor.
    private func converter(_ name: String) throws -> [String: Any] {
        let data = try Data(contentsOf: URL(filePath: fixture(name) + "/converter.json"))
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    private func typeName(_ value: GGUFValue) -> [String] {
        func name(_ type: GGUFScalar) -> String { "\(type)".uppercased() }
        switch value {
        case .scalar(let type, _): return [name(type)]
        case .string: return ["STRING"]
        case .strings: return ["ARRAY", "STRING"]
        case .array(let type, _): return ["ARRAY", name(type)]
        }
    }

    private func isEqual(_ value: GGUFValue, _ expected: Any) -> Bool {
        switch value {
        case .scalar(.bool, let bits): return (expected as? Bool) == (bits != 0)
        case .scalar(.float32, let bits):
            return (expected as? Double).map { Float($0).bitPattern } == UInt32(truncatingIfNeeded: bits)
        case .scalar: return value.integer == expected as? Int
        case .string(let text): return text == expected as? String
        case .strings(let texts):
            return (0..<texts.count).map { String(decoding: texts[$0], as: UTF8.self) } == expected as? [String]
        case .array: return value.integers == expected as? [Int]
        }
    }

    /// All keys and all tensors are those of llama.cpp's converter, but for the name, which it is told, and a label that it makes
    /// of the number of weights.
    @Test(arguments: cases, GGUFType.allCases)
    func equalsTheConverters(_ name: String, _ type: GGUFType) throws {
        let model = try Model(directory: fixture(name) + "/checkpoint")
        let path = directory.path + "/x.gguf"
        try model.saveGGUF(to: path, type: type)
        let file = try GGUFFile(path)
        let converter = try converter(name)
        let own = try #require(converter[type.rawValue] as? [String: Any])
        var keys = try #require(converter["keys"] as? [String: [Any]])
        keys["general.file_type"] = try #require(own["file_type"] as? [Any])
        #expect(try file.string("general.name") == "checkpoint")
        for key in ["general.name", "general.size_label"] { keys[key] = nil }
        for entry in file.entries where entry.key != "general.name" {
            let found = keys.removeValue(forKey: entry.key)
            let expected = try #require(found, "\(entry.key)")
            #expect(typeName(entry.value) == expected[0] as? [String], "\(entry.key)")
            #expect(isEqual(entry.value, expected[1]), "\(entry.key)")
        }
        #expect(keys.isEmpty)
        var tensors = try #require(own["tensors"] as? [String: [Any]])
        let contents = try bytes(path)
        for tensor in file.tensors {
            let found = tensors.removeValue(forKey: tensor.name)
            let expected = try #require(found, "\(tensor.name)")
            #expect(tensor.elementType == expected[0] as? String && tensor.shape == expected[1] as? [Int])
            let digest = sha256(Array(contents[tensor.offset..<tensor.offset + tensor.byteCount]))
            #expect(digest == expected[2] as? String, "\(tensor.name)")
        }
        #expect(tensors.isEmpty)
    }

    /// The file of a model that was opened from a file of this type is that file.
    @Test(arguments: cases, GGUFType.allCases)
    func comesBackUnchanged(_ name: String, _ type: GGUFType) throws {
        let (first, second) = (directory.path + "/a.gguf", directory.path + "/b.gguf")
        try Model(directory: fixture(name) + "/checkpoint").saveGGUF(to: first, type: type)
        try Model(directory: first).saveGGUF(to: second)
        let isEqual = try settled(GGUFFile(first)) == bytes(second)
        #expect(isEqual)
    }

    /// A file's bytes. Where a block's scale has become 0, so have its values, and a file that is written again says so.
    private func settled(_ file: GGUFFile) throws -> [UInt8] {
        var contents = try bytes(file.file.path)
        for tensor in file.tensors where tensor.elementType == "Q8_0" {
            for start in stride(from: tensor.offset, to: tensor.offset + tensor.byteCount, by: 34)
            where contents[start] == 0 && contents[start + 1] & 0x7F == 0 {
                for place in start + 2..<start + 34 { contents[place] = 0 }
            }
        }
        return contents
    }

    /// The converter's own file gives its keys back, the ones that are not ours included, and the same tensors.
    @Test(arguments: cases) func convertersFileComesBack(_ name: String) throws {
        let source = try GGUFFile(fixture(name) + "/q8_0.gguf")
        let path = directory.path + "/again.gguf"
        try Model(directory: fixture(name) + "/q8_0.gguf").saveGGUF(to: path)
        let again = try GGUFFile(path)
        #expect(Set(source.entries.map(\.key)) == Set(again.entries.map(\.key)))
        #expect(try again.string("general.name") == name)
        let (a, b) = (try settled(source), try bytes(path))
        for tensor in source.tensors {
            let mine = try #require(again.tensors.first { $0.name == tensor.name })
            let isEqual =
                a[tensor.offset..<tensor.offset + tensor.byteCount] == b[mine.offset..<mine.offset + mine.byteCount]
            #expect(isEqual, "\(tensor.name)")
        }
    }

    /// A float32 file is the checkpoint: the same logits, ids and texts, and the same directory when it is saved as one.
    @Test(arguments: cases) func computesTheSame(_ name: String) throws {
        let source = fixture(name) + "/checkpoint"
        let model = try Model(directory: source)
        let path = directory.path + "/x.gguf"
        try model.saveGGUF(to: path)
        let opened = try Model(directory: path)
        let ids: [Int64] = [701, 5, 80, 402, 7, 702]
        let logits = try model.forward(ids, rows: 1, columns: 6)
        #expect(try opened.forward(ids, rows: 1, columns: 6).bits == logits.bits)
        #expect(opened.generationDefaults.eosTokenIDs == [702, 700])
        #expect(opened.generationDefaults.doSample == model.generationDefaults.doSample)
        #expect(opened.configuration.yarn == model.configuration.yarn)
        #expect(opened.baseIdentity == model.baseIdentity)
        try opened.save(to: directory.path + "/saved")
        let saved = try Model(directory: directory.path + "/saved")
        #expect(try saved.forward(ids, rows: 1, columns: 6).bits == logits.bits)
        #expect(saved.generationDefaults.eosTokenIDs == [702, 700])
        let tokenizers = try [source, path, directory.path + "/saved"].map { try Tokenizer(directory: $0) }
        let text = "2+2等于几 <|im_end|> Who are you?\n"
        let messages = [Message(role: "user", content: text)]
        for tokenizer in tokenizers {
            #expect(try tokenizer.encode(text) == tokenizers[0].encode(text))
            #expect(try tokenizer.applyChatTemplate(messages) == tokenizers[0].applyChatTemplate(messages))
            #expect(tokenizer.eosTokenID == 702 && tokenizer.padTokenID == 700)
            #expect(tokenizer.addedTokens == tokenizers[0].addedTokens)
        }
    }

    @Test func namesGoBothWays() {
        for name in [
            "self_attn.q_proj.weight", "self_attn.k_proj.bias", "mlp.down_proj.weight", "self_attn.q_norm.weight",
        ] {
            let parameter = "model.layers.17." + name
            let gguf = GGUFNames.name(of: parameter)
            #expect(gguf?.hasPrefix("blk.17.") == true)
            #expect(gguf.flatMap { GGUFNames.parameter(named: $0) } == parameter)
        }
        for name in [
            "blk.01.attn_q.weight", "blk..attn_q.weight", "blk.1.attn_q.scale", "blk.1.x.weight", "blk.1",
            "rope_freqs.weight",
        ] {
            #expect(GGUFNames.parameter(named: name) == nil)
        }
    }

    // MARK: What is refused

    /// A file of the first fixture with other entries or tensors.
    private func changed(
        _ change: (inout [GGUFEntry], inout [GGUFTensorSource]) -> Void
    ) throws -> String {
        let source = try GGUFFile(fixture("qwen2-tied") + "/q8_0.gguf")
        var entries = source.entries
        let values = [Float](repeating: 0.25, count: 704 * 64)
        let path = directory.path + "/changed.gguf"
        try? FileManager.default.removeItem(atPath: path)
        try values.withUnsafeBytes { bytes in
            var tensors = source.tensors.map {
                GGUFTensorSource(
                    name: $0.name, shape: $0.shape, values: bytes.baseAddress!, valuesType: .float32,
                    type: $0.shape.count == 2 ? .q8 : .float32)
            }
            change(&entries, &tensors)
            var file = try WritableFile(creating: path)
            try writeGGUF(entries, tensors, to: &file) { _, _ in true }
            try file.finish()
        }
        return path
    }

    @Test(
        arguments: [
            (
                "general.architecture", .string("llama"), .unsupported,
                "is 'llama'; this version computes 'qwen2' and 'qwen3' only"
            ),
            ("general.type", .string("adapter"), .unsupported, "is 'adapter', not 'model'"),
            ("qwen2.block_count", .string("4"), .invalidFile, "must be an integer"),
            ("qwen2.block_count", nil, .invalidFile, "is missing"),
            ("qwen2.expert_count", .uint32(8), .unsupported, "is there, which this version does not know"),
            ("qwen2.attention.value_length", .uint32(8), .unsupported, "is 8, another width than that of keys"),
            ("qwen2.rope.dimension_count", .uint32(8), .unsupported, "is 8; this version rotates whole heads"),
            (
                "qwen2.rope.scaling.type", .string("linear"), .unsupported,
                "is 'linear'; this version computes 'yarn' only"
            ),
            ("tokenizer.ggml.model", .string("llama"), .unsupported, "is 'llama'; Qwen2's is 'gpt2'"),
            ("tokenizer.ggml.pre", .string("qwen35"), .unsupported, "is 'qwen35'; Qwen2's is 'qwen2'"),
            (
                "tokenizer.ggml.token_type", .array(.int32, [1, 0, 0, 0]), .invalidFile,
                "must have an integer for every token"
            ),
            ("tokenizer.ggml.tokens", nil, .invalidFile, "is missing"),
            ("tokenizer.ggml.eos_token_id", .uint32(704), .invalidFile, "is 704, which is no token"),
        ] as [(String, GGUFValue?, QwenSFTError.Code, String)])
    func refusedByName(_ key: String, _ value: GGUFValue?, _ code: QwenSFTError.Code, _ message: String) throws {
        let path = try changed { entries, _ in
            entries.removeAll { $0.key == key }
            if let value { entries.append(GGUFEntry(key, value)) }
        }
        let message = "changed.gguf: '\(key)' \(message)"
        if key.hasPrefix("tokenizer") {
            expectError(code, message) { try Tokenizer(directory: path) }
            let (_, warnings) = try catchingWarnings { try Model(directory: path) }
            #expect(warnings.contains(message + "; a checkpoint that is saved will be without a tokenizer"))
        } else {
            expectError(code, message) { try Model(directory: path) }
        }
    }

    @Test func refusesOtherTensors() throws {
        let extra = try changed { _, tensors in
            tensors.append(
                GGUFTensorSource(
                    name: "blk.0.attn_output.bias", shape: [32], values: tensors[0].values, valuesType: .float32,
                    type: .float32))
        }
        expectError(
            .invalidFile,
            "changed.gguf: tensor 'model.layers.0.self_attn.o_proj.bias' is not part of the model that config.json describes"
        ) { try Model(directory: extra) }
        let unknown = try changed { _, tensors in
            tensors.append(
                GGUFTensorSource(
                    name: "rope_freqs.weight", shape: [32], values: tensors[0].values, valuesType: .float32,
                    type: .float32))
        }
        expectError(.unsupported, "changed.gguf: tensor 'rope_freqs.weight' is not part of a 'qwen2'") {
            try Model(directory: unknown)
        }
        let missing = try changed { _, tensors in tensors.removeAll { $0.name == "blk.1.ffn_up.weight" } }
        expectError(
            .invalidFile, "\(missing): no weight file holds the tensor 'model.layers.1.mlp.up_proj.weight'"
        ) { try Model(directory: missing) }
    }

    @Test func exportNeedsATokenizer() throws {
        let model = try ModelFixture(name: "tied-f32").model()
        let path = directory.path + "/x.gguf"
        expectError(
            .notFound,
            "\(ModelFixture(name: "tied-f32").directory): holds no tokenizer (tokenizer.json, vocab.json with merges.txt, or a .tiktoken file)"
        ) { try model.saveGGUF(to: path) }
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func cancelledExportLeavesTheOldFile() throws {
        let model = try Model(directory: fixture("qwen2-tied") + "/checkpoint")
        let path = try directory.write("x.gguf", "old")
        #expect { try model.saveGGUF(to: path) { done, _ in done == 0 } } throws: { error in
            (error as? QwenSFTError)?.code == .cancelled
        }
        #expect(try directory.read("x.gguf") == Array("old".utf8))
        #expect(try listDirectory(directory.path) == ["x.gguf"])
    }

    // MARK: Stop ids

    /// The tokenizer's end of text is kept where the model stops there; others get keys of their own.
    @Test(
        arguments: [
            ([702, 700], [702], nil, nil), ([700], [700], nil, nil), ([700, 702], [702], nil, nil),
            ([700, 5, 6], [700], 5, 6), ([5], [5], nil, nil),
        ] as [([Int], [Int], Int?, Int?)])
    func stopIDs(_ ids: [Int], _ eos: [Int], _ eot: Int?, _ eom: Int?) throws {
        let place = directory.path + "/checkpoint"
        try FileManager.default.copyItem(atPath: fixture("qwen2-tied") + "/checkpoint", toPath: place)
        try directory.write("checkpoint/generation_config.json", "{\"eos_token_id\": \(ids)}")
        try Model(directory: place).saveGGUF(to: directory.path + "/x.gguf")
        let file = try GGUFFile(directory.path + "/x.gguf")
        #expect(file.value("tokenizer.ggml.eos_token_id")?.integer == eos[0])
        #expect(file.value("tokenizer.ggml.eot_token_id")?.integer == eot)
        #expect(file.value("tokenizer.ggml.eom_token_id")?.integer == eom)
        let opened = try Model(directory: directory.path + "/x.gguf")
        #expect(Set(ids).isSubset(of: Set(opened.generationDefaults.eosTokenIDs.map { Int($0) } + [702])))
    }

    // MARK: Adapters

    @Test func rowsOfTokensHaveNoPlaceInAnAdapter() throws {
        let model = try ModelFixture(name: "tied-f32").model()
        try model.loadAdapter(fixtures.appending(path: "adapters/tokens").path)
        #expect { try model.saveAdapterGGUF(to: directory.path + "/t.gguf") } throws: {
            "\($0)".contains("trainable_token_indices") && "\($0)".contains("merge it")
        }
        #expect(!FileManager.default.fileExists(atPath: directory.path + "/t.gguf"))
    }

    /// Each layer's B · A, times the alpha that llama.cpp divides by the rank, is what the adapter adds here.
    @Test(arguments: ["all-linear", "rslora", "patterns", "regex", "qwen3"])
    func adapterScales(_ name: String) throws {
        let json = try JSONSerialization.jsonObject(
            with: Data(contentsOf: fixtures.appending(path: "adapters/\(name)/expected.json")))
        let base = try #require((json as? [String: Any])?["base"] as? String)
        let model = try ModelFixture(name: base).model()
        let adapter = try model.loadAdapter(fixtures.appending(path: "adapters/\(name)").path)
        let path = directory.path + "/a.gguf"
        try model.saveAdapterGGUF(to: path)
        let file = try GGUFFile(path)
        #expect(try file.string("general.type") == "adapter" && file.string("adapter.type") == "lora")
        let alpha = try #require(file.value("adapter.lora.alpha")?.literal.flatMap { Float($0) })
        func values(_ tensor: StoredTensor) throws -> [Float] {
            var values = [Float](repeating: 0, count: tensor.elementCount)
            try values.withUnsafeMutableBytes { try tensor.read(as: .float32, into: $0.baseAddress!) }
            return values
        }
        let targets = try LoRATargets(adapter.configuration)
        #expect(file.tensors.count == adapter.parameters.count)
        for tensor in file.tensors {
            let isA = tensor.name.hasSuffix(".lora_a")
            let parameter = try #require(GGUFNames.parameter(named: String(tensor.name.dropLast(".lora_a".count))))
            let module = String(parameter.dropLast(".weight".count))
            let mine = try #require(
                adapter.parameters.first { $0.name == "base_model.model.\(module).lora_\(isA ? "A" : "B").weight" })
            #expect(mine.shape == tensor.shape)
            let expected = adapter.values(of: mine)
            guard !isA else {
                #expect(try values(tensor) == expected)
                continue
            }
            let (rank, scale) = try targets.part(of: module)
            // Two roundings of float32 numbers.
            let theirs = try values(tensor).map { $0 * (alpha / Float(rank)) }
            #expect(worst(theirs, expected.map { $0 * scale }) < 3e-7, "\(module)")
        }
    }

    // MARK: Modelfile

    @Test func modelfile() throws {
        let model = try Model(directory: fixture("qwen3-untied-yarn") + "/checkpoint")
        try model.saveModelfile(beside: directory.path + "/x.gguf")
        let text = String(decoding: try directory.read("Modelfile"), as: UTF8.self)
        #expect(
            text == """
                # ollama create NAME -f Modelfile
                FROM ./x.gguf
                TEMPLATE \"\"\"{{- range .Messages }}<|im_start|>{{ .Role }}
                {{ .Content }}<|im_end|>
                {{ end }}<|im_start|>assistant
                \"\"\"
                SYSTEM \"\"\"You are a helpful assistant.\"\"\"
                PARAMETER stop "<|im_end|>"
                PARAMETER stop "<|endoftext|>"
                PARAMETER temperature 0.6
                PARAMETER top_k 20
                PARAMETER top_p 0.95
                PARAMETER min_p 0.0
                PARAMETER repeat_penalty 1.0

                """)
    }
}

/// SHA-256 (FIPS 180-4), which Foundation does not have on Linux.
private func sha256(_ message: [UInt8]) -> String {
    func constants(_ root: Double, _ count: Int) -> [UInt32] {
        var (primes, candidate) = ([Int](), 2)
        while primes.count < count {
            if primes.allSatisfy({ candidate % $0 != 0 }) { primes.append(candidate) }
            candidate += 1
        }
        return primes.map { prime in
            let value = pow(Double(prime), root)
            return UInt32((value - value.rounded(.down)) * 0x1p32)
        }
    }
    let k = constants(1.0 / 3, 64)
    var h = constants(0.5, 8)
    var padded = message + [0x80]
    while padded.count % 64 != 56 { padded.append(0) }
    padded += withUnsafeBytes(of: UInt64(message.count * 8).bigEndian) { Array($0) }
    func rotate(_ x: UInt32, _ n: UInt32) -> UInt32 { x >> n | x << (32 - n) }
    for start in stride(from: 0, to: padded.count, by: 64) {
        var w = (0..<16).map { i in (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(padded[start + 4 * i + $1]) } }
        for i in 16..<64 {
            let s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3
            let s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10
            w.append(w[i - 16] &+ s0 &+ w[i - 7] &+ s1)
        }
        var v = h
        for i in 0..<64 {
            let s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)
            let t1 = v[7] &+ s1 &+ (v[4] & v[5] ^ ~v[4] & v[6]) &+ k[i] &+ w[i]
            let s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)
            let t2 = s0 &+ (v[0] & v[1] ^ v[0] & v[2] ^ v[1] & v[2])
            v = [t1 &+ t2, v[0], v[1], v[2], v[3] &+ t1, v[4], v[5], v[6]]
        }
        h = zip(h, v).map { $0 &+ $1 }
    }
    return h.map { String(repeating: "0", count: 8 - String($0, radix: 16).count) + String($0, radix: 16) }.joined()
}
