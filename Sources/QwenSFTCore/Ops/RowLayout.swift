/// The rows a computation works on: every distinct token of its sequences once, laid end to end.
///
/// Sequences that begin alike share the rows of their common beginning: hidden states depend on what stands before and on
/// nothing else, so they are computed once, forward and backward, for all of them. The rows form a forest of *segments*;
/// a segment follows its parent, and a row attends to its segment up to itself and to all of the segments above.
package struct RowLayout {
    package struct Segment {
        package let rows: Range<Int>
        /// Index of the segment this one continues; nil at the beginning of a sequence.
        package let parent: Int?
        /// Position of the first row in its sequences.
        package let start: Int
    }

    /// Token id and position of every row.
    package private(set) var ids: [Int32] = []
    package private(set) var positions: [Int32] = []
    package private(set) var segments: [Segment] = []
    /// rowOf[sequence][position]: where a sequence's token stands.
    package private(set) var rowOf: [[Int32]]

    /// Beginnings shorter than this are not worth a segment of their own.
    package static let shortestShared = 8

    /// - Parameter sharing: whether equal beginnings are joined; without it every sequence stands alone.
    package init(_ sequences: [[Int32]], sharing: Bool) {
        rowOf = sequences.map { [Int32](repeating: 0, count: $0.count) }
        guard sharing else {
            for index in sequences.indices where !sequences[index].isEmpty {
                add([index], sequences, from: 0, to: sequences[index].count, parent: nil)
            }
            return
        }
        // Sorted, sequences with a common beginning are neighbors, and what the first and the last of a group have in
        // common all of them have.
        struct Group {
            let members: ArraySlice<Int>
            let start: Int
            let parent: Int?
        }
        let order = sequences.indices.filter { !sequences[$0].isEmpty }
            .sorted { sequences[$0].lexicographicallyPrecedes(sequences[$1]) }
        var pending = order.isEmpty ? [] : [Group(members: order[...], start: 0, parent: nil)]
        while let group = pending.popLast() {
            guard let first = group.members.first, let last = group.members.last else { continue }
            let (a, b) = (sequences[first], sequences[last])
            var end = group.start
            while end < a.count, end < b.count, a[end] == b[end] { end += 1 }
            var parent = group.parent
            var start = group.start
            if group.members.count == 1 || end - start >= Self.shortestShared || (end > start && group.parent != nil) {
                parent = add(group.members, sequences, from: start, to: end, parent: parent)
                start = end
            }
            // Members that go on, grouped by the token that parts them.
            var children: [Group] = []
            var rest = group.members.drop { sequences[$0].count <= start }
            while let head = rest.first {
                let same =
                    end < sequences[head].count
                    ? rest.prefix { end < sequences[$0].count && sequences[$0][end] == sequences[head][end] }
                    : rest.prefix(1)
                children.append(Group(members: same, start: start, parent: parent))
                rest = rest.dropFirst(same.count)
            }
            pending.append(contentsOf: children.reversed())
        }
    }

    @discardableResult
    private mutating func add(
        _ members: ArraySlice<Int>, _ sequences: [[Int32]], from start: Int, to end: Int, parent: Int?
    ) -> Int? {
        guard end > start, let first = members.first else { return parent }
        let base = ids.count
        for position in start..<end {
            for member in members { rowOf[member][position] = Int32(ids.count) }
            ids.append(sequences[first][position])
            positions.append(Int32(position))
        }
        segments.append(Segment(rows: base..<ids.count, parent: parent, start: start))
        return segments.count - 1
    }

    package var count: Int { ids.count }

    /// What attends to what, for rows that are queries and keys at once.
    package var attentionPlan: AttentionPlan {
        var keys: [[Range<Int>]] = []
        for segment in segments {
            keys.append((segment.parent.map { keys[$0] } ?? []) + [segment.rows])
        }
        return AttentionPlan(
            zip(segments, keys).map { AttentionPlan.Segment(queries: $0.rows, keys: $1, ahead: 0) })
    }
}
