import Foundation
import QwenSFTCore
import Testing

@Suite struct SafetensorsTests {
    let directory: TestDirectory
    init() throws { directory = try TestDirectory() }

    /// A safetensors file put together by hand.
    private func file(_ header: String, data: Int, length: UInt64? = nil, name: String = "m.safetensors") throws
        -> String
    {
        let head = Array(header.utf8)
        let prefix = withUnsafeBytes(of: (length ?? UInt64(head.count)).littleEndian) { Array($0) }
        return try directory.write(name, prefix + head + (0..<data).map { UInt8(truncatingIfNeeded: $0) })
    }

    private func open(_ header: String, data: Int, length: UInt64? = nil) throws -> SafetensorsFile {
        try SafetensorsFile(file(header, data: data, length: length))
    }

    @Test func opensAndReads() throws {
        let file = try open(
            #"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,2],"data_offsets":[4,20]},"a":{"shape":[2],"data_offsets":[0,4],"dtype":"BF16"},"e":{"dtype":"I64","shape":[0,7],"data_offsets":[20,20]},"s":{"dtype":"U8","shape":[],"data_offsets":[20,21]}}   "#,
            data: 21)
        #expect(file.tensors.map(\.name) == ["b", "a", "e", "s"])
        #expect(file.tensors.map(\.shape) == [[2, 2], [2], [0, 7], []])
        #expect(file.tensors.map(\.elementCount) == [4, 2, 0, 1])
        #expect(file.tensors.map(\.dtype) == [.float32, .bfloat16, nil, nil])
        var values = [Float](repeating: 0, count: 2)
        try values.withUnsafeMutableBytes { try file.tensors[1].read(as: .float32, into: $0.baseAddress!) }
        #expect(values.map(\.bitPattern) == [0x0100_0000, 0x0302_0000])
        try values.withUnsafeMutableBytes { try file.tensors[0].read(1..<3, as: .float32, into: $0.baseAddress!) }
        #expect(values.map(\.bitPattern) == [0x0B0A_0908, 0x0F0E_0D0C])
        var halves = [UInt16](repeating: 0, count: 2)
        try halves.withUnsafeMutableBytes { try file.tensors[1].read(as: .bfloat16, into: $0.baseAddress!) }
        #expect(halves == [0x0100, 0x0302])
        expectError(.invalidArgument, "m.safetensors: tensor 'b' has no elements 3..<5 of 4") {
            try values.withUnsafeMutableBytes { try file.tensors[0].read(3..<5, as: .float32, into: $0.baseAddress!) }
        }
        expectError(.unsupported, "m.safetensors: tensor 's' is U8, not F32, BF16, F16 or F64") {
            try values.withUnsafeMutableBytes { try file.tensors[3].read(as: .float32, into: $0.baseAddress!) }
        }
    }

    @Test func writesWhatItReads() throws {
        // More elements than one chunk of the conversion.
        let values: [Float] = (0..<300_001).map { Float($0 % 255 - 127) / 64 }
        for dtype in DType.allCases {
            let path = directory.path + "/\(dtype).safetensors"
            try values.withUnsafeBytes { bytes in
                let a = TensorSource(name: "ä", shape: [300_001], values: bytes.baseAddress!, valuesType: .float32)
                let b = TensorSource(name: "b", shape: [3, 5], values: bytes.baseAddress!, valuesType: .float32)
                try writeSafetensors([a, b], as: dtype, to: path)
            }
            let tensors = try SafetensorsFile(path).tensors
            #expect(tensors.map(\.name) == ["ä", "b"])
            #expect(tensors.map(\.shape) == [[300_001], [3, 5]])
            #expect(tensors.map(\.dtype) == [dtype, dtype])
            #expect(tensors[0].offset % 8 == 0)
            var again = [Float](repeating: 0, count: values.count)
            try again.withUnsafeMutableBytes { try tensors[0].read(as: .float32, into: $0.baseAddress!) }
            let isEqual = again == values
            #expect(isEqual)
            expectError(.io, "\(path): cannot create it: File exists") { try writeSafetensors([], as: dtype, to: path) }
        }
        let path = directory.path + "/twice"
        values.withUnsafeBytes { bytes in
            let a = TensorSource(name: "a", shape: [1], values: bytes.baseAddress!, valuesType: .float32)
            expectError(.invalidArgument, "twice: two tensors have the name 'a'") {
                try writeSafetensors([a, a], as: .float32, to: path)
            }
        }
    }

    @Test(
        arguments: [
            ("", 0, UInt64?.none, "the header must begin with '{'"),
            ("{}", 0, 100_000_001, "the header's length 100000001 is larger than the format allows (100000000)"),
            (
                "{}", 0, UInt64.max,
                "the header's length 18446744073709551615 is larger than the format allows (100000000)"
            ),
            ("{}", 0, 3, "the header's length 3 is larger than the file (10 bytes)"),
            (" {}", 0, nil, "the header must begin with '{'"),
            ("{}x", 0, nil, ""),
            ("{}", 1, nil, "1 unused bytes lie after the last tensor"),
            (
                #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                8, nil, ""
            ),
            (
                #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, nil,
                "tensor 'a' has 4 bytes, but F32 [2] needs 8"
            ),
            (
                #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 7, nil,
                "tensor 'a' lies at 0–8, outside of the file's 7 data bytes"
            ),
            (
                #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, nil,
                "tensor 'a' lies at 4–0, outside of the file's 4 data bytes"
            ),
            (
                #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}"#, 4, nil,
                "tensor 'a' lies at -4–0, outside of the file's 4 data bytes"
            ),
            (
                #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#, 4, nil,
                "tensor 'a' has no data_offsets [start, end]"
            ),
            (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, nil, "tensor 'a' has the shape [-1]"),
            (
                #"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0, nil,
                "tensor 'a' has the shape [4294967296, 4294967296], too large for any memory"
            ),
            (
                #"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}"#, 0, nil,
                "tensor 'a' has the shape [4611686018427387904], too large for any memory"
            ),
            (
                #"{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, 4, nil,
                "tensor 'a' has the unknown dtype 'F31'"
            ),
            (#"{"a":{"shape":[1],"data_offsets":[0,4]}}"#, 4, nil, "tensor 'a' has no dtype"),
            (#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, 4, nil, "tensor 'a' has no shape"),
            (
                #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, 4, nil,
                "tensor 'a' has an unknown entry 'x'"
            ),
            (
                #"{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4, nil,
                "tensor 'a' has two entries 'dtype'"
            ),
            (
                #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#,
                6, nil,
                "tensor 'b' overlaps tensor 'a'"
            ),
            (
                #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[6,10]}}"#,
                10, nil,
                "2 unused bytes lie before tensor 'b'"
            ),
            (
                #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, nil,
                "4 unused bytes lie before tensor 'a'"
            ),
        ] as [(String, Int, UInt64?, String)])
    func refused(header: String, data: Int, length: UInt64?, message: String) {
        let message =
            switch header {
            case "{}x": "m.safetensors (header):1:3: expected the end of the document, found 'x'"
            case let h where message.isEmpty && h.hasPrefix("{\"a\""):
                "m.safetensors (header):1:55: the name 'a' occurs twice"
            default: "m.safetensors: " + message
            }
        expectError(.invalidFile, message) { try open(header, data: data, length: length) }
    }

    @Test func cutFiles() throws {
        let path = try file(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, data: 8)
        let bytes = try directory.read("m.safetensors")
        _ = try SafetensorsFile(path)
        for count in 0..<bytes.count {
            let cut = try directory.write("cut", Array(bytes[..<count]))
            #expect(throws: QwenSFTError.self) { try SafetensorsFile(cut) }
        }
        expectError(.invalidFile, "cut: 7 bytes are too few for a safetensors file") {
            try SafetensorsFile(try directory.write("cut", Array(bytes[..<7])))
        }
    }

    /// A state or weight file of gigabytes that its header does not account for.
    @Test func gigabytesTooMany() throws {
        let path = try file(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, data: 8)
        #expect(truncate(path, 5 << 30) == 0)
        expectError(.invalidFile, "m.safetensors: 5368709050 unused bytes lie after the last tensor") {
            try SafetensorsFile(path)
        }
    }

    // MARK: Shards

    private func one(_ name: String) -> String { #"{"\#(name)":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"# }

    private func index(_ map: String) throws -> SafetensorsCheckpoint {
        try directory.write("model.safetensors.index.json", #"{"metadata":{"total_size":8},"weight_map":\#(map)}"#)
        return try SafetensorsCheckpoint(directory: directory.path)
    }

    @Test func shards() throws {
        _ = try file(one("a"), data: 4, name: "1.safetensors")
        _ = try file(one("b"), data: 4, name: "2.safetensors")
        let checkpoint = try index(#"{"a":"1.safetensors","b":"2.safetensors"}"#)
        #expect(checkpoint.tensors.map(\.name) == ["a", "b"])
        #expect(try checkpoint.tensor("b", shape: [1]).file.path == directory.path + "/2.safetensors")
        expectError(.invalidFile, "2.safetensors: tensor 'b' has shape [1], expected [2, 3]") {
            try checkpoint.tensor("b", shape: [2, 3])
        }
        expectError(.invalidFile, "\(directory.path): no weight file holds the tensor 'c'") {
            try checkpoint.tensor("c", shape: [])
        }

        let name = "model.safetensors.index.json"
        // What weight_map says of tensors does not have to be true, as long as every one is there once.
        let renamed = try index(#"{"a":"1.safetensors","b":"1.safetensors","c":"2.safetensors"}"#)
        #expect(renamed.tensors.map(\.name) == ["a", "b"])
        expectError(.invalidFile, "\(directory.path): no weight file holds the tensor 'c'") {
            try renamed.tensor("c", shape: [1])
        }
        expectError(.notFound, "\(directory.path)/3.safetensors: no such file or directory") {
            try index(#"{"a":"1.safetensors","c":"3.safetensors"}"#)
        }
        for bad in ["../x", "/etc/passwd", "a/b", "..", ""] {
            expectError(.invalidFile, "\(name): 'weight_map.a' must be a plain file name, is '\(bad)'") {
                try index(#"{"a":"\#(bad)"}"#)
            }
        }
        expectError(.invalidFile, "\(name): 'weight_map.a' must be a file name") { try index(#"{"a":1}"#) }
        expectError(.invalidFile, "\(name): 'weight_map' is missing") { try index("null") }
        expectError(.invalidFile, "\(name): 'weight_map' must be an object") { try index("[]") }
        _ = try file(one("a"), data: 4, name: "2.safetensors")
        for owner in 1...2 {
            let other = 3 - owner
            let twice = try index(#"{"x":"\#(other).safetensors","a":"\#(owner).safetensors"}"#)
            #expect(try twice.tensor("a", shape: [1]).file.path == directory.path + "/\(owner).safetensors")
        }
        expectError(
            .invalidFile,
            "\(name): tensor 'a' is in 1.safetensors and in 2.safetensors, and weight_map does not say which one counts"
        ) { try index(#"{"x":"1.safetensors","b":"2.safetensors"}"#) }
    }

    /// Types of the format that cannot be weights may stand in a file; their sizes are known in bits.
    @Test(arguments: [("F4", [3, 2], 3), ("F6_E2M3", [4], 3), ("F8_E8M0", [2], 2), ("C64", [1], 8), ("F64", [2], 16)])
    func everyElementType(type: String, shape: [Int], bytes: Int) throws {
        let header = #"{"a":{"dtype":"\#(type)","shape":\#(shape),"data_offsets":[0,\#(bytes)]}}"#
        #expect(try open(header, data: bytes).tensors[0].byteCount == bytes)
    }

    @Test func aHalfByte() {
        expectError(.invalidFile, "m.safetensors: tensor 'a' has the shape [3], which ends inside a byte") {
            try open(#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#, data: 2)
        }
    }

    @Test func noWeights() throws {
        let path = directory.path
        expectError(
            .notFound,
            "\(path): holds neither model.safetensors nor model.safetensors.index.json (other weight formats are not read)"
        ) { try SafetensorsCheckpoint(directory: path) }
        expectError(.notFound, "\(path)/x: no such directory") { try SafetensorsCheckpoint(directory: path + "/x") }
    }
}
