import Libc

/// The documents in a stream, one after another: JSON Lines, or the elements of an array where the first byte is '['.
///
/// Holds no more of the stream than its largest document.
package final class JSONRecords {
    package struct Record {
        package let value: JSONValue
        /// Where it begins, from 1.
        package let line: Int
    }

    private enum Layout { case unknown, lines, array, ended }

    private let stream: ByteStream
    private let name: String
    private var layout = Layout.unknown
    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    /// What was read and is not yet used: `memory[start..<end]`.
    private var (start, end) = (0, 0)
    private var isAtEnd = false
    /// Of the byte at `start`.
    private var line = 1
    private var column = 0
    private var isFirst = true

    /// - Parameter name: for messages.
    package init(_ stream: ByteStream, name: String) {
        self.stream = stream
        self.name = name
    }

    deinit { free(memory.baseAddress) }

    /// The next document; nil at the end.
    package func next() throws(QwenSFTError) -> Record? {
        if layout == .unknown { try findLayout() }
        switch layout {
        case .lines: return try nextLine()
        case .array: return try nextElement()
        case .unknown, .ended: return nil
        }
    }

    private func findLayout() throws(QwenSFTError) {
        while end - start < 3, !isAtEnd { try fill() }
        // A byte order mark, as some editors write it.
        if bytes(start, min(end, start + 3)).elementsEqual([0xEF, 0xBB, 0xBF] as [UInt8]) { start += 3 }
        layout = try skipWhitespace() == UInt8(ascii: "[") ? .array : .lines
        if layout == .array { advance() }
    }

    // MARK: Lines

    private func nextLine() throws(QwenSFTError) -> Record? {
        while true {
            var searched = start
            var found: Int?
            while true {
                found = newline(from: searched)
                if found != nil || isAtEnd { break }
                searched = end - start
                try fill()
                searched += start
            }
            if found == nil, start == end {
                layout = .ended
                return nil
            }
            let stop = found ?? end
            let text = bytes(start, stop)
            defer {
                start = found.map { $0 + 1 } ?? end
                line += found == nil ? 0 : 1
                column = 0
            }
            if text.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
            return try parse(text)
        }
    }

    private func newline(from position: Int) -> Int? {
        guard let base = memory.baseAddress, position < end,
            let found = memchr(base + position, 0x0A, end - position)
        else { return nil }
        return UnsafeRawPointer(found) - UnsafeRawPointer(base)
    }

    // MARK: Elements of an array

    private func nextElement() throws(QwenSFTError) -> Record? {
        var byte = try skipWhitespace()
        if byte == UInt8(ascii: "]") {
            advance()
            layout = .ended
            if try skipWhitespace() != nil { throw error("nothing but white space may follow the list") }
            return nil
        }
        if !isFirst {
            guard byte == UInt8(ascii: ",") else { throw error("expected ',' or ']' after an element of the list") }
            advance()
            byte = try skipWhitespace()
            if byte == UInt8(ascii: "]") { throw error("a comma must not stand before the end of the list") }
        }
        guard let byte else { throw error("the document ends where an element of the list was expected") }
        if byte == UInt8(ascii: ",") { throw error("expected an element of the list, found ','") }
        isFirst = false
        let count = try elementLength()
        let text = bytes(start, start + count)
        let record = try parse(text)
        for byte in text {
            if byte == 0x0A { (line, column) = (line + 1, -1) }
            column += 1
        }
        start += count
        return record
    }

    /// Bytes of the element that begins at `start`; what is wrong inside of it is for the parser to say.
    private func elementLength() throws(QwenSFTError) -> Int {
        var count = 0
        var depth = 0
        var (isString, isEscaped) = (false, false)
        while true {
            while start + count < end {
                let byte = memory[start + count]
                if isString {
                    if isEscaped {
                        isEscaped = false
                    } else if byte == UInt8(ascii: "\\") {
                        isEscaped = true
                    } else if byte == UInt8(ascii: "\"") {
                        isString = false
                        if depth == 0 { return count + 1 }
                    }
                } else {
                    switch byte {
                    case UInt8(ascii: "\""): isString = true
                    case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                    case UInt8(ascii: "}"), UInt8(ascii: "]"):
                        if depth == 0 { return count }
                        depth -= 1
                        if depth == 0 { return count + 1 }
                    case UInt8(ascii: ","): if depth == 0 { return count }
                    default: break
                    }
                }
                count += 1
            }
            if isAtEnd { return count }
            try fill()
        }
    }

    // MARK: Bytes

    private func parse(_ text: UnsafeRawBufferPointer) throws(QwenSFTError) -> Record {
        // A tree of many small values takes more than this, which the reserve covers; a long text about as much.
        try Memory.require(text.count < 1 << 60 ? 2 * text.count : .max, for: name)
        var reader = JSONReader(text, file: name, firstLine: line, firstColumn: column)
        let value = try reader.value()
        try reader.end()
        return Record(value: value, line: line)
    }

    private func bytes(_ from: Int, _ to: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(memory)[from..<to])
    }

    private func error(_ message: String) -> QwenSFTError {
        QwenSFTError(.invalidFile, "\(name):\(line):\(column + 1): \(message)")
    }

    private func advance() {
        start += 1
        column += 1
    }

    /// The byte after white space, which stays where it is; nil at the end.
    private func skipWhitespace() throws(QwenSFTError) -> UInt8? {
        while true {
            while start < end {
                switch memory[start] {
                case 0x0A:
                    line += 1
                    column = -1
                case 0x20, 0x09, 0x0D: break
                case let byte: return byte
                }
                advance()
            }
            if isAtEnd { return nil }
            try fill()
        }
    }

    /// Reads more behind what there is, in larger memory where that is full.
    private func fill() throws(QwenSFTError) {
        if start > 0, let base = memory.baseAddress {
            memmove(base, base + start, end - start)
            (start, end) = (0, end - start)
        }
        if end == memory.count {
            let size = max(1 << 18, 2 * memory.count)
            guard let larger = realloc(memory.baseAddress, size) else {
                throw QwenSFTError(.outOfMemory, "\(name): no memory for a document of \(end) bytes and more")
            }
            memory = UnsafeMutableRawBufferPointer(start: larger, count: size)
            try Memory.check(name)
        }
        let got = try stream.read(into: UnsafeMutableRawBufferPointer(rebasing: memory[end...]))
        end += got
        if got == 0 { isAtEnd = true }
    }
}
