import Libc

/// A token that is matched as a whole in the text, before anything else is done with it.
public struct AddedToken: Sendable, Equatable {
    public let id: Int32
    public let content: String
    /// A control token: left out where special tokens are skipped in decoding.
    public let isSpecial: Bool
    /// Looked for after normalization instead of before.
    public let isNormalized: Bool

    public init(id: Int32, content: String, isSpecial: Bool, isNormalized: Bool = false) {
        self.id = id
        self.content = content
        self.isSpecial = isSpecial
        self.isNormalized = isNormalized
    }

    public static func == (a: AddedToken, b: AddedToken) -> Bool {
        a.id == b.id && a.isSpecial == b.isSpecial && a.isNormalized == b.isNormalized
            && a.content.utf8.elementsEqual(b.content.utf8)
    }
}

/// Finds added tokens in text: the leftmost, of those that begin there the longest.
struct AddedTokenMatcher: Sendable {
    private struct Candidate {
        let bytes: [UInt8]
        let id: Int32
    }

    /// By first byte, longest first.
    private let candidates: [[Candidate]]
    /// The byte that all begin with, if they do (`<`, usually).
    private let onlyFirstByte: UInt8?
    let isEmpty: Bool

    init(_ tokens: [(bytes: [UInt8], id: Int32)]) {
        var byFirst = [[Candidate]](repeating: [], count: 256)
        for token in tokens {
            if let first = token.bytes.first { byFirst[Int(first)].append(Candidate(bytes: token.bytes, id: token.id)) }
        }
        for i in byFirst.indices { byFirst[i].sort { $0.bytes.count > $1.bytes.count } }
        candidates = byFirst
        let firsts = byFirst.indices.filter { !byFirst[$0].isEmpty }
        onlyFirstByte = firsts.count == 1 ? UInt8(firsts[0]) : nil
        isEmpty = firsts.isEmpty
    }

    /// The next match at or after `start`.
    func first(in text: UnsafeBufferPointer<UInt8>, from start: Int) -> (range: Range<Int>, id: Int32)? {
        guard !isEmpty, let base = text.baseAddress else { return nil }
        var p = start
        while p < text.count {
            if let onlyFirstByte {
                guard let found = memchr(base + p, Int32(onlyFirstByte), text.count - p) else { return nil }
                p = UnsafeRawPointer(found) - UnsafeRawPointer(base)
            }
            for candidate in candidates[Int(base[p])] where text.count - p >= candidate.bytes.count {
                if memcmp(base + p, candidate.bytes, candidate.bytes.count) == 0 {
                    return (p..<p + candidate.bytes.count, candidate.id)
                }
            }
            p += 1
        }
        return nil
    }
}
