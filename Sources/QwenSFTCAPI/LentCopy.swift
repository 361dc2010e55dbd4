/// A copy of the elements where C can see them, also of none; whoever lends it out deallocates it.
func lentCopy<C: Collection>(of elements: C) -> UnsafePointer<C.Element> {
    let memory = UnsafeMutablePointer<C.Element>.allocate(capacity: max(1, elements.count))
    _ = UnsafeMutableBufferPointer(start: memory, count: elements.count).initialize(fromContentsOf: elements)
    return UnsafePointer(memory)
}

/// The same of text, with a NUL after it.
func lentCopy(of text: String) -> UnsafePointer<CChar> { lentCopy(of: text.utf8CString) }
