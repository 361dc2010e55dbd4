import CKernels

/// Float32 products for few rows, where OpenBLAS would spend its time packing the weight. Shapes as in `Linear`.
enum FewRowsGEMM {
    /// Where OpenBLAS catches up (measured: 30 % behind at 32 and 64 rows, 7 % at 256, level from 512).
    private static let most = 256

    static func serves(rows: Int) -> Bool { rows <= most && Processor.hasFewRowsKernels }

    static func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ w: Matrix<Float>, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let most = Int(QK_F32_ROWS)
        let panels = try compute.arena.floats(roundUp(x.rows, 16) * w.columns)
        compute.run { worker in
            let columns = worker.range(of: w.columns, unit: 16)
            let mine = worker.range(of: w.rows, unit: 24)
            func forEachPanel(_ body: (_ panel: UnsafeMutablePointer<Float>, _ width: Int, _ rows: Range<Int>) -> Void)
            {
                for start in stride(from: 0, to: x.rows, by: most) {
                    let part = start..<min(start + most, x.rows)
                    body(panels + start * w.columns, roundUp(part.count, 16), part)
                }
            }
            forEachPanel { panel, width, part in
                qk_f32_pack(
                    panel, width, x.at(part.lowerBound), x.stride, part.count, columns.lowerBound, columns.upperBound)
            }
            worker.barrier()
            forEachPanel { panel, width, part in
                qk_f32_forward(
                    y.at(part.lowerBound, mine.lowerBound), y.stride, panel, width, part.count,
                    w.at(mine.lowerBound), w.stride, mine.count, w.columns, accumulate ? 1 : 0)
            }
        }
    }

    static func inputGradient(
        _ dx: MutableMatrix<Float>, _ dy: Matrix<Float>, _ w: Matrix<Float>, accumulate: Bool, compute: Compute
    ) {
        compute.run { worker in
            let mine = worker.range(of: w.columns, unit: 64)
            qk_f32_input_gradient(
                dx.at(0, mine.lowerBound), dx.stride, dy.base, dy.stride, dy.rows, w.at(0, mine.lowerBound), w.stride,
                w.rows, mine.count, accumulate ? 1 : 0)
        }
    }
}
