/// The tensors of a checkpoint directory: those of `model.safetensors`, or of the shards that `model.safetensors.index.json` lists.
/// Those of a GGUF file, under the names that a directory has for them, are the same to whoever reads them.
package struct SafetensorsCheckpoint: Sendable {
    package let directory: String
    package let tensors: [StoredTensor]
    private let places: [[UInt8]: Int]

    package static let fileName = "model.safetensors"
    package static let indexName = "model.safetensors.index.json"

    /// Tensors of one file, whose names are all different.
    init(_ tensors: [StoredTensor], directory: String) {
        self.directory = directory
        self.tensors = tensors
        places = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { (Array($1.name.utf8), $0) })
    }

    package init(directory: String) throws(QwenSFTError) {
        guard try fileKind(directory) == .directory else {
            throw QwenSFTError(.notFound, "\(directory): no such directory")
        }
        let tensors: [StoredTensor]
        if try fileExists(joinPath(directory, Self.fileName)) {
            tensors = try SafetensorsFile(joinPath(directory, Self.fileName)).tensors
        } else if try fileExists(joinPath(directory, Self.indexName)) {
            tensors = try Self.readShards(directory)
        } else {
            throw QwenSFTError(
                .notFound,
                "\(directory): holds neither \(Self.fileName) nor \(Self.indexName) (other weight formats are not read)"
            )
        }
        self.init(tensors, directory: directory)
    }

    package subscript(name: String) -> StoredTensor? {
        places[Array(name.utf8)].map { tensors[$0] }
    }

    /// The tensor `name`, which must exist, have this shape and hold floating-point numbers.
    package func tensor(_ name: String, shape: [Int]) throws(QwenSFTError) -> StoredTensor {
        guard let tensor = self[name] else {
            throw QwenSFTError(.invalidFile, "\(directory): no weight file holds the tensor '\(name)'")
        }
        let file = QwenSFTCore.fileName(tensor.file.path)
        guard tensor.shape == shape else {
            throw QwenSFTError(.invalidFile, "\(file): tensor '\(name)' has shape \(tensor.shape), expected \(shape)")
        }
        try tensor.requireFloatingPoint()
        return tensor
    }

    /// What the shards hold. The index says which shards there are; what it says of their tensors matters only where two
    /// shards have one of the same name, because people rename and remove tensors without it.
    private static func readShards(_ directory: String) throws(QwenSFTError) -> [StoredTensor] {
        let index = try JSONFields(contentsOf: joinPath(directory, indexName))
        guard let map = try index.object("weight_map") else { throw index.missing("weight_map") }

        var owners: [[UInt8]: [UInt8]] = [:]
        var shards: [String] = []
        var known: Set<[UInt8]> = []
        for (name, value) in map.object.members {
            guard let shard = value.string else { throw map.wrong(printable(name), "must be a file name") }
            guard !shard.isEmpty, shard != ".", shard != "..", !shard.utf8.contains(UInt8(ascii: "/")),
                !shard.utf8.contains(0)
            else { throw map.wrong(printable(name), "must be a plain file name, is '\(printable(shard))'") }
            owners[Array(name.utf8)] = Array(shard.utf8)
            if known.insert(Array(shard.utf8)).inserted { shards.append(shard) }
        }

        var tensors: [StoredTensor] = []
        var places: [[UInt8]: Int] = [:]
        for shard in shards {
            for tensor in try SafetensorsFile(joinPath(directory, shard)).tensors {
                let name = Array(tensor.name.utf8)
                guard let place = places[name] else {
                    places[name] = tensors.count
                    tensors.append(tensor)
                    continue
                }
                let other = QwenSFTCore.fileName(tensors[place].file.path)
                switch owners[name] {
                case Array(shard.utf8): tensors[place] = tensor
                case Array(other.utf8): break
                default:
                    throw QwenSFTError(
                        .invalidFile,
                        "\(indexName): tensor '\(printable(tensor.name))' is in \(printable(other)) and in \(printable(shard)), and weight_map does not say which one counts"
                    )
                }
            }
        }
        return tensors
    }
}
