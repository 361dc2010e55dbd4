import Foundation
import Glibc
import QwenSFTCore
import Testing

/// Opening and saving checkpoints: bit for bit where the type has room, whole or not at all, refused by name.
@Suite(.processWide) struct CheckpointTests {
    let directory: TestDirectory
    init() throws { directory = try TestDirectory() }

    /// A copy of a fixture's files that a checkpoint has.
    private func copy(_ fixture: ModelFixture, to name: String) throws -> String {
        let target = directory.path + "/" + name
        try FileManager.default.copyItem(atPath: fixture.directory, toPath: target)
        for file in ["expected.json", "expected.safetensors"] {
            try FileManager.default.removeItem(atPath: target + "/" + file)
        }
        return target
    }

    private func content(_ path: String) throws -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        for name in try listDirectory(path) {
            result[name] = try Array(Data(contentsOf: URL(filePath: path + "/" + name)))
        }
        return result
    }

    // MARK: Saving

    /// The source's own type keeps every bit, shards become one file, and logits are the same bits.
    @Test(arguments: ModelFixture.all)
    func savedAndOpened(_ fixture: ModelFixture) throws {
        let source = try copy(fixture, to: "source")
        let model = try Model(directory: source)
        let target = directory.path + "/target"
        try model.save(to: target)
        let again = try Model(directory: target)
        #expect(try again.allBits() == model.allBits())
        let ids: [Int64] = [1, 2, 3, 4, 5, 6]
        #expect(try again.forward(ids, rows: 1, columns: 6).bits == model.forward(ids, rows: 1, columns: 6).bits)
        #expect(try listDirectory(target).filter { $0.hasSuffix(".safetensors") } == ["model.safetensors"])
        #expect(try listDirectory(target).allSatisfy { !$0.hasSuffix(".index.json") })
        let types = try SafetensorsCheckpoint(directory: target).tensors.map(\.elementType)
        #expect(Set(types) == Set(try SafetensorsCheckpoint(directory: source).tensors.map(\.elementType)))
    }

    /// As in the files: bfloat16 where all matrices are, and float32 where only that holds them.
    @Test func dtypeOfTheFiles() throws {
        let model = try Model(directory: try copy(ModelFixture.all[0], to: "source"))
        for (dtype, expected) in [(DType.float32, DType.float32), (.bfloat16, .bfloat16), (.float16, .float32)] {
            let target = directory.path + "/" + dtype.rawValue
            try model.save(to: target, dtype: dtype)
            #expect(try Model(directory: target, dtype: nil).dtype == expected)
            #expect(try Model.isBFloat16(directory: target) == (dtype == .bfloat16))
            #expect(try Model(directory: target).dtype == .float32)
        }
    }

    /// Templates in a directory of their own are saved by name with the tokenizer's configuration.
    @Test func additionalChatTemplates() throws {
        let source = try copy(ModelFixture.all[0], to: "source")
        try directory.write("source/chat_template.jinja", "{{ 'default' }}")
        try directory.write("source/tokenizer_config.json", #"{"chat_template": "old", "model_max_length": 7}"#)
        try FileManager.default.createDirectory(
            atPath: source + "/additional_chat_templates", withIntermediateDirectories: false)
        try directory.write("source/additional_chat_templates/tool_use.jinja", "{{ 'tools' }}")
        try Model(directory: source).save(to: directory.path + "/target")
        let data = try Data(contentsOf: URL(filePath: directory.path + "/target/tokenizer_config.json"))
        let saved = try JSONSerialization.jsonObject(with: data) as? [String: Any]
        #expect(
            saved?["chat_template"] as? [[String: String]] == [
                ["name": "default", "template": "{{ 'default' }}"], ["name": "tool_use", "template": "{{ 'tools' }}"],
            ])
        #expect(saved?["model_max_length"] as? Int == 7)
        #expect(!(try listDirectory(directory.path + "/target").contains("chat_template.jinja")))
    }

    @Test(arguments: [DType.float32, .bfloat16], [DType.float32, .bfloat16, .float16])
    func everyType(memory: DType, file: DType) throws {
        let source = try TestDirectory()  // its other files are taken along
        try RandomModel(tied: false).write(to: source)
        let model = try Model(directory: source.path, dtype: memory)
        try model.save(to: directory.path + "/m", dtype: file)
        let again = try Model(directory: directory.path + "/m")
        for parameter in model.parameters {
            let values = try model.values(of: parameter)
            // What the file's type makes of them, by its own conversion (ElementConversionTests).
            var rounded = values
            var narrow = [UInt8](repeating: 0, count: values.count * 4)
            narrow.withUnsafeMutableBytes { narrow in
                rounded.withUnsafeMutableBytes { rounded in
                    convertElements(
                        from: rounded.baseAddress!, .float32, to: narrow.baseAddress!, file, count: values.count)
                    convertElements(
                        from: narrow.baseAddress!, file, to: rounded.baseAddress!, .float32, count: values.count)
                }
            }
            #expect(try again.values(named: parameter.name).bits == rounded.bits, "\(parameter.name)")
        }
        let config = try #require(
            JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: directory.path + "/m/config.json")))
                as? [String: Any])
        #expect(config["torch_dtype"] as? String == file.rawValue)
        // A second time nothing is rounded any more.
        try again.save(to: directory.path + "/n", dtype: file)
        #expect(try content(directory.path + "/m") == content(directory.path + "/n"))
    }

    @Test(arguments: ["tied-f32", "sharded-mha-f32"])
    func overItsOwnDirectory(_ name: String) throws {
        let place = try copy(ModelFixture(name: name), to: "m")
        try directory.write("m/tokenizer.json", "{}")
        let model = try Model(directory: place)
        try Trainer(model, optimizer: .sgd(SGD(learningRate: 0.1))).step(makeBatch([[1, 2, 3]]))
        try model.save(to: place)
        #expect(try Model(directory: place).allBits() == model.allBits())
        #expect(
            try listDirectory(place) == [
                "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
            ])
        // And once more, from the model that is still open.
        try Trainer(model, optimizer: .sgd(SGD(learningRate: 0.1))).step(makeBatch([[1, 2, 3]]))
        try model.save(to: place)
        #expect(try Model(directory: place).allBits() == model.allBits())
        #expect(try listDirectory(directory.path) == ["m"])
    }

    /// A save that fails leaves the old checkpoint as it was and nothing beside it.
    @Test func failureLeavesTheOldOneWhole() throws {
        let source = try copy(ModelFixture(name: "tied-f32"), to: "source")
        let model = try Model(directory: source)
        let place = try copy(ModelFixture(name: "untied-bf16"), to: "old")
        let before = try content(place)
        let error = #expect(throws: QwenSFTError.self) {
            try model.save(to: place) { done, total in done < total }
        }
        #expect(error?.code == .cancelled)
        #expect(try content(place) == before)
        #expect(try listDirectory(directory.path) == ["old", "source"])
    }

    /// Nothing but the model is needed to save it, whatever became of the directory it came from.
    @Test func theSourceMayBeGone() throws {
        let source = try copy(ModelFixture(name: "tied-f32"), to: "source")
        try directory.write("source/tokenizer_config.json", "{}")
        let whole = try content(source)
        let model = try Model(directory: source)
        try FileManager.default.removeItem(atPath: source)
        try model.checkDestination(directory.path + "/new")
        try model.clone().save(to: directory.path + "/new")
        let saved = try content(directory.path + "/new")
        #expect(saved.keys.sorted() == whole.keys.sorted())
        #expect(saved["tokenizer_config.json"] == Array("{}".utf8))
    }

    /// A thousand files beside the model: not a checkpoint's own kinds, so they are neither read nor copied.
    @Test func onlyOwnKindsAreCopied() throws {
        let source = try copy(ModelFixture(name: "tied-f32"), to: "source")
        for index in 0..<1000 { try directory.write("source/data-\(index).jsonl", "x") }
        let kept = ["LICENSE.md", "README.md", "chat_template.jinja", "merges.txt", "modeling_x.py", "tokenizer.json"]
        for name in kept { try directory.write("source/" + name, name) }
        for name in ["optimizer.pt", "train.py", "adapter_model.safetensors", "model.gguf"] {
            try directory.write("source/" + name, "x")
        }
        let descriptors = try listDirectory("/proc/self/fd").count
        let model = try Model(directory: source)
        #expect(try listDirectory("/proc/self/fd").count == descriptors)
        try model.save(to: directory.path + "/target")
        let copied = try content(directory.path + "/target")
        #expect(
            copied.keys.sorted() == (kept + ["config.json", "generation_config.json", "model.safetensors"]).sorted())
        for name in kept { #expect(copied[name] == Array(name.utf8)) }
    }

    /// A file that cannot be read and a name that is not UTF-8 are warnings.
    @Test func whatCannotBeReadIsLeftOut() throws {
        let source = try copy(ModelFixture(name: "tied-f32"), to: "source")
        try #require(mkfifo(source + "/vocab.json", 0o600) == 0)
        try #require(symlink("nowhere", source + "/merges.txt") == 0)
        _ = try directory.makeDirectory("source/README.md")
        var name = Array((source + "/a").utf8CString.dropLast()) + [-1, 0]
        close(Glibc.open(&name, O_CREAT | O_WRONLY, 0o600))
        let (model, all) = try catchingWarnings { try Model(directory: source) }
        let warnings = all.filter { $0.contains("UTF-8") || $0.contains("will be without it") }
        #expect(warnings.count == 3, "\(all)")
        #expect(warnings.contains { $0.contains("1 names in it are not UTF-8") })
        for file in ["vocab.json: is not a regular file", "merges.txt: no such file"] {
            #expect(warnings.contains { $0.contains(file) && $0.contains("will be without it") }, "\(warnings)")
        }
        try model.save(to: directory.path + "/target")
        #expect(try content(directory.path + "/target")["vocab.json"] == nil)
    }

    // MARK: Values

    /// Also of matrices that are too small to be divided among all threads.
    @Test(arguments: [1, 2, 5]) func everyRowIsReadInEveryForm(threads: Int) throws {
        try RandomModel(hidden: 64, intermediate: 8, heads: 2, headDimension: 32).write(to: directory)
        let ids: [Int64] = [1, 2, 3, 4, 5, 6]
        try with(threads: threads) {
            let plain = try Model(directory: directory.path, dtype: .bfloat16).forward(ids, rows: 1, columns: 6)
            for form in [Quantization.lossless, .int8] {
                let logits = try Model(directory: directory.path, quantization: form).forward(ids, rows: 1, columns: 6)
                let error = zip(plain, logits).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
                let size = plain.reduce(Float(0)) { max($0, abs($1)) }
                // Rows that are missing change logits by their own size, rounding by far less than a tenth of it.
                #expect(error < 0.1 * size, "\(form): \(error) of \(size)")
            }
        }
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity]) func weightsThatAreNotFinite(value: Float) throws {
        let name = "model.layers.1.mlp.up_proj.weight"
        for (options, dtype) in [
            (nil, DType.float32), (nil, .bfloat16), (Quantization.int8, .float32), (.lossless, .float32),
        ]
            as [(Quantization?, DType)]
        {
            for stored in [DType.float32, .bfloat16, .float16] {
                try? FileManager.default.removeItem(atPath: directory.path + "/model.safetensors")
                try RandomModel(hidden: 64).write(to: directory, as: stored) { tensors in
                    let index = tensors.firstIndex { $0.name == name }!
                    tensors[index].values[3 * 64 + 5] = value
                }
                expectError(.invalidFile, "model.safetensors: tensor '\(name)' is \(value) at [3, 5]") {
                    try Model(directory: directory.path, dtype: dtype, quantization: options)
                }
            }
        }
    }

    /// Finite in the file, and infinite in the narrower memory.
    @Test func weightsThatMemoryHasNoRoomFor() throws {
        try RandomModel().write(to: directory) { $0[0].values[17] = -3.4e38 }
        _ = try Model(directory: directory.path)
        expectError(
            .unsupported,
            "model.safetensors: tensor 'model.embed_tokens.weight' is -3.4e+38 at [1, 1], which bfloat16 has no room for; float32 has"
        ) { try Model(directory: directory.path, dtype: .bfloat16) }
    }

    @Test(arguments: [DType.float32, .bfloat16]) func weightsThatAFileHasNoRoomFor(memory: DType) throws {
        let model = try RandomModel().model(dtype: memory)
        let name = "model.layers.0.mlp.down_proj.weight"
        let parameter = try model.parameter(named: name)
        var values = try model.values(of: parameter)
        (values[100], values[101]) = (-65536, 131072)
        try model.setValues(values, of: parameter)
        let target = directory.path + "/m"
        expectError(
            .nonFinite,
            "2 of \(model.configuration.parameterCount) weights are too large for float16, the first is -65536.0 at [4, 4] of \(name); nothing was saved"
        ) { try model.save(to: target, dtype: .float16) }
        #expect(try listDirectory(directory.path) == [])
        try model.save(to: target, dtype: .bfloat16)
        (values[100], values[101]) = (65504, 1e-9)
        try model.setValues(values, of: parameter)
        if memory == .float32 {
            let (_, warnings) = try catchingWarnings { try model.save(to: target, dtype: .float16) }
            #expect(
                warnings == [
                    "1 of \(model.configuration.parameterCount) weights are too small for float16 and were saved as 0"
                ])
            #expect(try Model(directory: target).values(named: name)[100] == 65504)
        }
    }

    // MARK: Opening

    /// Opens a random checkpoint after `change` to its tensors.
    private func open(_ spec: RandomModel = RandomModel(), change: (inout [RandomModel.Tensor]) -> Void) throws {
        try? FileManager.default.removeItem(atPath: directory.path + "/model.safetensors")
        try spec.write(to: directory, change: change)
        _ = try Model(directory: directory.path)
    }

    @Test func tensorsThatAreMissing() throws {
        for name in ["model.norm.weight", "model.layers.1.self_attn.k_proj.bias", "model.embed_tokens.weight"] {
            expectError(.invalidFile, "\(directory.path): no weight file holds the tensor '\(name)'") {
                try open { tensors in tensors.removeAll { $0.name == name } }
            }
        }
        expectError(.invalidFile, "\(directory.path): no weight file holds the tensor 'lm_head.weight'") {
            try open(RandomModel(tied: false)) { $0.removeLast() }
        }
    }

    @Test func tensorsOfAnotherShape() throws {
        for (index, shape, message) in [
            (0, [149, 16], "tensor 'model.embed_tokens.weight' has shape [149, 16], expected [150, 16]"),
            (0, [16, 150], "tensor 'model.embed_tokens.weight' has shape [16, 150], expected [150, 16]"),
            (0, [2400], "tensor 'model.embed_tokens.weight' has shape [2400], expected [150, 16]"),
            (1, [16, 1], "tensor 'model.layers.0.input_layernorm.weight' has shape [16, 1], expected [16]"),
            (1, [0], "tensor 'model.layers.0.input_layernorm.weight' has shape [0], expected [16]"),
        ] {
            expectError(.invalidFile, "model.safetensors: " + message) {
                try open { tensors in
                    tensors[index].shape = shape
                    tensors[index].values = Array(tensors[index].values.prefix(shape.reduce(1, *)))
                }
            }
        }
    }

    /// What would take part in the computation if this version knew it is refused.
    @Test func tensorsTooMany() throws {
        for name in [
            "model.layers.0.self_attn.o_proj.bias", "model.layers.1.self_attn.q_norm.weight", "model.norm.bias",
            "lm_head.bias", "model.layers.x.mlp.up_proj.weight",
        ] {
            expectError(
                .invalidFile, "model.safetensors: tensor '\(name)' is not part of the model that config.json describes"
            ) { try open { $0.append(.init(name: name, shape: [1], values: [1])) } }
        }
        // Tables that older files hold are computed here.
        let (_, warnings) = try catchingWarnings {
            try open {
                $0.append(.init(name: "model.layers.0.self_attn.rotary_emb.inv_freq", shape: [2], values: [1, 0.01]))
            }
        }
        #expect(warnings.isEmpty)
    }

    /// Value heads, draft layers, layers cut off, empty tensors and integers are left alone, and said to be.
    @Test func tensorsThatNothingNeeds() throws {
        let plain = try TestDirectory()
        try RandomModel().write(to: plain)
        let expected = try Model(directory: plain.path).allBits()
        let others: [RandomModel.Tensor] = [
            .init(name: "v_head.summary.weight", shape: [1, 2], values: [1, 2]),
            .init(name: "v_head.summary.bias", shape: [], values: [1]),
            .init(name: "model.layers.2.mlp.up_proj.weight", shape: [1], values: [1]),
            .init(name: "mtp.0.weight", shape: [1], values: [.nan]), .init(name: "", shape: [1], values: [1]),
            .init(name: "model.layers.0.empty.bias", shape: [0], values: []),
            .init(name: "model.embed_positions.position_ids", shape: [3], values: [0, 1, 2]),
        ]
        try RandomModel().write(to: directory) { $0 += others }
        var bytes = try directory.read("model.safetensors")
        let name = try #require(bytes.firstRange(of: Array("position_ids".utf8)))
        let place = try #require(bytes[name.upperBound...].firstRange(of: Array("\"F32\"".utf8)))
        bytes.replaceSubrange(place, with: Array("\"I32\"".utf8))
        try directory.write("model.safetensors", bytes)
        let (model, warnings) = try catchingWarnings { try Model(directory: directory.path) }
        #expect(try model.allBits() == expected)
        #expect(
            warnings == [
                "model.safetensors: not part of the model, neither read nor saved: 'v_head.summary.weight', 'v_head.summary.bias', 'model.layers.2.mlp.up_proj.weight' and 4 more tensors"
            ])
        let target = directory.path + "/saved"
        try model.save(to: target)
        #expect(try Model(directory: target).allBits() == expected)
        #expect(try catchingWarnings { try Model(directory: target) }.1.isEmpty)
    }

    /// float64 is rounded to float32 once, as torch does it, in files of any mixture.
    @Test(arguments: [DType.float32, .bfloat16])
    func float64(memory: DType) throws {
        let spec = RandomModel()
        let tensors = spec.tensors
        let doubles = tensors.map { tensor in
            tensor.values.enumerated().map { i, value in Double(value) * (1 + Double(i % 7) * 1e-9) }
        }
        try directory.write("config.json", spec.config.replacing("\"float32\"", with: "\"float64\""))
        var header = ""
        var data: [UInt8] = []
        for (tensor, values) in zip(tensors, doubles) {
            let bytes = values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
            header += header.isEmpty ? "{" : ","
            header +=
                "\"\(tensor.name)\":{\"dtype\":\"F64\",\"shape\":\(tensor.shape),\"data_offsets\":[\(data.count),\(data.count + bytes.count)]}"
            data += bytes
        }
        header += "}"
        let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
        try directory.write("model.safetensors", length + Array(header.utf8) + data)

        let (model, warnings) = try catchingWarnings { try Model(directory: directory.path, dtype: memory) }
        #expect(
            warnings == [
                "model.safetensors: tensor 'model.embed_tokens.weight' is float64; such weights are rounded to float32"
            ])
        let plain = try spec.model(dtype: memory) { tensors in
            for i in tensors.indices { tensors[i].values = doubles[i].map { Float($0) } }
        }
        #expect(try model.allBits() == plain.allBits())
        try model.save(to: directory.path + "/saved")
        #expect(
            try Set(SafetensorsCheckpoint(directory: directory.path + "/saved").tensors.map(\.elementType)) == ["F32"])
        #expect(try Configuration(directory: directory.path + "/saved").dtype == .float32)
    }

    /// The files' type counts, whatever config.json says.
    @Test func anotherTypeThanConfigSays() throws {
        try RandomModel().write(to: directory, as: .bfloat16)
        let (model, warnings) = try catchingWarnings { try Model(directory: directory.path) }
        #expect(
            warnings == [
                "model.safetensors: weights are bfloat16, not float32 as config.json says; a save writes bfloat16"
            ])
        try model.save(to: directory.path + "/saved")
        #expect(try Configuration(directory: directory.path + "/saved").dtype == .bfloat16)
        #expect(try catchingWarnings { try Model(directory: directory.path + "/saved") }.1.isEmpty)
    }

    @Test func oddGenerationConfigurationOpens() throws {
        try RandomModel().write(to: directory)
        try directory.write(
            "generation_config.json", #"{"top_p": 0.0, "top_k": 50.0, "eos_token_id": -1, "temperature": NaN}"#)
        let (model, warnings) = try catchingWarnings { try Model(directory: directory.path) }
        #expect(warnings.count == 2 && model.generationDefaults.topK == 50)
        #expect(try model.generate([1, 2]).count > 2)
    }

    /// Sparse files of gigabytes, of every kind that is read as a whole: refused by their size.
    @Test(arguments: [
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "chat_template.jinja", "vocab.json", "merges.txt", "x.tiktoken", "model.safetensors",
        "model.safetensors.index.json",
    ])
    func filesOfGigabytes(name: String) throws {
        try RandomModel().write(to: directory)
        try directory.write("tokenizer_config.json", "{}")
        if name == "merges.txt" { try directory.write("vocab.json", "{}") }
        if name.hasSuffix("index.json") { unlink(directory.path + "/model.safetensors") }
        let path = try directory.write(name, "{}")
        #expect(truncate(path, 5 << 30) == 0)
        let started = ContinuousClock.now
        if name == "generation_config.json" {
            let (_, warnings) = try catchingWarnings { try Model(directory: directory.path) }
            #expect(warnings.count == 1 && warnings[0].contains("5368709120 bytes are more than such a file has"))
        } else if ["config.json", "model.safetensors", "model.safetensors.index.json"].contains(name) {
            #expect(throws: QwenSFTError.self) { try Model(directory: directory.path) }
        } else {
            expectError(
                .invalidFile,
                "\(name): 5368709120 bytes are more than such a file has (at most \(name.hasSuffix("config.json") || name.hasSuffix("map.json") || name.hasPrefix("added") || name.hasSuffix("jinja") ? 32 << 20 : 256 << 20))"
            ) { try Tokenizer(directory: directory.path) }
        }
        // To read five gigabytes takes longer even from a cache; this is a bound for a busy machine, not a measurement.
        #expect(ContinuousClock.now - started < .seconds(5))
    }

    @Test func headThatIsTied() throws {
        try open { $0.append(.init(name: "lm_head.weight", shape: [150, 16], values: $0[0].values)) }
        let message =
            "model.safetensors: tensor 'lm_head.weight' differs from the embedding, although config.json says tie_word_embeddings"
        expectError(.invalidFile, message) {
            try open {
                $0.append(.init(name: "lm_head.weight", shape: [150, 16], values: $0[0].values))
                $0[$0.count - 1].values[2399] += 1
            }
        }
        expectError(.invalidFile, message) {
            try open { $0.append(.init(name: "lm_head.weight", shape: [16, 150], values: $0[0].values)) }
        }
    }

    @Test func typesThatAreNoWeights() throws {
        try RandomModel().write(to: directory)
        var bytes = try directory.read("model.safetensors")
        let place = try #require(bytes.firstRange(of: Array("\"F32\"".utf8)))
        bytes.replaceSubrange(place, with: Array("\"I32\"".utf8))
        try directory.write("model.safetensors", bytes)
        expectError(
            .unsupported, "model.safetensors: tensor 'model.embed_tokens.weight' is I32, not F32, BF16, F16 or F64"
        ) {
            try Model(directory: directory.path)
        }
        expectError(.unsupported, "weights are kept as float32 or bfloat16, not as float16") {
            try Model(directory: directory.path, dtype: .float16)
        }
    }
}
