extension LossCurve {
    /// An SVG document of `width` by `height` pixels: the training losses, a smoothed line through them where there are
    /// many, and the evaluations. Losses that are not finite are left out.
    public func svg(title: String = "Loss", width: Int = 720, height: Int = 400) -> String {
        plot(title: title, width: width, height: height).svg
    }

    func plot(title: String, width: Int = 720, height: Int = 400, colors: Plot.Colors = .init()) -> Plot {
        Plot(
            [
                .init(
                    name: "training", points: training.map { ($0.step, $0.loss) }, color: colors.first, isSmoothed: true
                ),
                .init(
                    name: "evaluation", points: evaluation.map { ($0.step, $0.loss) }, color: colors.second,
                    hasDots: true),
            ], title: title, width: width, height: height, colors: colors)
    }
}
