/// The losses of a run.
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
}
