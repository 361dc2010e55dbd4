extension Trainer {
    /// The ranks that take steps together; nil: this process is alone.
    var collective: Collective? { options.ranks }

    /// Does a part of a step on every rank; what one throws, all throw.
    /// - Parameter body: fills in what this rank reports.
    /// - Returns: what each rank reports, by rank, and what `body` came to.
    func together<Value>(
        _ stage: RankReport.Stage, _ body: (inout RankReport) throws(QwenSFTError) -> Value
    ) throws(QwenSFTError) -> (reports: [RankReport], value: Value) {
        var mine = RankReport()
        let value: Result<Value, QwenSFTError>
        do throws(QwenSFTError) { value = .success(try body(&mine)) } catch {
            value = .failure(error)
            mine.failure = error.code
        }
        guard let collective else { return ([mine], try value.get()) }
        let reports = try communicating { () throws(QwenSFTError) in try collective.exchange(mine, at: stage) }
        for (rank, report) in reports.enumerated() {
            guard let code = report.failure else { continue }
            if case .failure(let error) = value, error.code == code { throw error }
            throw QwenSFTError(
                code,
                "rank \(rank) of \(collective.worldSize) left the step (\(code)), so all did; nothing was changed")
        }
        return (reports, try value.get())
    }

    /// Adds up gradients over all ranks.
    func sumOverRanks(_ gradients: ParameterStorage) throws(QwenSFTError) {
        guard let collective else { return }
        try communicating { () throws(QwenSFTError) in
            for run in try gradients.floatRuns() { try collective.sum(run) }
        }
    }

    /// Once a sum has failed, ranks may stand at different places, and what one sends is not what another one waits for.
    private func communicating<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        if let communicationFailure {
            throw QwenSFTError(
                communicationFailure.code,
                "an earlier step lost the other ranks (\(communicationFailure.message)); make a new trainer on every rank"
            )
        }
        do throws(QwenSFTError) { return try body() } catch {
            communicationFailure = error
            throw QwenSFTError(error.code, "\(error.message); nothing was changed")
        }
    }

    /// What ranks compare before a step.
    func settingsFingerprint() -> UInt64 {
        var fingerprint = Fingerprint()
        fingerprint.add(UInt64(stepCount))
        fingerprint.add(UInt64(collective?.checkInterval ?? 0))
        switch optimizer {
        case .sgd(let sgd):
            for number in [sgd.learningRate, sgd.momentum, sgd.dampening, sgd.weightDecay] { fingerprint.add(number) }
            fingerprint.add(sgd.nesterov)
        case .adamW(let adamW):
            for number in [adamW.learningRate, adamW.beta1, adamW.beta2, adamW.epsilon, adamW.weightDecay] {
                fingerprint.add(number)
            }
            fingerprint.add(UInt64(adamW.stateBits))
        }
        fingerprint.add(options.maxGradientNorm ?? 0)
        fingerprint.add(options.loraPlusRatio)
        fingerprint.add(options.decaysVectors)
        fingerprint.add(options.roundsStochastically)
        fingerprint.add(options.seed)
        fingerprint.add(trained.storage.dtype.rawValue)
        for (index, parameter) in trained.parameters.enumerated() {
            fingerprint.add(parameter.name)
            fingerprint.add(trained.isTrainable[index])
        }
        return fingerprint.value
    }

    /// Of weights and the optimizer's memory where it is time to compare them; else 0.
    func valuesFingerprint() -> UInt64 {
        guard let collective, !hasComparedValues || stepCount % collective.checkInterval == 0 else { return 0 }
        var fingerprint = Fingerprint()
        let trained = trained
        if trained.isAdapter { fingerprint.add(model.baseIdentity) }
        for parameter in trained.parameters {
            fingerprint.add(trained.storage.weight(parameter), compute: model.compute)
        }
        state.add(to: &fingerprint, compute: model.compute)
        return max(fingerprint.value, 1)
    }

    /// - Throws: `invalidArgument` naming a rank that is not like this one.
    func requireAgreement(_ reports: [RankReport]) throws(QwenSFTError) {
        for (rank, report) in reports.enumerated() {
            guard report.settings == reports[0].settings else {
                throw QwenSFTError(
                    .invalidArgument,
                    "rank \(rank) has another optimizer, learning rate, seed, option or number of steps than rank 0, or trains other parameters"
                )
            }
            guard report.values == reports[0].values || report.values == 0 || reports[0].values == 0 else {
                throw QwenSFTError(
                    .invalidArgument,
                    "rank \(rank) has other weights or another optimizer state than rank 0 after \(stepCount) steps: all ranks have to begin with the same, and sums to be the same bits on all"
                )
            }
        }
        hasComparedValues = true
    }
}
