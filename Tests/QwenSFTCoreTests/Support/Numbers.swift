import Glibc
import QwenSFTCore
import Testing

/// A test's random numbers: the same in every run.
struct Noise {
    private var source: RandomSource

    init(_ seed: Int) { source = RandomSource(seed: UInt64(seed)) }

    mutating func below(_ bound: Int) -> Int { source.below(bound) }

    /// Uniform in −1 ..< 1.
    mutating func next() -> Float { Float(source.uniform() * 2 - 1) }

    mutating func floats(_ count: Int, scale: Float = 1, around center: Float = 0) -> [Float] {
        (0..<count).map { _ in center + scale * next() }
    }
}

extension [Float] {
    var doubles: [Double] { map(Double.init) }
    var bits: [UInt32] { map(\.bitPattern) }
}

/// Largest difference, relative to the largest expected value (or `scale`); infinite if a number is none.
func worst(_ actual: [Float], _ expected: [Double], scale: Double? = nil) -> Double {
    guard actual.count == expected.count else { return .infinity }
    let scale = scale ?? expected.reduce(0) { max($0, abs($1)) }
    let difference = zip(actual, expected).reduce(0.0) {
        let difference = abs(Double($1.0) - $1.1)
        return difference.isNaN ? .infinity : max($0, difference)
    }
    return difference / max(scale, .leastNormalMagnitude)
}

/// Compares a gradient with central differences of `loss` at `x`, at the first, the last and some elements between.
/// - Parameter tolerance: of the largest value that either has.
func expectGradient(
    _ gradient: [Float], at x: [Double], samples: Int = 40, tolerance: Double = 1e-5, _ what: String = "",
    sourceLocation: SourceLocation = #_sourceLocation, of loss: ([Double]) -> Double
) {
    #expect(gradient.count == x.count, sourceLocation: sourceLocation)
    var noise = Noise(x.count)
    let places =
        x.count <= samples ? Array(x.indices) : [0, x.count - 1] + (2..<samples).map { _ in noise.below(x.count) }
    let step = 1e-5
    let numeric = places.map { place in
        var moved = x
        moved[place] = x[place] + step
        let up = loss(moved)
        moved[place] = x[place] - step
        return (up - loss(moved)) / (2 * step)
    }
    let analytic = places.map { gradient[$0] }
    let scale = max(gradient.reduce(0) { max($0, Double(abs($1))) }, numeric.reduce(0) { max($0, abs($1)) })
    #expect(worst(analytic, numeric, scale: max(scale, 1e-6)) < tolerance, "\(what)", sourceLocation: sourceLocation)
}

/// Σ a·b.
func dot(_ a: [Double], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * Double($1.1) } }
