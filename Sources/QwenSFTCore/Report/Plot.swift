/// Lines over a number of steps, as SVG. What is not finite is left out.
struct Plot {
    typealias Point = (step: Int, value: Double)

    struct Series {
        var name: String
        var points: [Point]
        var color: String
        /// Where there are many points, a smoothed line goes through them.
        var isSmoothed = false
        var hasDots = false
    }

    /// What is drawn in which color. A page that knows light and dark has names of its own for them.
    struct Colors {
        var ground: String? = "#fff"
        var title = "#222"
        var text = "#555"
        var axis = "#888"
        var grid = "#e4e4e4"
        var first = "#2f6fb5"
        var second = "#c2571a"
    }

    private let series: [Series]
    private let title: String
    private let colors: Colors
    private let width: Double
    private let height: Double
    private let left = 56.0
    private let right = 16.0
    private let top = 40.0
    private let bottom = 44.0
    private let steps: ClosedRange<Double>
    private let ticks: Ticks

    init(_ series: [Series], title: String, width: Int = 720, height: Int = 400, colors: Colors = .init()) {
        self.series = series.map { series in
            var series = series
            series.points.removeAll { !$0.value.isFinite }
            return series
        }
        self.title = title
        self.colors = colors
        self.width = Double(min(max(width, 200), 10_000))
        self.height = Double(min(max(height, 120), 10_000))
        let points = self.series.flatMap(\.points)
        let first = Double(points.map(\.step).min() ?? 0)
        let last = Double(points.map(\.step).max() ?? 1)
        steps = first...(last > first ? last : first + 1)
        ticks = Ticks(0...max(points.map(\.value).max() ?? 1, 1e-9), atMost: 6)
    }

    private func x(_ step: Double) -> Double {
        left + (step - steps.lowerBound) / (steps.upperBound - steps.lowerBound) * (width - left - right)
    }

    private func y(_ value: Double) -> Double { height - bottom - value / ticks.end * (height - top - bottom) }

    var svg: String {
        var lines = [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(Int(width))\" height=\"\(Int(height))\" "
                + "viewBox=\"0 0 \(Int(width)) \(Int(height))\" font-family=\"sans-serif\" font-size=\"12\">",
            colors.ground.map { "<rect width=\"100%\" height=\"100%\" fill=\"\($0)\"/>" } ?? "",
            "<text x=\"\(number(left))\" y=\"22\" font-size=\"15\" fill=\"\(colors.title)\">\(markup(title))</text>",
        ]
        for tick in ticks.values {
            lines.append(line(left, y(tick), width - right, y(tick), colors.grid))
            lines.append(label(ticks.text(tick), left - 8, y(tick) + 4, "end", colors.text))
        }
        let stepTicks = Ticks(steps, atMost: 8, whole: true)
        for tick in stepTicks.values where steps.contains(tick) {
            lines.append(line(x(tick), height - bottom, x(tick), height - bottom + 5, colors.axis))
            lines.append(label(stepTicks.text(tick), x(tick), height - bottom + 18, "middle", colors.text))
        }
        lines.append(line(left, height - bottom, width - right, height - bottom, colors.axis))
        lines.append(label("step", (left + width - right) / 2, height - 8, "middle", colors.text))
        for series in series { lines += drawn(series) }
        let named = series.filter { !$0.points.isEmpty }
        if named.count > 1 {
            for (i, series) in named.reversed().enumerated() {
                lines.append(label(series.name, width - right - 76 * Double(i), 22, "end", series.color))
            }
        }
        return (lines.filter { !$0.isEmpty } + ["</svg>", ""]).joined(separator: "\n")
    }

    private func drawn(_ series: Series) -> [String] {
        let points = series.points
        let smooths = series.isSmoothed && points.count >= 40
        var lines = [path(points, series.color, smooths ? 1 : 2, opacity: smooths ? 0.35 : 1)]
        if smooths { lines.append(path(Self.smoothed(points), series.color, 2, opacity: 1)) }
        if series.hasDots || points.count == 1 { lines += points.map { dot($0, series.color) } }
        return lines
    }

    /// An exponential mean over about a fortieth of the run, without its bias towards the beginning.
    private static func smoothed(_ points: [Point]) -> [Point] {
        let keep = 1 - 1 / max(2, Double(points.count) / 40)
        var (sum, weight) = (0.0, 0.0)
        return points.map { point in
            sum = keep * sum + (1 - keep) * point.value
            weight = keep * weight + (1 - keep)
            return (point.step, sum / weight)
        }
    }

    private func path(_ points: [Point], _ color: String, _ stroke: Int, opacity: Double) -> String {
        guard points.count > 1 else { return "" }
        let places = points.map { "\(number(x(Double($0.step)))),\(number(y($0.value)))" }.joined(separator: " ")
        return
            "<polyline fill=\"none\" stroke=\"\(color)\" stroke-width=\"\(stroke)\" stroke-opacity=\"\(number(opacity))\" "
            + "stroke-linejoin=\"round\" points=\"\(places)\"/>"
    }

    private func dot(_ point: Point, _ color: String) -> String {
        "<circle cx=\"\(number(x(Double(point.step))))\" cy=\"\(number(y(point.value)))\" r=\"3\" fill=\"\(color)\"/>"
    }

    private func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ color: String) -> String {
        "<line x1=\"\(number(x1))\" y1=\"\(number(y1))\" x2=\"\(number(x2))\" y2=\"\(number(y2))\" stroke=\"\(color)\"/>"
    }

    private func label(_ text: String, _ x: Double, _ y: Double, _ anchor: String, _ color: String) -> String {
        "<text x=\"\(number(x))\" y=\"\(number(y))\" text-anchor=\"\(anchor)\" fill=\"\(color)\">\(text)</text>"
    }

    private func number(_ value: Double) -> String { decimal(value, digits: 2) }
}

/// Text as HTML and XML show it.
func markup(_ text: String, keepsLines: Bool = false) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "&": result += "&amp;"
        case "\"": result += "&quot;"
        case "\n" where keepsLines: result += "\n"
        case _ where scalar.value < 0x20: result += " "
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
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
