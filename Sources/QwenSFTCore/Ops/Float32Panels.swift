import CKernels

/// Products for processors without bfloat16 instructions, and those of few rows with float32 weights: W, in whatever form, is widened to
/// float32 while it is packed. Activations stay float32.
///
/// One kernel serves all three (`qk_f32_multiply`): rows, broadcast one number at a time, times packed panels of 16 columns.
///
/// | product | axis of summation | broadcast | panels |
/// |---|---|---|---|
/// | forward | inputs | W widened | X transposed (the tile comes out transposed) |
/// | input gradient | outputs | dY | W widened |
/// | weight gradient | rows | dY transposed | X |
enum Float32Panels {
    private static let width = PanelProduct.width
    private static let depth = PanelProduct.depth
    private static let groupRows = PanelProduct.groupRows
    private static let rowsAtOnce = PanelProduct.rowsAtOnce

    /// Whether forward product and input gradient of float32 weights are faster here than OpenBLAS's, which packs the weights for few rows too
    /// (measured with AVX2: 1.3 to 1.7 times as fast at 32 rows, 1.1 to 1.4 at 64, level at 256; NEON was not measured).
    static func servesFloat32(rows: Int) -> Bool { rows <= 256 && Processor.hasPanelKernels }

    /// The same of the weight's gradient, dYᵀ · X: 1.3 times as fast at 32 rows and 1.2 at 64, but 0.93 where there are fewer outputs than inputs. With
    /// AVX-512 OpenBLAS is ahead.
    static func servesFloat32WeightGradient(_ dy: Matrix<Float>, _ x: Matrix<Float>) -> Bool {
        x.rows <= 64 && dy.columns >= x.columns && Processor.hasPanelKernels && !Processor.hasFewRowsKernels
    }

    // MARK: Forward

    static func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ w: some WeightFormat, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        try PanelProduct.forward(y, x, Float32Operands(w: w), accumulate: accumulate, compute: compute)
    }

    // MARK: Input gradient

    static func inputGradient<W: WeightFormat>(
        _ dx: MutableMatrix<Float>, _ dy: Matrix<Float>, _ w: W, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        guard dx.rows > 0, dx.columns > 0 else { return }
        let (arena, mark) = (compute.arena, compute.arena.mark)
        defer { arena.release(to: mark) }
        let rowsHeld = min(dy.rows, rowsAtOnce / 2)
        let stripe = max(64, W.columnBlock)
        let rows = try arena.floats(compute.threads * rowsHeld * depth)
        let panels = try arena.floats(compute.threads * stripe * depth)
        let copies = try arena.floats(compute.threads * stripe * depth)

        compute.run { worker in
            let stripes = Blocks(
                worker.range(of: dx.columns, unit: max(width, W.columnBlock)), most: stripe,
                unit: max(width, W.columnBlock))
            let sums = Blocks(0..<dy.columns, most: depth, unit: 8)
            let a = rows + worker.index * rowsHeld * depth
            let b = panels + worker.index * stripe * depth
            let copy = copies + worker.index * stripe * depth
            for chunk in Blocks(0..<dy.rows, most: rowsHeld, unit: 6) where !stripes.isEmpty {
                for (s, sum) in sums.enumerated() {
                    for (index, row) in chunk.enumerated() {
                        (a + index * sum.count).update(from: dy.at(row, sum.lowerBound), count: sum.count)
                    }
                    for (t, columns) in stripes.enumerated() {
                        pack(w, sum, columns, to: b, scratch: copy)
                        let next =
                            t + 1 < stripes.count
                            ? fetch(w, sum, stripes[t + 1])
                            : s + 1 < sums.count ? fetch(w, sums[s + 1], stripes[0]) : qk_f32_fetch()
                        multiply(
                            dx[rows: chunk][columns: columns], Matrix(a, rows: chunk.count, columns: sum.count), b,
                            sum.count * width, adds: accumulate || s > 0, next)
                    }
                }
            }
        }
    }

    // MARK: Weight gradient

    static func weightGradient(
        _ target: qk_gradient, _ dy: Matrix<Float>, _ x: Matrix<Float>, compute: Compute
    ) throws(QwenSFTError) {
        let rows = x.rows
        let (arena, mark) = (compute.arena, compute.arena.mark)
        defer { arena.release(to: mark) }
        // With few rows the target's traffic counts: a tile then stays in the first-level cache until it is stored.
        let stripe = rows <= 128 ? 64 : 128
        let columnsHeld = min(roundUp(x.columns, width), max(1024, (1 << 20) / max(rows, 1)) & ~255)
        let sums = Blocks(0..<rows, most: depth, unit: 8)
        let held = roundUp(rows, 16) + 16 * sums.count
        let packed = try arena.floats(columnsHeld * max(rows, 1))
        let transposed = try arena.floats(compute.threads * groupRows * held)
        let tiles = try arena.floats(compute.threads * groupRows * (stripe + width))

        compute.run { worker in
            let groups = Blocks(worker.range(of: dy.columns, unit: 16), most: groupRows, unit: 6)
            let a = transposed + worker.index * groupRows * held
            let tile = tiles + worker.index * groupRows * (stripe + width)
            /// The part of dY that is transposed for a part of the sum.
            func part(_ sum: Range<Int>, _ s: Int, _ group: Range<Int>) -> Matrix<Float> {
                Matrix(
                    a + (sum.lowerBound + 16 * s) * groupRows, rows: group.count, columns: sum.count,
                    stride: roundUp(sum.count, 16))
            }
            for chunk in Blocks(0..<x.columns, most: columnsHeld, unit: 64) {
                let share = worker.range(of: rows, unit: 8)
                if !share.isEmpty {
                    qk_f32_panels(
                        packed + share.lowerBound * width, rows * width, x.at(share.lowerBound, chunk.lowerBound),
                        x.stride, share.count, chunk.count)
                }
                worker.barrier()
                withUnsafePointer(to: target) { target in
                    for group in groups {
                        for (s, sum) in sums.enumerated() {
                            let part = part(sum, s, group)
                            qk_f32_pack(
                                UnsafeMutablePointer(mutating: part.base), part.stride,
                                dy.at(sum.lowerBound, group.lowerBound), dy.stride, sum.count, 0, group.count)
                        }
                        for columns in Blocks(chunk, most: stripe, unit: 64) {
                            let old = fetch(target.pointee, group, columns)
                            for (s, sum) in sums.enumerated() {
                                multiply(
                                    MutableMatrix(
                                        tile, rows: group.count, columns: columns.count, stride: stripe + width),
                                    part(sum, s, group),
                                    packed + (columns.lowerBound - chunk.lowerBound) * rows + sum.lowerBound * width,
                                    rows * width, adds: s > 0, s == 0 ? old : qk_f32_fetch())
                            }
                            if sums.isEmpty { tile.update(repeating: 0, count: groupRows * (stripe + width)) }
                            qk_store_gradient(
                                target, group.lowerBound, columns.lowerBound, tile, stripe + width, group.count,
                                columns.count)
                        }
                    }
                }
                if chunk.upperBound < x.columns { worker.barrier() }
            }
        }
    }

    // MARK: The kernel

    /// Columns of rows of W as panels; `scratch`: memory for as many.
    private static func pack(
        _ w: some WeightFormat, _ rows: Range<Int>, _ columns: Range<Int>, to panels: UnsafeMutablePointer<Float>,
        scratch: UnsafeMutablePointer<Float>
    ) {
        let stride = rows.count * width
        if let wide = w.float32s {
            let start = wide.at(rows.lowerBound, columns.lowerBound)
            qk_f32_panels(panels, stride, start, wide.stride, rows.count, columns.count)
        } else if let narrow = w.bfloat16s {
            qk_f32_panels_bf16(
                panels, stride, narrow.at(rows.lowerBound, columns.lowerBound), narrow.stride, rows.count,
                columns.count)
        } else {
            w.widen(rows, columns, to: scratch)
            qk_f32_panels(panels, stride, scratch, columns.count, rows.count, columns.count)
        }
    }

    /// c = or += a · panels, `stride` elements from one to the next.
    fileprivate static func multiply(
        _ c: MutableMatrix<Float>, _ a: Matrix<Float>, _ panels: UnsafePointer<Float>, _ stride: Int, adds: Bool,
        _ next: qk_f32_fetch
    ) {
        withUnsafePointer(to: next) {
            qk_f32_multiply(
                c.base, c.stride, a.base, a.stride, a.rows, panels, stride, c.columns, a.columns, adds ? 1 : 0, $0)
        }
    }

    private static func fetch(_ w: some WeightFormat, _ rows: Range<Int>, _ columns: Range<Int>) -> qk_f32_fetch {
        PanelProduct.fetch(w.place(rows, columns))
    }

    private static func fetch(_ target: qk_gradient, _ rows: Range<Int>, _ columns: Range<Int>) -> qk_f32_fetch {
        guard let start = target.target else { return qk_f32_fetch() }
        let size = target.bf16 != 0 ? 2 : 4
        let place = (rows.lowerBound * target.columns + columns.lowerBound) * size
        return PanelProduct.fetch(
            MemoryPlace(
                start + place, rows: rows.count, stride: target.columns * size, bytes: columns.count * size))
    }
}

/// W widened to float32, and x as it is.
private struct Float32Operands<W: WeightFormat>: PanelOperands {
    let w: W

    func words(_ columns: Int) -> Int { columns }

    func pack(_ x: Matrix<Float>, _ columns: Range<Int>, to panel: UnsafeMutablePointer<Float>) {
        qk_f32_pack(
            panel, PanelProduct.width, x.base, x.stride, x.rows, columns.lowerBound, columns.upperBound)
    }

    func widen(_ rows: Range<Int>, _ columns: Range<Int>, to a: UnsafeMutablePointer<Float>) {
        w.widen(rows, columns, to: a)
    }

    func multiply(
        _ c: MutableMatrix<Float>, _ a: UnsafePointer<Float>, _ panels: UnsafePointer<Float>, stride: Int, columns: Int,
        adds: Bool, _ next: qk_f32_fetch
    ) {
        Float32Panels.multiply(c, Matrix(a, rows: c.rows, columns: columns), panels, stride, adds: adds, next)
    }
}
