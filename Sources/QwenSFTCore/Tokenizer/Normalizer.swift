import CText

/// Unicode Normalization Form C (UAX #15), from tables of Unicode 15.0.0.
///
/// Nearly all text is in this form already, and is left where it lies. The tables mark the *unsettled* characters: those that
/// the form changes and those that may change what stands before them. Where one does (or might; this is a quick check), the
/// stretch around it is worked on, from the settled character before it to the next one.
package enum Normalizer {
    /// Where normalizing must begin: at the last settled character before the first unsettled one that may change anything.
    /// nil: the text is in Normalization Form C.
    package static func firstUnsettled(_ text: UnsafeBufferPointer<UInt8>) -> Int? {
        guard let base = text.baseAddress else { return nil }
        var p = 0
        var settled = 0
        var check = QuickCheck()
        while p < text.count {
            let more = qk_settled_prefix(base + p, text.count - p)
            if more > 0 {
                p += more
                settled = p - 1
                while isContinuation(base[settled]) { settled -= 1 }
                check = QuickCheck(after: DecodedScalar(at: base + settled).value)
            }
            // Characters whose first byte does not settle it, as long as they come.
            while p < text.count, base[p] >= 0x80 {
                let scalar = DecodedScalar(at: base + p)
                if qk_unicode_flags(scalar.value) & UInt8(QK_UNICODE_UNSETTLED) == 0 {
                    settled = p
                    check = QuickCheck(after: scalar.value)
                } else if !check.leavesAlone(scalar.value) {
                    return settled
                }
                p += scalar.length
            }
        }
        return nil
    }

    /// Whether an unsettled character leaves alone what stands before it, and is left alone: combining marks do in proper order, and
    /// those that might join the character before them if they do not join this one.
    private struct QuickCheck {
        /// The last character that is no mark.
        private var starter: UInt32?
        private var lastClass: UInt8 = 0

        init(after starter: UInt32? = nil) { self.starter = starter }

        mutating func leavesAlone(_ scalar: UInt32) -> Bool {
            let record = qk_unicode_record_of(scalar)
            // What has a decomposition and is unsettled does not stay; Hangul is not worth a closer look.
            if record.length > 0 || Hangul.isTail(scalar) { return false }
            if record.combining_class == 0 {
                // Marks between keep it apart.
                if lastClass == 0, !staysApart(scalar) { return false }
                self = QuickCheck(after: scalar)
                return true
            }
            guard record.combining_class >= lastClass, staysApart(scalar) else { return false }
            lastClass = record.combining_class
            return true
        }

        /// The starter is in one piece and does not combine with it; nor did the marks between, which were left alone.
        private func staysApart(_ scalar: UInt32) -> Bool {
            guard let starter else { return false }
            return !Hangul.syllables.contains(starter) && qk_unicode_record_of(starter).length == 0
                && qk_unicode_compose(starter, scalar) == 0
        }
    }

    /// Appends the normalized text.
    /// - Throws: `outOfMemory`.
    package static func append(
        _ text: UnsafeBufferPointer<UInt8>, to output: inout [UInt8]
    ) throws(QwenSFTError) {
        var stretch: [Part] = []
        var rest = text
        while let start = firstUnsettled(rest), let base = rest.baseAddress {
            try output.makeRoom(for: start, purpose: purpose)
            output.append(contentsOf: UnsafeBufferPointer(rebasing: rest[..<start]))
            // The stretch: one settled character (none at the very beginning), then the unsettled ones.
            var p = start
            stretch.removeAll(keepingCapacity: true)
            repeat {
                let scalar = DecodedScalar(at: base + p)
                if p > start, qk_unicode_flags(scalar.value) & UInt8(QK_UNICODE_UNSETTLED) == 0 { break }
                // One character becomes four at most. Sorting a long stretch takes as much again.
                if stretch.count + 4 > stretch.capacity {
                    try Memory.require(4 * stretch.count, of: Part.self, for: purpose)
                }
                decompose(scalar.value, into: &stretch)
                p += scalar.length
            } while p < rest.count
            order(&stretch)
            compose(&stretch)
            try output.makeRoom(for: 4 * stretch.count, purpose: purpose)
            for part in stretch { appendUTF8(part.scalar, to: &output) }
            rest = UnsafeBufferPointer(rebasing: rest[p...])
        }
        try output.makeRoom(for: rest.count, purpose: purpose)
        output.append(contentsOf: rest)
    }

    private static let purpose = "normalized text"

    /// A code point with its canonical combining class (0: a starter).
    private struct Part {
        var scalar: UInt32
        var combiningClass: UInt8
    }

    private static func decompose(_ scalar: UInt32, into parts: inout [Part]) {
        if Hangul.syllables.contains(scalar) {
            let index = scalar - Hangul.firstSyllable
            parts.append(Part(scalar: Hangul.firstLead + index / Hangul.syllablesPerLead, combiningClass: 0))
            parts.append(
                Part(scalar: Hangul.firstVowel + index % Hangul.syllablesPerLead / Hangul.finals, combiningClass: 0))
            let final = index % Hangul.finals
            if final > 0 { parts.append(Part(scalar: Hangul.beforeFinals + final, combiningClass: 0)) }
            return
        }
        let record = qk_unicode_record_of(scalar)
        if record.length == 0 {
            parts.append(Part(scalar: scalar, combiningClass: record.combining_class))
            return
        }
        for i in 0..<Int32(record.length) {
            let part = qk_unicode_decomposed(record, i)
            parts.append(Part(scalar: part, combiningClass: qk_unicode_record_of(part).combining_class))
        }
    }

    /// Canonical ordering: each run of non-starters sorted by class, equal classes in their old order.
    private static func order(_ parts: inout [Part]) {
        var i = 0
        while i < parts.count {
            if parts[i].combiningClass == 0 {
                i += 1
                continue
            }
            let start = i
            var sorted = true
            while i < parts.count, parts[i].combiningClass != 0 {
                if i > start, parts[i].combiningClass < parts[i - 1].combiningClass { sorted = false }
                i += 1
            }
            if sorted { continue }
            // By counting, so that a long run costs no more than its length.
            var places = [Int](repeating: 0, count: 257)
            for part in parts[start..<i] { places[Int(part.combiningClass) + 1] += 1 }
            for c in 1...256 { places[c] += places[c - 1] }
            var run = Array(parts[start..<i])
            for part in parts[start..<i] {
                run[places[Int(part.combiningClass)]] = part
                places[Int(part.combiningClass)] += 1
            }
            parts.replaceSubrange(start..<i, with: run)
        }
    }

    /// Canonical composition: each part joins the last starter before it, unless a part that stays between them blocks it.
    private static func compose(_ parts: inout [Part]) {
        var kept = 0
        var starter: Int?
        for part in parts {
            if let starter {
                let last = parts[kept - 1]
                let blocked = kept - 1 > starter && last.combiningClass >= part.combiningClass
                if !blocked, let composed = composite(parts[starter].scalar, part.scalar) {
                    parts[starter].scalar = composed
                    continue
                }
            }
            parts[kept] = part
            if part.combiningClass == 0 { starter = kept }
            kept += 1
        }
        parts.removeSubrange(kept...)
    }

    private static func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if Hangul.leads.contains(first), Hangul.vowels.contains(second) {
            let syllable =
                (first - Hangul.firstLead) * Hangul.syllablesPerLead + (second - Hangul.firstVowel) * Hangul.finals
            return Hangul.firstSyllable + syllable
        }
        if Hangul.syllables.contains(first), (first - Hangul.firstSyllable) % Hangul.finals == 0,
            second > Hangul.beforeFinals, second < Hangul.beforeFinals + Hangul.finals
        {
            return first + (second - Hangul.beforeFinals)
        }
        let composed = qk_unicode_compose(first, second)
        return composed == 0 ? nil : composed
    }

    /// Hangul syllables are composed by arithmetic (The Unicode Standard, section 3.12).
    private enum Hangul {
        static let firstSyllable: UInt32 = 0xAC00
        static let firstLead: UInt32 = 0x1100
        static let firstVowel: UInt32 = 0x1161
        static let beforeFinals: UInt32 = 0x11A7
        static let finals: UInt32 = 28  // with "none"
        static let syllablesPerLead: UInt32 = 21 * 28
        static let leads: Range<UInt32> = 0x1100..<0x1113
        static let vowels: Range<UInt32> = 0x1161..<0x1176
        static let syllables: Range<UInt32> = 0xAC00..<0xD7A4

        /// A vowel or a final, which joins what stands before it.
        static func isTail(_ scalar: UInt32) -> Bool { 0x1160..<0x1200 ~= scalar }
    }
}
