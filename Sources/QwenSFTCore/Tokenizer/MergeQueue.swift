/// The pairs of a long word that wait to be merged: the lowest rank first, of equal ranks the leftmost place.
///
/// One list of places per rank, and a small heap of the ranks that have one. A merge brings forth pairs of higher ranks only
/// (in any sensible vocabulary), and a rank's merges are done from left to right, so places are usually added in
/// ascending order and each costs a step or two; a heap of all pairs would cost log n far reaches into memory.
struct MergeQueue {
    private struct List {
        var places: [UInt32] = []
        var taken = 0
        var isSorted = true
    }

    private var lists: [List] = []
    private var unused: [Int32] = []
    /// By rank: its list, −1 where there is none.
    private let listOfRank: FlatArray<Int32>
    /// The ranks that have a list; a binary heap.
    private var ranks: [UInt32] = []

    init(rankCount: Int) throws(QwenSFTError) {
        listOfRank = try FlatArray(repeating: -1, count: rankCount)
    }

    mutating func push(rank: UInt32, place: Int) {
        let place = UInt32(truncatingIfNeeded: place)
        var list = Int(listOfRank.base[Int(rank)])
        if list < 0 {
            list = newList()
            listOfRank.base[Int(rank)] = Int32(truncatingIfNeeded: list)
            addToHeap(rank)
        }
        if let last = lists[list].places.last, place < last { lists[list].isSorted = false }
        lists[list].places.append(place)
    }

    mutating func popLowest() -> (rank: UInt32, place: Int)? {
        while let rank = ranks.first {
            let list = Int(listOfRank.base[Int(rank)])
            if lists[list].taken == lists[list].places.count {
                removeLowestFromHeap()
                listOfRank.base[Int(rank)] = -1
                lists[list].places.removeAll(keepingCapacity: lists[list].places.count <= Self.keptPlaces)
                lists[list].taken = 0
                lists[list].isSorted = true
                unused.append(Int32(truncatingIfNeeded: list))
                continue
            }
            if !lists[list].isSorted {
                lists[list].places[lists[list].taken...].sort()
                lists[list].isSorted = true
            }
            lists[list].taken += 1
            return (rank, Int(lists[list].places[lists[list].taken - 1]))
        }
        return nil
    }

    /// Memory of a list that is kept for the next one.
    private static let keptPlaces = 1 << 10

    private mutating func newList() -> Int {
        if let list = unused.popLast() { return Int(list) }
        lists.append(List())
        return lists.count - 1
    }

    private mutating func addToHeap(_ rank: UInt32) {
        ranks.append(rank)
        var i = ranks.count - 1
        while i > 0, ranks[(i - 1) / 2] > ranks[i] {
            ranks.swapAt(i, (i - 1) / 2)
            i = (i - 1) / 2
        }
    }

    private mutating func removeLowestFromHeap() {
        ranks.swapAt(0, ranks.count - 1)
        ranks.removeLast()
        var i = 0
        while true {
            var lowest = i
            for child in (2 * i + 1)...(2 * i + 2) where child < ranks.count && ranks[child] < ranks[lowest] {
                lowest = child
            }
            if lowest == i { return }
            ranks.swapAt(i, lowest)
            i = lowest
        }
    }
}
