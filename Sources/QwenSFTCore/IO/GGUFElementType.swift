/// How the elements of a tensor in a GGUF file are stored: ggml's types, in blocks of equal size.
package struct GGUFElementType: Sendable, Equatable {
    let number: UInt32
    /// As ggml calls it: "F32", "Q4_K", …
    package let name: String
    /// Elements and bytes of one block.
    let elements: Int
    let bytes: Int

    package static let float32 = Self(number: 0, name: "F32", elements: 1, bytes: 4)
    package static let float16 = Self(number: 1, name: "F16", elements: 1, bytes: 2)
    package static let q8 = Self(number: 8, name: "Q8_0", elements: 32, bytes: 34)
    package static let bfloat16 = Self(number: 30, name: "BF16", elements: 1, bytes: 2)

    /// Every type of the format, whether it can be a weight here or not: the sizes are needed to check a file.
    private static let all: [UInt32: Self] = {
        let table: [(UInt32, String, Int, Int)] = [
            (0, "F32", 1, 4), (1, "F16", 1, 2), (2, "Q4_0", 32, 18), (3, "Q4_1", 32, 20), (6, "Q5_0", 32, 22),
            (7, "Q5_1", 32, 24), (8, "Q8_0", 32, 34), (9, "Q8_1", 32, 40), (10, "Q2_K", 256, 84),
            (11, "Q3_K", 256, 110), (12, "Q4_K", 256, 144), (13, "Q5_K", 256, 176), (14, "Q6_K", 256, 210),
            (15, "Q8_K", 256, 292), (16, "IQ2_XXS", 256, 66), (17, "IQ2_XS", 256, 74), (18, "IQ3_XXS", 256, 98),
            (19, "IQ1_S", 256, 50), (20, "IQ4_NL", 32, 18), (21, "IQ3_S", 256, 110), (22, "IQ2_S", 256, 82),
            (23, "IQ4_XS", 256, 136), (24, "I8", 1, 1), (25, "I16", 1, 2), (26, "I32", 1, 4), (27, "I64", 1, 8),
            (28, "F64", 1, 8), (29, "IQ1_M", 256, 56), (30, "BF16", 1, 2), (34, "TQ1_0", 256, 54),
            (35, "TQ2_0", 256, 66), (39, "MXFP4", 32, 17), (40, "NVFP4", 64, 36),
        ]
        return Dictionary(
            uniqueKeysWithValues: table.map { ($0.0, Self(number: $0.0, name: $0.1, elements: $0.2, bytes: $0.3)) })
    }()

    /// nil: there is no type of this number.
    init?(number: UInt32) {
        guard let known = Self.all[number] else { return nil }
        self = known
    }

    private init(number: UInt32, name: String, elements: Int, bytes: Int) {
        (self.number, self.name, self.elements, self.bytes) = (number, name, elements, bytes)
    }
}
