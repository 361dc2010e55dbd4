import CKernels

/// One layer's keys and values in a cache of blocks.
///
/// A block holds `blockTokens` tokens; within it every key-value head has its keys, then its values. In which order they
/// stand follows from how attention reads them:
///
/// - `rows`: float32, (token, element).
/// - `panels`: bfloat16, as the operands that `qk_gemm_panel` takes. Keys in panels of 64 tokens,
///   [element pair][token][2]: scores sum over elements. Values in panels of up to 64 elements, [token pair][element][2]:
///   the context sums over tokens.
struct CachedKeyValues {
    enum Form: Sendable {
        case rows, panels

        /// Panels for bfloat16 models on processors that multiply bfloat16.
        static func fastest(_ dtype: DType) -> Form {
            dtype == .bfloat16 && Processor.multipliesBFloat16 ? .panels : .rows
        }
    }

    /// A multiple of 64 and the most keys that attention looks at together.
    static let blockTokens = 256

    let form: Form
    let shape: AttentionShape
    /// Where each block begins.
    let blocks: UnsafePointer<UnsafeMutableRawPointer>
    /// Where this layer begins in a block, in bytes.
    let offset: Int

    private var d: Int { shape.headDimension }
    var pairs: Int { (d + 1) / 2 }
    /// Elements of a context row, filled up to what the kernels write.
    var paddedDimension: Int { form == .rows ? d : roundUp(d, 16) }

    /// Bytes of one key-value head of one layer in one block.
    static func byteCount(_ form: Form, headDimension d: Int) -> Int {
        form == .rows ? 2 * blockTokens * d * 4 : blockTokens * (roundUp(d, 2) + roundUp(d, 16)) * 2
    }

    private func head(_ head: Int, _ block: Int) -> UnsafeMutableRawPointer {
        blocks[block] + offset + head * Self.byteCount(form, headDimension: d)
    }

    func keys(_ head: Int, _ block: Int) -> UnsafeMutableRawPointer { self.head(head, block) }

    func values(_ head: Int, _ block: Int) -> UnsafeMutableRawPointer {
        self.head(head, block) + Self.blockTokens * (form == .rows ? d * 4 : 2 * pairs * 2)
    }

    /// Puts keys and values (rows, key-value heads · d each) of the tokens from position `first` on to their places.
    func store(_ keys: Matrix<Float>, _ values: Matrix<Float>, first: Int, compute: Compute) {
        compute.rows(keys.rows) { mine in
            for row in mine {
                for head in 0..<shape.keyValueHeads {
                    store(key: keys.at(row, head * d), head: head, position: first + row)
                    store(
                        value: values.at(row, head * d), head: head, position: first + row,
                        isLast: row == keys.rows - 1)
                }
            }
        }
    }

    /// Puts the key (d) of token `position` to its place.
    func store(key: UnsafePointer<Float>, head: Int, position: Int) {
        let token = position % Self.blockTokens
        let target = keys(head, position / Self.blockTokens)
        guard form == .panels else {
            return (target.assumingMemoryBound(to: Float.self) + token * d).update(from: key, count: d)
        }
        let panel = target.assumingMemoryBound(to: UInt16.self) + token / 64 * pairs * 128 + token % 64 * 2
        for element in 0..<d { panel[element / 2 * 128 + element % 2] = qk_bf16_from_f32(key[element]) }
    }

    /// Puts the value (d) of token `position` to its place.
    /// - Parameter isLast: no token follows yet: what stands in the other half of its pair, which is multiplied by 0, must be finite.
    func store(value: UnsafePointer<Float>, head: Int, position: Int, isLast: Bool) {
        let token = position % Self.blockTokens
        let target = values(head, position / Self.blockTokens)
        guard form == .panels else {
            return (target.assumingMemoryBound(to: Float.self) + token * d).update(from: value, count: d)
        }
        let elements = target.assumingMemoryBound(to: UInt16.self)
        for start in stride(from: 0, to: d, by: 64) {
            let width = min(64, roundUp(d, 16) - start)
            let pair = elements + start * Self.blockTokens + token / 2 * width * 2
            for column in 0..<min(width, d - start) {
                pair[2 * column + token % 2] = qk_bf16_from_f32(value[start + column])
                if isLast, token % 2 == 0 { pair[2 * column + 1] = 0 }
            }
        }
    }
}
