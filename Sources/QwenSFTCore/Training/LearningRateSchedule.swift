import Glibc

/// How the learning rate goes over a run: up from nearly nothing in the warm-up, then as `shape` says.
public struct LearningRateSchedule: Sendable, Equatable {
    public enum Shape: String, Sendable, CaseIterable {
        case constant
        /// Straight down to 0 at the end of the run.
        case linear
        /// Down to 0 along half a cosine.
        case cosine
    }

    public var shape: Shape
    /// Steps of warm-up; the last of them has the full rate.
    public var warmupSteps: Int

    public init(_ shape: Shape = .constant, warmupSteps: Int = 0) {
        self.shape = shape
        self.warmupSteps = warmupSteps
    }

    /// What the full rate is multiplied by at `step`, which counts from 0, in a run of `totalSteps`.
    ///
    /// The decay is that of transformers' schedules. Their warm-up begins at 0, which wastes the first step; this one
    /// begins at 1 / warmupSteps.
    public func factor(step: Int, of totalSteps: Int) -> Double {
        let (step, warmup, total) = (Double(step), Double(warmupSteps), Double(totalSteps))
        if step < warmup { return (step + 1) / warmup }
        let progress = min(1, (step - warmup) / max(1, total - warmup))
        return switch shape {
        case .constant: 1
        case .linear: 1 - progress
        case .cosine: 0.5 * (1 + cos(.pi * progress))
        }
    }
}
