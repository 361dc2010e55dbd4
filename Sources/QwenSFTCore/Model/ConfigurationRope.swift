import Libc

extension Configuration {
    /// How positions are rotated.
    struct Rope {
        let theta: Double
        let yarn: YaRN?
    }

    /// The base and YaRN's numbers, from either spelling.
    /// - Parameter context: `max_position_embeddings`.
    static func readRope(_ fields: JSONFields, context: Int) throws(QwenSFTError) -> Rope {
        var theta = try fields.positiveNumber("rope_theta")
        var scalings: [YaRN?] = []
        for key in ["rope_scaling", "rope_parameters"] {
            guard let rope = try fields.object(key) else { continue }
            var isYarn = false
            // "type" is the older name; transformers looks at it where the other is absent.
            for typeKey in ["rope_type", "type"] {
                guard let type = try rope.string(typeKey) else { continue }
                switch type {
                case "default": break
                case "yarn": isYarn = true
                default:
                    throw rope.unsupported(
                        typeKey, "is '\(printable(type))'; this version computes 'default' and 'yarn' only")
                }
                break
            }
            if let factor = try rope.number("partial_rotary_factor"), factor != 1 {
                throw rope.unsupported("partial_rotary_factor", "is \(factor); this version rotates whole heads")
            }
            if let inner = try rope.positiveNumber("rope_theta") {
                if let theta, theta != inner {
                    throw rope.wrong("rope_theta", "is \(inner), but 'rope_theta' is \(theta)")
                }
                theta = inner
            }
            scalings.append(isYarn ? try readYarn(rope, fields, context: context) : nil)
        }
        guard scalings.count < 2 || scalings[0] == scalings[1] else {
            throw fields.wrong("rope_parameters", "says something else than 'rope_scaling'")
        }
        let yarn = scalings.first ?? nil
        let base = theta ?? 10_000
        if yarn != nil, base <= 1 { throw fields.wrong("rope_theta", "is \(base); YaRN needs more than 1") }
        return Rope(theta: base, yarn: yarn)
    }

    private static func readYarn(
        _ rope: JSONFields, _ fields: JSONFields, context: Int
    ) throws(QwenSFTError) -> YaRN {
        let key = "original_max_position_embeddings"
        let inner = try rope.optionalSize(key)
        let original = try fields.optionalSize(key) ?? inner ?? context
        let factor = try rope.positiveNumber("factor") ?? Double(context) / Double(original)
        guard factor >= 1, factor <= 1e6 else { throw rope.wrong("factor", "is \(factor); it must be from 1 to 1e6") }
        var attention = try rope.number("attention_factor")
        if let attention, !(attention > 0 && attention <= 1e6) {
            throw rope.wrong("attention_factor", "is \(attention); it must be positive, and at most 1e6")
        }
        if attention == nil {
            // 0 counts as absent in these, as it does in Python.
            func scale(_ m: Double) -> Double { factor <= 1 ? 1 : 0.1 * m * log(factor) + 1 }
            let (m, all) = (try rope.number("mscale") ?? 0, try rope.number("mscale_all_dim") ?? 0)
            attention = m != 0 && all != 0 ? scale(m) / scale(all) : scale(1)
        }
        func turns(_ key: String, _ usual: Double) throws(QwenSFTError) -> Double {
            let value = try rope.number(key) ?? 0
            guard value >= 0 else { throw rope.wrong(key, "must not be negative") }
            return value == 0 ? usual : value
        }
        let (fast, slow) = (try turns("beta_fast", 32), try turns("beta_slow", 1))
        guard fast >= slow else {
            throw rope.wrong("beta_fast", "is \(fast), less than 'beta_slow' (\(slow))")
        }
        guard let attention, attention.isFinite, attention > 0 else {
            throw rope.wrong("mscale", "and 'mscale_all_dim' give no positive factor")
        }
        return YaRN(
            factor: factor, originalContext: original, attentionFactor: attention, betaFast: fast, betaSlow: slow,
            truncates: try rope.bool("truncate") ?? true)
    }
}
