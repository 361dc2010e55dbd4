import CKernels

/// The products of `BFloat16GEMM` in blocks for the processor's bfloat16 instructions.
///
/// One kernel serves all three: rows of pairs, broadcast one by one, times a packed panel of up to 64 columns. What is
/// broadcast and what is packed differs:
///
/// | product | axis of summation | broadcast | panel |
/// |---|---|---|---|
/// | forward | inputs | W, straight from its rows | X transposed (the tile comes out transposed) |
/// | input gradient | outputs | dY rounded | W, pairs of rows interleaved |
/// | weight gradient | rows | dY rounded and transposed | X, pairs of rows interleaved |
///
/// So W is read once from far away, in its order, and is never kept in a second form. Sizes of blocks follow the caches
/// of current server cores (32 KiB and 1 MiB); memory latency is hidden by fetching the next block during this one.
enum BFloat16Blocks {
    /// Rows packed at once; bounds the scratch memory.
    private static let rowsAtOnce = 1024

    // MARK: Forward

    static func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ w: some WeightFormat, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        guard y.rows > 0, w.rows > 0 else { return }
        let (arena, mark) = (compute.arena, compute.arena.mark)
        defer { arena.release(to: mark) }
        // Tiles of W rows × X rows, transposed afterwards. The stride is odd in cache lines: no two rows share a set.
        // Fewer of them where they are copied: a copy then stays in the first-level cache until it is multiplied.
        let tileRows = w.bfloat16s == nil ? 16 : 48
        let tileColumns = min(256, roundUp(x.rows, 16))
        let tileStride = tileColumns + 16
        let columns = w.columns
        let pairs = (columns + 1) / 2
        let packed = try arena.allocate(UInt16.self, min(roundUp(x.rows, 16), rowsAtOnce) * pairs * 2)
        let tiles = try arena.floats(compute.threads * tileRows * tileStride)
        // Bfloat16 rows are read where they stand, unless an odd last column has no partner in its row.
        let inPlace = columns % 2 == 0 ? w.bfloat16s : nil
        let copies = try arena.allocate(UInt16.self, inPlace == nil ? compute.threads * tileRows * pairs * 2 : 1)

        // Long sums over more rows than the second-level cache holds are cut.
        let isLong = tileColumns * pairs * 4 > 640 << 10
        let sums = Blocks(0..<pairs, most: isLong ? 512 : pairs, unit: 16)

        compute.run { worker in
            let own = worker.range(of: w.rows, unit: 16)
            let tile = tiles + worker.index * tileRows * tileStride
            let copy = copies + (inPlace == nil ? worker.index * tileRows * pairs * 2 : 0)
            let groups = Blocks(own, most: tileRows, unit: 16)
            for chunk in Blocks(0..<x.rows, most: rowsAtOnce, unit: 16) {
                let panels = Blocks(0..<chunk.count, most: 64, unit: 16)
                let share = worker.range(of: x.columns, unit: 32)
                for panel in panels where !share.isEmpty {
                    let width = roundUp(panel.count, 16)
                    qk_pack_transposed(
                        packed + panel.lowerBound * pairs * 2 + share.lowerBound * width, width,
                        x.at(chunk.lowerBound + panel.lowerBound, share.lowerBound), x.stride, panel.count, share.count)
                }
                worker.barrier()
                /// Some of the panels times a group of rows of W.
                func multiply(_ some: Int, _ rows: Matrix<UInt16>, _ g: Int) {
                    let group = groups[g]
                    let held = some..<min(some + 4, panels.count)
                    let first = panels[some].lowerBound
                    for (s, sum) in sums.enumerated() {
                        let next =
                            s + 1 < sums.count
                            ? rows.at(0, 2 * sums[s + 1].lowerBound)
                            : g + 1 < groups.count ? inPlace?.at(groups[g + 1].lowerBound) : nil
                        for p in held {
                            let panel = panels[p]
                            let width = roundUp(panel.count, 16)
                            qk_gemm_stream(
                                tile + (panel.lowerBound - first), tileStride,
                                rows.at(0, 2 * sum.lowerBound), rows.stride, group.count,
                                packed + panel.lowerBound * pairs * 2 + 2 * sum.lowerBound * width, width,
                                sum.count,
                                s > 0 ? 1 : 0, p == some && inPlace != nil ? 1 : 0, next)
                        }
                    }
                    qk_store_transposed(
                        y.at(chunk.lowerBound + first, group.lowerBound), y.stride, tile, tileStride,
                        panels[held.upperBound - 1].upperBound - first, group.count, accumulate ? 1 : 0)
                }
                let parts = stride(from: 0, to: panels.count, by: 4)
                if let inPlace {
                    for some in parts {
                        for (g, group) in groups.enumerated() { multiply(some, inPlace[rows: group], g) }
                    }
                } else {
                    // What has to be brought into another form first is so once.
                    for (g, group) in groups.enumerated() {
                        w.round(group, 0..<columns, to: copy, padded: pairs * 2)
                        for some in parts {
                            multiply(some, Matrix(copy, rows: group.count, columns: pairs * 2), g)
                        }
                    }
                }
                if chunk.upperBound < x.rows { worker.barrier() }
            }
        }
    }

    // MARK: Input gradient

    static func inputGradient<W: WeightFormat>(
        _ dx: MutableMatrix<Float>, _ dy: Matrix<Float>, _ w: W, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        guard dx.rows > 0, dx.columns > 0 else { return }
        let (arena, mark) = (compute.arena, compute.arena.mark)
        defer { arena.release(to: mark) }
        let rowsHeld = min(dy.rows, rowsAtOnce)
        // dY is rounded in slices of some 16 MB: the head's would be larger than all else in memory.
        let sliceColumns = min(roundUp(dy.columns, 2), max(2048, (8 << 20) / rowsHeld & ~63))
        let blockRows = 640
        let rounded = try arena.allocate(UInt16.self, rowsHeld * sliceColumns)
        let packed = try arena.allocate(UInt16.self, compute.threads * blockRows * 64)
        let hasTail = dx.columns % 16 != 0
        let tiles = try arena.floats(hasTail ? compute.threads * rowsHeld * 64 : 1)
        // Panels of W begin where a part of its rows may be read from on.
        let inPlace = w.bfloat16s
        let stripe = max(64, W.columnBlock)
        let copies = try arena.allocate(UInt16.self, inPlace == nil ? compute.threads * blockRows * stripe : 1)

        compute.run { worker in
            let own = worker.range(of: dx.columns, unit: inPlace == nil ? stripe : 16)
            let panels = Blocks(own, most: 64, unit: inPlace == nil ? 64 : 16)
            let packed = packed + worker.index * blockRows * 64
            let tile = tiles + (hasTail ? worker.index * rowsHeld * 64 : 0)
            let copy = copies + (inPlace == nil ? worker.index * blockRows * stripe : 0)
            /// The part of W that a panel is packed from; what has to be rounded first is so stripe by stripe.
            func part(_ rows: Range<Int>, _ panel: Range<Int>) -> Matrix<UInt16> {
                if let inPlace { return inPlace[rows: rows][columns: panel] }
                let start = panel.lowerBound / stripe * stripe
                let columns = start..<min(start + stripe, own.upperBound)
                if panel.lowerBound == start { w.round(rows, columns, to: copy, padded: stripe) }
                return Matrix(copy, rows: rows.count, columns: stripe)[
                    columns: panel.lowerBound - start..<panel.upperBound - start]
            }
            for chunk in Blocks(0..<dy.rows, most: rowsHeld, unit: 1) {
                for slice in Blocks(0..<dy.columns, most: sliceColumns, unit: 2) {
                    let share = worker.range(of: roundUp(slice.count, 2), unit: 32)
                    qk_round_rows(
                        rounded + share.lowerBound, sliceColumns,
                        dy.at(chunk.lowerBound, slice.lowerBound) + share.lowerBound,
                        dy.stride, chunk.count, min(share.upperBound, slice.count) - share.lowerBound, share.count)
                    worker.barrier()
                    let blocks = Blocks(slice, most: blockRows, unit: 2)
                    for (b, block) in blocks.enumerated() {
                        let adds = accumulate || block.lowerBound > 0
                        for (p, panel) in panels.enumerated() {
                            let width = roundUp(panel.count, 16)
                            let source = part(block, panel)
                            qk_pack_interleaved_bf16(
                                packed, width, source.base, source.stride, block.count, panel.count)
                            let next =
                                p + 1 < panels.count
                                ? inPlace?.at(block.lowerBound, panels[p + 1].lowerBound)
                                : b + 1 < blocks.count ? inPlace?.at(block.upperBound, panels[0].lowerBound) : nil
                            let a = rounded + (block.lowerBound - slice.lowerBound)
                            let out = dx.at(chunk.lowerBound, panel.lowerBound)
                            let fits = panel.count == width
                            qk_gemm_panel(
                                fits ? out : tile, fits ? dx.stride : 64, a, sliceColumns, chunk.count,
                                packed, width, (block.count + 1) / 2, fits && adds ? 1 : 0, next, dx.columns)
                            if !fits { qk_store_rows(out, dx.stride, tile, 64, chunk.count, panel.count, adds ? 1 : 0) }
                        }
                    }
                    worker.barrier()
                }
            }
        }
    }

    // MARK: Weight gradient

    static func weightGradient(
        _ target: qk_gradient, _ dy: Matrix<Float>, _ x: Matrix<Float>, compute: Compute
    ) throws(QwenSFTError) {
        let rows = x.rows
        let pairs = (rows + 1) / 2
        let (arena, mark) = (compute.arena, compute.arena.mark)
        defer { arena.release(to: mark) }
        // Few rows: the target's traffic counts. All of X that is packed stays in the second-level cache, and each block
        // of 6 target rows is walked in long runs. Many rows: panel by panel, each used for 48 target rows.
        let isShort = rows <= 128
        let columnsHeld = min(roundUp(x.columns, 16), max(1024, (isShort ? 200 << 10 : 4 << 20) / max(rows, 1)) & ~63)
        let groupRows = isShort ? 192 : rows <= 512 ? 96 : 48
        let subRows = isShort ? 6 : QK_GRADIENT_ROWS
        let stride = 2 * pairs + 32  // no multiple of 4 KiB, which would put all rows into one cache set
        let packedX = try arena.allocate(UInt16.self, columnsHeld * pairs * 2)
        let packedDY = try arena.allocate(UInt16.self, compute.threads * groupRows * stride)

        compute.run { worker in
            let groups = Blocks(worker.range(of: dy.columns, unit: 16), most: groupRows, unit: 6)
            let packedDY = packedDY + worker.index * groupRows * stride
            for chunk in Blocks(0..<x.columns, most: columnsHeld, unit: 64) {
                let share = worker.range(of: rows, unit: 32)
                for column in Swift.stride(from: 0, to: share.isEmpty ? 0 : chunk.count, by: 64) {
                    let used = min(64, chunk.count - column)
                    let width = roundUp(used, 16)
                    qk_pack_interleaved_f32(
                        packedX + column * pairs * 2 + share.lowerBound * width, width,
                        x.at(share.lowerBound, chunk.lowerBound + column), x.stride, share.count, used)
                }
                worker.barrier()
                withUnsafePointer(to: target) { target in
                    for group in groups {
                        qk_round_transposed(packedDY, stride, dy.at(0, group.lowerBound), dy.stride, rows, group.count)
                        for row in Swift.stride(from: 0, to: group.count, by: subRows) {
                            qk_gemm_gradient(
                                target, group.lowerBound + row, chunk.lowerBound, min(subRows, group.count - row),
                                chunk.count,
                                packedDY + row * stride, stride, packedX, pairs)
                        }
                    }
                }
                if chunk.upperBound < x.columns { worker.barrier() }
            }
        }
    }
}

func roundUp(_ n: Int, _ unit: Int) -> Int { (n + unit - 1) / unit * unit }

/// A range cut into as few blocks of at most `most` as possible, nearly equal, all but the last multiples of `unit`.
struct Blocks: RandomAccessCollection {
    let whole: Range<Int>
    let unit: Int
    let endIndex: Int
    private let units: Int

    init(_ whole: Range<Int>, most: Int, unit: Int) {
        self.whole = whole
        self.unit = unit
        units = (whole.count + unit - 1) / unit
        let each = Swift.max(1, most / unit)
        endIndex = (units + each - 1) / each
    }

    var startIndex: Int { 0 }

    subscript(index: Int) -> Range<Int> {
        let lower = units * index / endIndex * unit
        let upper = units * (index + 1) / endIndex * unit
        return whole.lowerBound + lower..<Swift.min(whole.lowerBound + upper, whole.upperBound)
    }
}
