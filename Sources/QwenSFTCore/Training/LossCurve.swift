/// The losses of a run, and their picture.
public struct LossCurve: Sendable, Equatable {
    public struct Point: Sendable, Equatable {
        /// Steps taken, from 1.
        public var step: Int
        public var loss: Double

        public init(step: Int, loss: Double) {
            self.step = step
            self.loss = loss
        }
    }

    /// Each step's loss, before its update.
    public var training: [Point]
    /// Losses on data that is not trained on.
    public var evaluation: [Point]

    public init(training: [Point] = [], evaluation: [Point] = []) {
        self.training = training
        self.evaluation = evaluation
    }

    /// An SVG document of `width` by `height` pixels: the training losses, a smoothed line through them where there are
    /// many, and the evaluations. Losses that are not finite are left out.
    public func svg(title: String = "Loss", width: Int = 720, height: Int = 400) -> String {
        LossCurvePlot(self, title: title, width: max(width, 200), height: max(height, 120)).document
    }
}

/// Lays a curve out and writes it down.
private struct LossCurvePlot {
    private let training: [LossCurve.Point]
    private let evaluation: [LossCurve.Point]
    private let title: String
    private let width: Double
    private let height: Double
    private let left = 56.0
    private let right = 16.0
    private let top = 40.0
    private let bottom = 44.0
    private let steps: ClosedRange<Double>
    private let lossTicks: Ticks

    init(_ curve: LossCurve, title: String, width: Int, height: Int) {
        training = curve.training.filter { $0.loss.isFinite }
        evaluation = curve.evaluation.filter { $0.loss.isFinite }
        self.title = title
        self.width = Double(min(width, 10_000))
        self.height = Double(min(height, 10_000))
        let points = training + evaluation
        let first = Double(points.map(\.step).min() ?? 0)
        let last = Double(points.map(\.step).max() ?? 1)
        steps = first...(last > first ? last : first + 1)
        lossTicks = Ticks(0...max(points.map(\.loss).max() ?? 1, 1e-9), atMost: 6)
    }

    private func x(_ step: Double) -> Double {
        left + (step - steps.lowerBound) / (steps.upperBound - steps.lowerBound) * (width - left - right)
    }

    private func y(_ loss: Double) -> Double { height - bottom - loss / lossTicks.end * (height - top - bottom) }

    var document: String {
        var lines = [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(Int(width))\" height=\"\(Int(height))\" "
                + "viewBox=\"0 0 \(Int(width)) \(Int(height))\" font-family=\"sans-serif\" font-size=\"12\">",
            "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>",
            "<text x=\"\(number(left))\" y=\"22\" font-size=\"15\" fill=\"#222\">\(escaped(title))</text>",
        ]
        for tick in lossTicks.values {
            lines.append(line(left, y(tick), width - right, y(tick), "#e4e4e4"))
            lines.append(label(lossTicks.text(tick), left - 8, y(tick) + 4, "end"))
        }
        let stepTicks = Ticks(steps, atMost: 8, whole: true)
        for tick in stepTicks.values where steps.contains(tick) {
            lines.append(line(x(tick), height - bottom, x(tick), height - bottom + 5, "#888"))
            lines.append(label(stepTicks.text(tick), x(tick), height - bottom + 18, "middle"))
        }
        lines.append(line(left, height - bottom, width - right, height - bottom, "#888"))
        lines.append(label("step", (left + width - right) / 2, height - 8, "middle"))
        let smooths = training.count >= 40
        lines.append(path(training, "#2f6fb5", smooths ? 1 : 2, opacity: smooths ? 0.35 : 1))
        if smooths { lines.append(path(smoothed, "#2f6fb5", 2, opacity: 1)) }
        if training.count == 1 { lines += training.map { dot($0, "#2f6fb5") } }
        if !evaluation.isEmpty {
            lines.append(path(evaluation, "#c2571a", 2, opacity: 1))
            lines += evaluation.map { dot($0, "#c2571a") }
            lines.append(label("training", width - right - 76, 22, "end", "#2f6fb5"))
            lines.append(label("evaluation", width - right, 22, "end", "#c2571a"))
        }
        return (lines.filter { !$0.isEmpty } + ["</svg>", ""]).joined(separator: "\n")
    }

    /// An exponential mean over about a fortieth of the run, without its bias towards the beginning.
    private var smoothed: [LossCurve.Point] {
        let keep = 1 - 1 / max(2, Double(training.count) / 40)
        var (sum, weight) = (0.0, 0.0)
        return training.map { point in
            sum = keep * sum + (1 - keep) * point.loss
            weight = keep * weight + (1 - keep)
            return .init(step: point.step, loss: sum / weight)
        }
    }

    private func path(_ points: [LossCurve.Point], _ colour: String, _ stroke: Int, opacity: Double) -> String {
        guard points.count > 1 else { return "" }
        let places = points.map { "\(number(x(Double($0.step)))),\(number(y($0.loss)))" }.joined(separator: " ")
        return
            "<polyline fill=\"none\" stroke=\"\(colour)\" stroke-width=\"\(stroke)\" stroke-opacity=\"\(number(opacity))\" "
            + "stroke-linejoin=\"round\" points=\"\(places)\"/>"
    }

    private func dot(_ point: LossCurve.Point, _ colour: String) -> String {
        "<circle cx=\"\(number(x(Double(point.step))))\" cy=\"\(number(y(point.loss)))\" r=\"3\" fill=\"\(colour)\"/>"
    }

    private func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ colour: String) -> String {
        "<line x1=\"\(number(x1))\" y1=\"\(number(y1))\" x2=\"\(number(x2))\" y2=\"\(number(y2))\" stroke=\"\(colour)\"/>"
    }

    private func label(_ text: String, _ x: Double, _ y: Double, _ anchor: String, _ colour: String = "#555") -> String
    {
        "<text x=\"\(number(x))\" y=\"\(number(y))\" text-anchor=\"\(anchor)\" fill=\"\(colour)\">\(text)</text>"
    }

    private func number(_ value: Double) -> String { decimal(value, digits: 2) }

    private func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "<": result += "&lt;"
            case "&": result += "&amp;"
            case _ where scalar.value < 0x20: result += " "
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

/// Round numbers that cover a range: 1, 2 or 5 times a power of ten apart.
private struct Ticks {
    let values: [Double]
    private let digits: Int
    /// The last of them, at or above the range's end.
    var end: Double { values.last ?? 1 }

    init(_ range: ClosedRange<Double>, atMost count: Int, whole: Bool = false) {
        let rough = (range.upperBound - range.lowerBound) / Double(count)
        var step = 1.0
        var digits = 0
        while !whole, step > rough, digits < 12 {
            step /= 10
            digits += 1
        }
        while step * 10 <= rough { step *= 10 }
        if step < rough { step *= [2, 5, 10].first { step * $0 >= rough } ?? 10 }
        if step >= 1 { digits = 0 }
        self.digits = digits
        let first = (range.lowerBound / step).rounded(.up)
        let last = (range.upperBound / step).rounded(.up)
        values = stride(from: first, through: last, by: 1).map { $0 * step }
    }

    func text(_ value: Double) -> String { decimal(value, digits: digits) }
}

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
