import Libc

/// How the learning rate goes over a run: up from 0 in the warm-up, then as `shape` says. Step for step the factors of
/// transformers' schedules of these names.
public struct LearningRateSchedule: Sendable, Equatable {
    public enum Shape: String, Sendable, CaseIterable {
        case constant
        /// Straight down to 0 at the end of the run.
        case linear
        /// Down to 0 along half a cosine.
        case cosine
    }

    public var shape: Shape
    /// Steps of warm-up: the first of them has the rate 0, the one after them the full rate. 0: `warmupRatio` says how many.
    public var warmupSteps: Int
    /// The steps of warm-up as a share of all steps, rounded up.
    public var warmupRatio: Double

    public init(_ shape: Shape = .constant, warmupSteps: Int = 0, warmupRatio: Double = 0) {
        self.shape = shape
        self.warmupSteps = warmupSteps
        self.warmupRatio = warmupRatio
    }

    /// Steps of warm-up in a run of `totalSteps`.
    public func warmup(of totalSteps: Int) -> Int {
        guard warmupSteps <= 0 else { return warmupSteps }
        return Int(exactly: (Double(totalSteps) * warmupRatio).rounded(.up)) ?? 0
    }

    /// What the full rate is multiplied by at `step`, which counts from 0, in a run of `totalSteps`.
    public func factor(step: Int, of totalSteps: Int) -> Double {
        let (step, warmup, total) = (Double(step), Double(warmup(of: totalSteps)), Double(totalSteps))
        if step < warmup { return step / max(1, warmup) }
        return switch shape {
        case .constant: 1
        case .linear: max(0, (total - step) / max(1, total - warmup))
        case .cosine: max(0, 0.5 * (1 + cos(.pi * (step - warmup) / max(1, total - warmup))))
        }
    }

    /// Whether a step's rate depends on how many there will be.
    var dependsOnLength: Bool { shape != .constant || warmupSteps <= 0 && warmupRatio > 0 }
}
