/// What the head is to predict: rows whose next token is supervised, and the tokens and weights asked of each. A row that
/// several sequences share may have several.
struct Targets {
    struct Target {
        let token: Int32
        let weight: Float
        /// Where the caller's (sequence, position) is, for losses by token.
        let source: Int
    }
    /// Row indices, ascending.
    private(set) var rows: [Int32] = []
    /// Row `i` has the targets `starts[i]..<starts[i + 1]`.
    private(set) var starts: [Int] = [0]
    private(set) var targets: [Target] = []

    init(_ unordered: [(row: Int32, target: Target)]) {
        for (row, target) in unordered.sorted(by: { ($0.row, $0.target.source) < ($1.row, $1.target.source) }) {
            if rows.last != row {
                rows.append(row)
                starts.append(targets.count)
            }
            targets.append(target)
            starts[starts.count - 1] = targets.count
        }
    }

    func of(_ index: Int) -> ArraySlice<Target> { targets[starts[index]..<starts[index + 1]] }
}
