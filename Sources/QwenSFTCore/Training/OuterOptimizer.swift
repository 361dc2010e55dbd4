/// What ranks that step by themselves do with the mean of their weights: the way that leads to it from the last average is a
/// gradient, and Nesterov's momentum goes along it, as DiLoCo does (Douillard et al., 2023: 0.7 and 0.9).
public struct OuterOptimizer: Sendable, Equatable {
    /// 1, with no momentum: the weights become the mean.
    public var learningRate = 1.0
    public var momentum = 0.0

    public init(learningRate: Double = 1, momentum: Double = 0) {
        (self.learningRate, self.momentum) = (learningRate, momentum)
    }

    /// - Throws: `invalidArgument` for values out of range.
    func validate() throws(QwenSFTError) {
        guard learningRate > 0, Float(learningRate).isFinite else {
            throw QwenSFTError(.invalidArgument, "outer_lr must be above 0, not \(learningRate)")
        }
        guard (0..<1).contains(momentum) else {
            throw QwenSFTError(.invalidArgument, "outer_momentum must be at least 0 and below 1, not \(momentum)")
        }
    }

    /// The numbers of one parameter.
    struct Run {
        /// The mean; replaced by what the weights are to be.
        let mean: MutableMatrix<Float>
        /// The weights after the last average.
        let start: MutableMatrix<Float>
        let velocity: MutableMatrix<Float>
    }

    /// - Returns: whether all results are finite, in bfloat16 too; if not, nothing was changed.
    func apply(to runs: [Run]) -> Bool {
        let (rate, momentum) = (Float(learningRate), Float(momentum))
        func results(_ run: Run, _ index: Int) -> (velocity: Float, weight: Float) {
            let start = run.start.buffer[index]
            let way = run.mean.buffer[index] - start
            let velocity = momentum * run.velocity.buffer[index] + way
            return (velocity, start + rate * (way + momentum * velocity))
        }
        for run in runs {
            for index in run.mean.buffer.indices {
                let (velocity, weight) = results(run, index)
                // bfloat16 rounds what is above this to infinity.
                guard velocity.isFinite, weight.magnitude < 3.38e38 else { return false }
            }
        }
        for run in runs {
            for index in run.mean.buffer.indices {
                (run.velocity.buffer[index], run.mean.buffer[index]) = results(run, index)
            }
        }
        return true
    }
}
