import CKernels

/// The operands of a forward product with weights in few bits: their integers, and x in integers of 16 bits, exact within a
/// group of neighbors that share a scale, as in products with a few rows (`Int16Rows`). An error of 2⁻¹⁶ of a group's largest
/// magnitude of x is what it costs.
struct IntegerPanels<Form: QuantizedForm>: PanelOperands {
    let w: QuantizedWeight<Form>

    private var group: Int { Form.scaleBlock }
    /// Groups of so many columns; a row is padded to a multiple of 64.
    private func groups(_ columns: Int) -> Int { roundUp(columns, QK_QUANT_BLOCK) / group }

    func words(_ columns: Int) -> Int { groups(columns) * (group / 2 + 1) }

    func pack(_ x: Matrix<Float>, _ columns: Range<Int>, to panel: UnsafeMutablePointer<UInt32>) {
        qk_i16_pack(
            panel, x.base, x.stride, x.rows, x.columns, group, columns.lowerBound / group, groups(columns.upperBound))
    }

    func widen(_ rows: Range<Int>, _ columns: Range<Int>, to a: UnsafeMutablePointer<UInt32>) {
        let (stride, padded) = (words(columns.count), roundUp(columns.count, QK_QUANT_BLOCK))
        for (index, row) in rows.enumerated() {
            Form.pairs(w.at(row, columns.lowerBound), to: a + index * stride, count: padded)
        }
    }

    func multiply(
        _ c: MutableMatrix<Float>, _ a: UnsafePointer<UInt32>, _ panels: UnsafePointer<UInt32>, stride: Int,
        columns: Int, adds: Bool, _ next: qk_f32_fetch
    ) {
        withUnsafePointer(to: next) {
            qk_i16_multiply(
                c.base, c.stride, a, words(columns), c.rows, panels, stride, roundUp(c.columns, PanelProduct.width),
                group, groups(columns), adds ? 1 : 0, $0)
        }
    }
}
