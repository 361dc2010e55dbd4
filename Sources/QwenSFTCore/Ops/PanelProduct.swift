import CKernels

/// How the operands of a forward product are laid out for its kernel, in words of 32 bits: rows of W, and panels of
/// `PanelProduct.width` rows of x.
protocol PanelOperands {
    associatedtype W: WeightFormat
    associatedtype Word: BitwiseCopyable
    var w: W { get }

    /// Words of so many columns of a row, from the first on.
    func words(_ columns: Int) -> Int

    /// Columns of the rows of x to their place in a panel.
    func pack(_ x: Matrix<Float>, _ columns: Range<Int>, to panel: UnsafeMutablePointer<Word>)

    /// That part of W, one row after the other.
    func widen(_ rows: Range<Int>, _ columns: Range<Int>, to a: UnsafeMutablePointer<Word>)

    /// c (rows of W, rows of x) = or += a · panels, summed over `columns` columns of both, with `stride` words from one panel to
    /// the next. c has room for whole panels.
    func multiply(
        _ c: MutableMatrix<Float>, _ a: UnsafePointer<Word>, _ panels: UnsafePointer<Word>, stride: Int, columns: Int,
        adds: Bool, _ next: qk_f32_fetch)
}

/// y = x · Wᵀ in panels, for whatever operands: the loops of `Float32Panels` and `IntegerPanels`.
///
/// A panel's part of `depth` columns stays in the first-level cache while a group of rows of W, in the second-level cache, goes
/// through it. What will be widened next is fetched from memory meanwhile.
enum PanelProduct {
    static let width = Int(QK_F32_PANEL)
    /// Columns summed up at once: in float32 a panel of so many and six rows take 22 of 32 KiB.
    static let depth = 256
    /// Rows of W that a panel is used for.
    static let groupRows = 96
    /// Rows of x that are multiplied at once; bounds the scratch memory.
    static let rowsAtOnce = 512

    static func forward<Operands: PanelOperands>(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ operands: Operands, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        let w = operands.w
        guard y.rows > 0, w.rows > 0 else { return }
        let (arena, mark) = (compute.arena, compute.arena.mark)
        defer { arena.release(to: mark) }
        // Many rows: their panels come from the third-level cache, and are used for more of W.
        let groupRows = x.rows > rowsAtOnce / 2 ? 2 * groupRows : groupRows
        let tileStride = roundUp(min(x.rows, rowsAtOnce / 2), width) + width
        let unit = max(width, Operands.W.columnBlock)
        let rowWords = operands.words(w.columns)
        let widenedWords = groupRows * operands.words(depth)
        let packed = try arena.allocate(Operands.Word.self, roundUp(min(x.rows, rowsAtOnce), width) * rowWords)
        let widened = try arena.allocate(Operands.Word.self, compute.threads * widenedWords)
        let tiles = try arena.floats(compute.threads * groupRows * tileStride)
        let sums = Blocks(0..<w.columns, most: depth, unit: unit)

        compute.run { worker in
            let groups = Blocks(worker.range(of: w.rows, unit: 16), most: groupRows, unit: 6)
            let a = widened + worker.index * widenedWords
            let tile = tiles + worker.index * groupRows * tileStride
            for chunk in Blocks(0..<x.rows, most: rowsAtOnce, unit: width) {
                let share = worker.range(of: w.columns, unit: unit)
                for row in stride(from: 0, to: share.isEmpty ? 0 : chunk.count, by: width) {
                    let first = chunk.lowerBound + row
                    operands.pack(
                        x[rows: first..<min(first + width, chunk.upperBound)], share, to: packed + row * rowWords)
                }
                worker.barrier()
                let parts = Blocks(0..<chunk.count, most: rowsAtOnce / 2, unit: width)
                for (g, group) in groups.enumerated() {
                    for part in parts {
                        for (s, sum) in sums.enumerated() {
                            operands.widen(group, sum, to: a)
                            let next =
                                s + 1 < sums.count
                                ? fetch(w.place(group, sums[s + 1]))
                                : g + 1 < groups.count ? fetch(w.place(groups[g + 1], sums[0])) : qk_f32_fetch()
                            operands.multiply(
                                MutableMatrix(tile, rows: group.count, columns: part.count, stride: tileStride), a,
                                packed + part.lowerBound * rowWords + operands.words(sum.lowerBound) * width,
                                stride: rowWords * width, columns: sum.count, adds: s > 0, next)
                        }
                        qk_store_transposed(
                            y.at(chunk.lowerBound + part.lowerBound, group.lowerBound), y.stride, tile, tileStride,
                            part.count, group.count, accumulate ? 1 : 0)
                    }
                }
                if chunk.upperBound < x.rows { worker.barrier() }
            }
        }
    }

    /// What a kernel is to fetch while it multiplies.
    static func fetch(_ place: MemoryPlace) -> qk_f32_fetch {
        qk_f32_fetch(
            start: place.start.assumingMemoryBound(to: CChar.self), stride: place.stride,
            lines: (place.bytes + 127) / 64, rows: place.rows)
    }
}
