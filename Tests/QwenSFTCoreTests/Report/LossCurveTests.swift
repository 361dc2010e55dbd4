import Foundation
import FoundationXML
import QwenSFTCore
import Testing

@Suite struct LossCurveTests {
    /// Elements of a document by name, with their attributes; nil where it is not well-formed XML.
    private final class Elements: NSObject, XMLParserDelegate {
        private(set) var found: [(name: String, attributes: [String: String])] = []
        private(set) var text = ""

        static func of(_ svg: String) -> Elements? {
            let elements = Elements()
            let parser = XMLParser(data: Data(svg.utf8))
            parser.delegate = elements
            return parser.parse() ? elements : nil
        }

        func parser(
            _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
            attributes: [String: String]
        ) { found.append((name, attributes)) }

        func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }

        var points: [[(x: Double, y: Double)]] {
            found.filter { $0.name == "polyline" }.map {
                ($0.attributes["points"] ?? "").split(separator: " ").compactMap { pair in
                    let parts = pair.split(separator: ",").compactMap { Double($0) }
                    return parts.count == 2 ? (parts[0], parts[1]) : nil
                }
            }
        }
    }

    @Test func pointsStandWhereTheirLossesAre() throws {
        let losses = [2.0, 1.0, 0.5, .nan, 0.0]
        let curve = LossCurve(training: losses.enumerated().map { .init(step: $0.offset + 1, loss: $0.element) })
        let elements = try #require(Elements.of(curve.svg(width: 720, height: 400)))
        let points = try #require(elements.points.first)
        #expect(points.count == 4, "what is not finite is left out")
        #expect(points[0].x == 56 && points[3].x == 704)
        // Losses 2, 1, 0.5, 0 on an axis from 0 at 356 to its last tick, 2, at 40.
        #expect(points.map(\.y) == [40, 198, 277, 356])
    }

    @Test func manyPointsHaveASmoothLineToo() throws {
        let training = (1...200).map { LossCurve.Point(step: $0, loss: $0 % 2 == 0 ? 1 : 3) }
        let curve = LossCurve(training: training, evaluation: [.init(step: 0, loss: 2), .init(step: 200, loss: 1.5)])
        let elements = try #require(Elements.of(curve.svg()))
        #expect(elements.points.map(\.count) == [200, 200, 2])
        func spread(_ line: [(x: Double, y: Double)]) -> Double { line.map(\.y).max()! - line.map(\.y).min()! }
        #expect(spread(Array(elements.points[1][20...])) < spread(elements.points[0]) / 3)
        #expect(elements.text.contains("evaluation"))
    }

    @Test(arguments: [[], [0.0], [.nan], [1e-12, 1e-12], [1e300, 1], [7, 7, 7]] as [[Double]])
    func oddCurvesAreDocumentsToo(losses: [Double]) throws {
        let curve = LossCurve(training: losses.enumerated().map { .init(step: $0.offset + 1, loss: $0.element) })
        let elements = try #require(Elements.of(curve.svg(title: "a < b & \"c\" \u{1} 中文", width: -5, height: .max)))
        #expect(elements.text.contains("a < b & \"c\"   中文"))
        for point in elements.points.flatMap({ $0 }) { #expect(point.x.isFinite && point.y.isFinite) }
    }
}
