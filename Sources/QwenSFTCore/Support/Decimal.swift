/// A number with exactly so many digits after the point.
func decimal(_ value: Double, digits: Int) -> String {
    let scale = (0..<digits).reduce(1.0) { result, _ in result * 10 }
    guard let scaled = Int64(exactly: (abs(value) * scale).rounded()) else { return "\(value)" }
    let sign = value < 0 && scaled != 0 ? "-" : ""
    guard digits > 0 else { return "\(sign)\(scaled)" }
    let text = String(scaled)
    let padded = String(repeating: "0", count: max(0, digits + 1 - text.utf8.count)) + text
    return sign + padded.dropLast(digits) + "." + padded.suffix(digits)
}
