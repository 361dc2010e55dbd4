import Libc

/// Rotary embedding for contexts longer than the model was pretrained with (Peng et al., 2023), as transformers computes it.
///
/// Frequencies that turn often over the pretrained context stay, those that turn less than once are divided by `factor`, and
/// between the two is a ramp. Rotated queries and keys are scaled by `attentionFactor`, which makes scores larger.
public struct YaRN: Sendable, Equatable {
    /// How many times as long the context becomes.
    public let factor: Double
    /// The context of the pretraining, in tokens.
    public let originalContext: Int
    /// What every rotated query and key is multiplied by.
    public let attentionFactor: Double
    /// Turns over the pretrained context from which on a frequency stays.
    public let betaFast: Double
    /// Turns up to which it is divided.
    public let betaSlow: Double
    /// Whether the ends of the ramp are whole places.
    public let truncates: Bool

    package init(
        factor: Double, originalContext: Int, attentionFactor: Double, betaFast: Double, betaSlow: Double,
        truncates: Bool
    ) {
        (self.factor, self.originalContext, self.attentionFactor) = (factor, originalContext, attentionFactor)
        (self.betaFast, self.betaSlow, self.truncates) = (betaFast, betaSlow, truncates)
    }

    /// In float32 where transformers computes in float32: models are used with exactly these.
    package func frequencies(theta: Double, headDimension: Int) -> [Float] {
        let (d, logarithm) = (Double(headDimension), log(theta))
        func place(turns: Double) -> Double { d * log(Double(originalContext) / (turns * 2 * .pi)) / (2 * logarithm) }
        var (low, high) = (place(turns: betaFast), place(turns: betaSlow))
        if truncates { (low, high) = (low.rounded(.down), high.rounded(.up)) }
        (low, high) = (max(low, 0), min(high, d - 1))
        if low == high { high += 0.001 }
        return (0..<headDimension / 2).map { i in
            let wavelength = Float(pow(theta, Double(2 * i) / d))
            let ramp = min(max((Float(i) - Float(low)) / Float(high - low), 0), 1)
            let stays = 1 - ramp
            return 1 / (Float(factor) * wavelength) * (1 - stays) + 1 / wavelength * stays
        }
    }
}
