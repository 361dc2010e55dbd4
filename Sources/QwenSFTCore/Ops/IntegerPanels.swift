import CKernels

/// The forward product of weights in few bits: their integers times x in integers of 16 bits, exact within a group of
/// neighbors that share a scale, as in products with a few rows (`Int16Rows`). An error of 2⁻¹⁶ of a group's largest
/// magnitude of x is what it costs, and half the time of a float32 product what it takes.
struct IntegerPanels<Form: QuantizedForm>: PanelOperands {
    let w: QuantizedWeight<Form>

    /// Whether this is the fastest way: with AVX2 or VNNI, but not where bfloat16 numbers are multiplied as fast.
    static var isFastest: Bool { Processor.multipliesInt16Pairs && !Processor.multipliesBFloat16 }

    static func forward(
        _ y: MutableMatrix<Float>, _ x: Matrix<Float>, _ w: QuantizedWeight<Form>, accumulate: Bool, compute: Compute
    ) throws(QwenSFTError) {
        try PanelProduct.forward(y, x, Self(w: w), accumulate: accumulate, compute: compute)
    }

    private var group: Int { Form.scaleBlock }
    /// Groups of so many columns; a row is padded to a multiple of 64.
    private func groups(_ columns: Int) -> Int { roundUp(columns, QK_QUANT_BLOCK) / group }
    private func groups(_ columns: Range<Int>) -> Range<Int> { columns.lowerBound / group..<groups(columns.upperBound) }

    func words(_ columns: Int) -> Int { groups(columns) * (group / 2 + 1) }

    func pack(_ x: Matrix<Float>, _ columns: Range<Int>, to panel: UnsafeMutableRawPointer) {
        let groups = groups(columns)
        qk_i16_pack(
            panel.assumingMemoryBound(to: UInt32.self), x.base, x.stride, x.rows, x.columns, group, groups.lowerBound,
            groups.upperBound)
    }

    func widen(_ rows: Range<Int>, _ columns: Range<Int>, to a: UnsafeMutableRawPointer) {
        let (a, stride) = (a.assumingMemoryBound(to: UInt32.self), words(columns.count))
        for (index, row) in rows.enumerated() {
            Form.pairs(w.at(row, columns.lowerBound), to: a + index * stride, count: roundUp(columns.count, QK_QUANT_BLOCK))
        }
    }

    func multiply(
        _ c: MutableMatrix<Float>, _ a: UnsafeRawPointer, _ panels: UnsafeRawPointer, stride: Int, columns: Int,
        adds: Bool, _ next: qk_f32_fetch
    ) {
        withUnsafePointer(to: next) {
            qk_i16_multiply(
                c.base, c.stride, a.assumingMemoryBound(to: UInt32.self), words(columns), c.rows,
                panels.assumingMemoryBound(to: UInt32.self), stride, roundUp(c.columns, Float32Panels.width), group,
                groups(columns), adds ? 1 : 0, $0)
        }
    }
}
