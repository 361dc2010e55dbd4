/// Memory for `count` elements during `body`, uninitialized; of what is thrown the type is known, which the standard library's
/// function of this kind forgets.
func withTemporary<Element: BitwiseCopyable, Result>(
    _: Element.Type, _ count: Int, _ body: (UnsafeMutablePointer<Element>) throws(QwenSFTError) -> Result
) throws(QwenSFTError) -> Result {
    let result: Swift.Result<Result, QwenSFTError> = withUnsafeTemporaryAllocation(
        of: Element.self, capacity: max(1, count)
    ) { buffer in
        guard let base = buffer.baseAddress else {
            return .failure(QwenSFTError(.outOfMemory, "no memory for \(count) elements"))
        }
        do throws(QwenSFTError) { return .success(try body(base)) } catch { return .failure(error) }
    }
    return try result.get()
}
