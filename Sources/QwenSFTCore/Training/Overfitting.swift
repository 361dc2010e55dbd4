extension RunHistory {
    /// What is to be said after the last evaluation where the training loss falls while the loss on the validation data rises; nil
    /// where that is not so, or was said since the best evaluation.
    ///
    /// The training loss is the mean over the steps since the evaluation before: single steps go up and down. A rise below one
    /// percent, or below a hundredth of a nat, is nothing.
    func overfitting(writesLast: Bool) -> String? {
        let all = validations
        guard let now = all.last, let best, let before = all.dropLast().last,
            now.loss > max(1.01 * best.loss, best.loss + 0.01),
            !warnings.contains(where: { $0.step > best.step && $0.text.hasPrefix(Self.overfittingMark) })
        else { return nil }
        let beforeBest = all.last { $0.step < best.step }?.step ?? 0
        guard before.step < now.step, beforeBest < best.step,
            let trainingThen = meanLoss(ofSteps: beforeBest + 1...best.step),
            let trainingNow = meanLoss(ofSteps: before.step + 1...now.step), trainingNow < trainingThen
        else { return nil }
        func text(_ loss: Double) -> String { decimal(loss, digits: 4) }
        return
            "\(Self.overfittingMark): since step \(best.step) the training loss has fallen from \(text(trainingThen)) to "
            + "\(text(trainingNow)), and the validation loss has risen from \(text(best.loss)) to \(text(now.loss)); "
            + (writesLast
                ? "the last weights will be the result all the same" : "the weights of step \(best.step) are kept")
    }

    private static let overfittingMark = "over-fitting"
}
