extension JinjaFilter {
    /// The filters that go through a list.
    func applyToList(_ value: JinjaValue, _ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError)
        -> JinjaValue
    {
        func bind(_ names: [String], required: Int = 0) throws(QwenSFTError) -> [JinjaValue?] {
            try arguments.bind(names, required: required, of: "the filter '\(rawValue)'", r)
        }
        switch self {
        case .first:
            if case .list(let list) = value { return list.takeFirst() ?? .undefined(.element) }
            return try r.elements(value).first ?? .undefined(.element)
        case .last:
            if case .list(let list) = value, list.kind == .generator { throw r.error("there is no last element here") }
            return try r.elements(value).last ?? .undefined(.element)
        case .list: return try r.list(r.elements(value))
        case .items:
            switch value {
            case .dict(let dict): return try r.list(dict.pairs, .generator, origin: dict.origin)
            case .undefined: return try r.list([], .generator)
            default: throw r.wrongType("there are no items in", value)
            }
        case .reverse:
            if case .text(let text) = value {
                let places = PythonText.boundaries(text.bytes)
                try r.charge(4 * places.count)
                var result = TaggedText()
                for i in (0..<places.count - 1).reversed() { result.append(text, places[i]..<places[i + 1]) }
                return .text(JinjaText(result))
            }
            return try r.list(r.elements(value).reversed(), .generator)
        case .join:
            let values = try bind(["d", "attribute"])
            var elements = try r.elements(value)
            if let attribute = values[1] {
                elements = try elements.map { (element) throws(QwenSFTError) in
                    try Self.attribute(element, attribute, r)
                }
            }
            return .text(
                try Self.joined(elements, values[0].map { (v) throws(QwenSFTError) in try r.string(v) } ?? .empty, r))
        case .sum:
            let values = try bind(["attribute", "start"])
            var sum = values[1] ?? .int(0)
            for element in try r.elements(value) {
                try r.charge(1)
                sum = try JinjaArithmetic.add(sum, attributed(element, values[0], r), r)
            }
            return sum
        case .dictsort:
            guard case .dict(let dict) = value else { throw r.wrongType("'dictsort' cannot sort", value) }
            let values = try bind(["case_sensitive", "by", "reverse"])
            var place = 0
            if case .text(let by)? = values[1] { place = by.string == "value" ? 1 : 0 }
            let keys = dict.entries.map { place == 0 ? $0.key : $0.value }
            return try r.list(
                sorted(
                    dict.pairs, by: keys, ignoresCase: !(values[0]?.isTrue ?? false),
                    reverse: values[2]?.isTrue ?? false, r),
                origin: dict.origin)
        case .sort:
            let values = try bind(["reverse", "case_sensitive", "attribute"])
            let elements = try r.elements(value)
            let keys = try elements.map { (element) throws(QwenSFTError) in try attributed(element, values[2], r) }
            return try r.list(
                sorted(
                    elements, by: keys, ignoresCase: !(values[1]?.isTrue ?? false), reverse: values[0]?.isTrue ?? false,
                    r))
        case .min, .max:
            let values = try bind(["case_sensitive", "attribute"])
            let elements = try r.elements(value)
            let keys = try elements.map { (element) throws(QwenSFTError) in try attributed(element, values[1], r) }
            let order = try sorted(
                elements, by: keys, ignoresCase: !(values[0]?.isTrue ?? false), reverse: self == .max, r)
            return order.first ?? .undefined(.element)
        case .unique:
            let values = try bind(["case_sensitive", "attribute"])
            var seen: [JinjaValue] = []
            var kept: [JinjaValue] = []
            for element in try r.elements(value) {
                let key = lowered(try attributed(element, values[1], r), values[0]?.isTrue ?? false)
                try r.charge(1 + seen.count)
                if seen.contains(where: { $0.equals(key) }) { continue }
                seen.append(key)
                kept.append(element)
            }
            return try r.list(kept, .generator)
        case .map: return try r.list(mapped(value, arguments, r), .generator)
        default: return try r.list(selected(value, arguments, r), .generator)
        }
    }

    private func mapped(_ value: JinjaValue, _ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError)
        -> [JinjaValue]
    {
        guard value.isTrue else { return [] }  // none, 0: Jinja looks no further
        let elements = try r.elements(value)
        try r.charge(8 * elements.count)
        if arguments.positional.isEmpty {
            let values = try arguments.bind(["attribute", "default"], required: 1, of: "the filter 'map'", r)
            return try elements.map { (element) throws(QwenSFTError) in
                let found = try Self.attribute(element, values[0] ?? .null, r)
                return found.isUndefined ? values[1] ?? found : found
            }
        }
        guard case .text(let name) = arguments.positional[0], let filter = JinjaFilter(name: name.string) else {
            throw r.error("'map' needs the name of a filter that is supported", .unsupported)
        }
        var rest = arguments
        rest.positional.removeFirst()
        return try elements.map { (element) throws(QwenSFTError) in try filter.apply(element, rest, r) }
    }

    private func selected(_ value: JinjaValue, _ arguments: JinjaCallValues, _ r: JinjaRenderer) throws(QwenSFTError)
        -> [JinjaValue]
    {
        guard value.isTrue else { return [] }
        var rest = arguments
        var attribute: JinjaValue?
        if self == .selectattr || self == .rejectattr {
            attribute = try arguments.first(of: "the filter '\(rawValue)'", r)
            rest.positional.removeFirst()
        }
        var test: JinjaTest?
        if let name = rest.positional.first {
            guard case .text(let name) = name, let named = JinjaTest(name: name.string) else {
                throw r.error("'\(rawValue)' needs the name of a test that is supported", .unsupported)
            }
            test = named
            rest.positional.removeFirst()
        }
        let keeps = self == .select || self == .selectattr
        var kept: [JinjaValue] = []
        for element in try r.elements(value) {
            try r.charge(8)
            let tested = try attributed(element, attribute, r)
            if try test?.holds(tested, rest, r) ?? tested.isTrue == keeps { kept.append(element) }
        }
        return kept
    }

    private func attributed(_ value: JinjaValue, _ attribute: JinjaValue?, _ r: JinjaRenderer) throws(QwenSFTError)
        -> JinjaValue
    {
        guard let attribute else { return value }
        return try Self.attribute(value, attribute, r)
    }

    /// `a.b.0` of a value, or an element by its number.
    private static func attribute(_ value: JinjaValue, _ attribute: JinjaValue, _ r: JinjaRenderer) throws(QwenSFTError)
        -> JinjaValue
    {
        guard case .text(let path) = attribute else { return try value.item(attribute, r) ?? .undefined(.element) }
        var value = value
        for name in path.bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            let text = JinjaText(Array(name))
            let index: JinjaValue = Int(text.string).map { .int($0) } ?? .text(text)
            value = try value.item(index, r) ?? .undefined(JinjaUndefined(name: text.string))
        }
        return value
    }

    private func lowered(_ value: JinjaValue, _ isCaseSensitive: Bool) -> JinjaValue {
        guard case .text(let text) = value, !isCaseSensitive else { return value }
        return .text(text.string.lowercased())
    }

    /// Sorts by keys that are all numbers or all texts; equal ones stay in their order.
    private func sorted(
        _ elements: [JinjaValue], by keys: [JinjaValue], ignoresCase: Bool, reverse: Bool, _ r: JinjaRenderer
    ) throws(QwenSFTError) -> [JinjaValue] {
        try r.charge(16 * elements.count)
        let order: [Int]
        if elements.count < 2 { return elements }
        let numbers = keys.compactMap(\.number)
        if numbers.count == keys.count {
            order = keys.indices.sorted { a, b in
                numbers[a] != numbers[b] ? (numbers[a] < numbers[b]) != reverse : a < b
            }
        } else {
            var texts: [[UInt8]] = []
            for key in keys {
                guard case .text(let text) = lowered(key, !ignoresCase) else {
                    throw r.wrongType("'\(rawValue)' cannot order texts or numbers with", key)
                }
                try r.charge(bytes: text.bytes.count)
                texts.append(text.bytes)
            }
            order = texts.indices.sorted { a, b in
                if texts[a] == texts[b] { return a < b }
                return texts[a].lexicographicallyPrecedes(texts[b]) != reverse
            }
        }
        return order.map { elements[$0] }
    }
}
