import CKernels

/// How the operands of a forward product are laid out for its kernel, in words of 32 bits: rows of W, and panels of
/// `Float32Panels.width` rows of x.
protocol PanelOperands {
    associatedtype W: WeightFormat
    var w: W { get }

    /// Words of so many columns of a row, from the first on.
    func words(_ columns: Int) -> Int

    /// Columns of the rows of x to their place in a panel.
    func pack(_ x: Matrix<Float>, _ columns: Range<Int>, to panel: UnsafeMutableRawPointer)

    /// That part of W, a row behind the other.
    func widen(_ rows: Range<Int>, _ columns: Range<Int>, to a: UnsafeMutableRawPointer)

    /// c (rows of W, rows of x) = or += a · panels, `columns` of them, with `stride` words from one panel to the next. The last
    /// panel's missing rows may be written.
    func multiply(
        _ c: MutableMatrix<Float>, _ a: UnsafeRawPointer, _ panels: UnsafeRawPointer, stride: Int, columns: Int,
        adds: Bool, _ next: qk_f32_fetch)
}

/// y = x · Wᵀ in panels, for whatever operands: see `Float32Panels`.
enum PanelProduct {
    static func forward<Operands: PanelOperands>(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ operands: Operands, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        let w = operands.w
        guard y.rows > 0, w.rows > 0 else { return }
        let (arena, mark) = (compute.arena, compute.arena.mark)
        defer { arena.release(to: mark) }
        let (width, depth, rowsAtOnce) = (Float32Panels.width, Float32Panels.depth, Float32Panels.rowsAtOnce)
        // Many rows: their panels come from the third-level cache, and are used for more of W.
        let groupRows = x.rows > rowsAtOnce / 2 ? 2 * Float32Panels.groupRows : Float32Panels.groupRows
        let tileStride = roundUp(min(x.rows, rowsAtOnce / 2), width) + width
        let unit = max(width, Operands.W.columnBlock)
        let rowWords = operands.words(w.columns)
        let widenedWords = groupRows * operands.words(depth)
        let packed = try arena.allocate(UInt32.self, roundUp(min(x.rows, rowsAtOnce), width) * rowWords)
        let widened = try arena.allocate(UInt32.self, compute.threads * widenedWords)
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
                                ? Float32Panels.fetch(w, group, sums[s + 1])
                                : g + 1 < groups.count
                                    ? Float32Panels.fetch(w, groups[g + 1], sums[0]) : qk_f32_fetch()
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
}
