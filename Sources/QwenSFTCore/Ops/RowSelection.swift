/// Some rows out of many, and back to their places. `chosen` ascends; rows are `width` wide and dense.
extension Compute {
    /// y (chosen, width) = those rows of x.
    func gather(
        _ y: UnsafeMutablePointer<Float>, _ chosen: [Int32], of x: UnsafePointer<Float>, width: Int
    ) {
        rows(chosen.count) {
            for i in $0 { (y + i * width).update(from: x + Int(chosen[i]) * width, count: width) }
        }
    }

    /// y (count, width) = x (chosen, width) at the chosen rows, 0 elsewhere.
    func scatter(
        _ y: UnsafeMutablePointer<Float>, rows count: Int, _ chosen: [Int32], from x: UnsafePointer<Float>, width: Int
    ) {
        rows(count) { (y + $0.lowerBound * width).update(repeating: 0, count: $0.count * width) }
        rows(chosen.count) {
            for i in $0 { (y + Int(chosen[i]) * width).update(from: x + i * width, count: width) }
        }
    }
}
