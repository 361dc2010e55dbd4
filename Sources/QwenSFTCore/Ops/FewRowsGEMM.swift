import CKernels

/// Float32 products for few rows, where OpenBLAS would spend its time packing the weight. Shapes as in `Linear`.
enum FewRowsGEMM {
    /// Where OpenBLAS catches up (measured: 30 % behind at 32 and 64 rows, 7 % at 256, level from 512).
    private static let most = 256

    static func serves(rows: Int) -> Bool { rows <= most && qk_f32_few_rows_available() != 0 }

    static func forward(
        _ y: UnsafeMutablePointer<Float>, ldy: Int, x: UnsafePointer<Float>, ldx: Int, weight: Weight, rows: Int,
        accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        let mark = compute.arena.mark
        defer { compute.arena.release(to: mark) }
        let (outputs, inputs, most) = (weight.rows, weight.columns, Int(QK_F32_ROWS))
        let panels = try compute.arena.floats((rows + 15) / 16 * 16 * inputs)
        compute.run { worker in
            let columns = worker.range(of: inputs, unit: 16)
            let mine = worker.range(of: outputs, unit: 24)
            func forEachPanel(_ body: (_ panel: UnsafeMutablePointer<Float>, _ width: Int, _ rows: Range<Int>) -> Void)
            {
                for start in stride(from: 0, to: rows, by: most) {
                    let part = start..<min(start + most, rows)
                    body(panels + start * inputs, (part.count + 15) / 16 * 16, part)
                }
            }
            forEachPanel { panel, width, part in
                qk_f32_pack(
                    panel, width, x + part.lowerBound * ldx, ldx, part.count, columns.lowerBound, columns.upperBound)
            }
            worker.barrier()
            forEachPanel { panel, width, part in
                qk_f32_forward(
                    y + part.lowerBound * ldy + mine.lowerBound, ldy, panel, width, part.count,
                    weight.floats + mine.lowerBound * inputs, inputs, mine.count, inputs, accumulate ? 1 : 0)
            }
        }
    }

    static func inputGradient(
        _ dx: UnsafeMutablePointer<Float>, ldx: Int, dy: UnsafePointer<Float>, ldy: Int, weight: Weight, rows: Int,
        accumulate: Bool, compute: Compute
    ) {
        compute.run { worker in
            let mine = worker.range(of: weight.columns, unit: 64)
            qk_f32_input_gradient(
                dx + mine.lowerBound, ldx, dy, ldy, rows, weight.floats + mine.lowerBound, weight.columns, weight.rows,
                mine.count, accumulate ? 1 : 0)
        }
    }
}
