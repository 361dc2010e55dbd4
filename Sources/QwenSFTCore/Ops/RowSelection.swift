/// Some rows out of many, and back to their places. `chosen` ascends.
extension Compute {
    /// y (chosen, width) = those rows of x.
    func gather(_ y: MutableMatrix<Float>, _ chosen: [Int32], of x: Matrix<Float>) {
        rows(chosen.count) {
            for i in $0 { y.at(i).update(from: x.at(Int(chosen[i])), count: x.columns) }
        }
    }

    /// y = x (chosen, width) at the chosen rows, 0 elsewhere.
    func scatter(_ y: MutableMatrix<Float>, _ chosen: [Int32], from x: Matrix<Float>) {
        clear(y)
        rows(chosen.count) {
            for i in $0 { y.at(Int(chosen[i])).update(from: x.at(i), count: x.columns) }
        }
    }
}
