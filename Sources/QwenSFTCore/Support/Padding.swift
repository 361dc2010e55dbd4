/// Where the real tokens of a row stand, by its attention mask: 1s, with 0s to the left or the right of them.
/// - Parameter row: its number, for messages.
/// - Throws: `invalidArgument` for other numbers and for 1s that are not neighbors.
package func realTokens(of mask: Slice<UnsafeBufferPointer<Int64>>, row: Int) throws(QwenSFTError) -> Range<Int> {
    func wrong(_ index: Int, _ what: String) -> QwenSFTError {
        QwenSFTError(.invalidArgument, "attention_mask: row \(row), position \(index - mask.startIndex): \(what)")
    }
    if let index = mask.firstIndex(where: { $0 != 0 && $0 != 1 }) {
        throw wrong(index, "\(mask[index]) is neither 0 nor 1")
    }
    guard let start = mask.firstIndex(of: 1) else { return 0..<0 }
    let end = mask[start...].firstIndex(of: 0) ?? mask.endIndex
    if let index = mask[end...].firstIndex(of: 1) {
        throw wrong(index, "a 1 after 1s and 0s; the real tokens of a row must be neighbors")
    }
    return start - mask.startIndex..<end - mask.startIndex
}
