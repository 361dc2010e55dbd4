extension JSONValue {
    /// The document as UTF-8.
    ///
    /// `indented`: two spaces a level and a newline at the end, as transformers writes its configurations; otherwise without any white space.
    package func serialized(indented: Bool = false) -> [UInt8] {
        var output: [UInt8] = []
        write(into: &output, indent: indented ? 0 : nil)
        if indented { output.append(UInt8(ascii: "\n")) }
        return output
    }

    private func write(into output: inout [UInt8], indent: Int?) {
        switch self {
        case .null: output += "null".utf8
        case .bool(let value): output += (value ? "true" : "false").utf8
        case .number(let literal): output += literal.utf8
        case .string(let string): JSONValue.write(string.utf8, into: &output)
        case .array(let elements):
            JSONValue.write(elements, "[", "]", into: &output, indent) { element, output, indent in
                element.write(into: &output, indent: indent)
            }
        case .object(let object):
            JSONValue.write(object.members, "{", "}", into: &output, indent) { member, output, indent in
                JSONValue.write(member.key.utf8, into: &output)
                output += (indent == nil ? ":" : ": ").utf8
                member.value.write(into: &output, indent: indent)
            }
        }
    }

    private static func write<Element>(
        _ elements: [Element], _ opening: String, _ closing: String, into output: inout [UInt8], _ indent: Int?,
        _ writeElement: (Element, inout [UInt8], Int?) -> Void
    ) {
        func newline(_ level: Int) {
            output.append(UInt8(ascii: "\n"))
            output += repeatElement(UInt8(ascii: " "), count: 2 * level)
        }
        output += opening.utf8
        for (i, element) in elements.enumerated() {
            if i > 0 { output.append(UInt8(ascii: ",")) }
            if let indent { newline(indent + 1) }
            writeElement(element, &output, indent.map { $0 + 1 })
        }
        if let indent, !elements.isEmpty { newline(indent) }
        output += closing.utf8
    }

    /// A string of these bytes, which are UTF-8.
    static func write(_ text: some Sequence<UInt8>, into output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""): output += "\\\"".utf8
            case UInt8(ascii: "\\"): output += "\\\\".utf8
            case 0x0A: output += "\\n".utf8
            case 0x0D: output += "\\r".utf8
            case 0x09: output += "\\t".utf8
            case 0..<0x20: output += ((byte < 0x10 ? "\\u000" : "\\u00") + String(byte, radix: 16)).utf8
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }
}
