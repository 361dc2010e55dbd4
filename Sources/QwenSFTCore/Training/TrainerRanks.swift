extension Trainer {
    /// The ranks that train together; nil: this process is alone.
    var collective: Collective? { options.ranks }

    /// Those that take every step together.
    var stepRanks: Collective? { collective.flatMap { $0.localSteps == 1 ? $0 : nil } }

    /// Does a part of a step on every rank; what one throws, all throw.
    /// - Parameters:
    ///   - ranks: nil: this one alone.
    ///   - body: fills in what this rank reports.
    /// - Returns: what each rank reports, by rank, and what `body` came to.
    func together<Value>(
        _ stage: RankReport.Stage, _ ranks: Collective?, _ body: (inout RankReport) throws(QwenSFTError) -> Value
    ) throws(QwenSFTError) -> (reports: [RankReport], value: Value) {
        var mine = RankReport()
        let value: Result<Value, QwenSFTError>
        do throws(QwenSFTError) { value = .success(try body(&mine)) } catch {
            value = .failure(error)
            mine.failure = error.code
        }
        guard let ranks else { return ([mine], try value.get()) }
        let reports = try communicating { () throws(QwenSFTError) in try ranks.exchange(mine, at: stage) }
        for (rank, report) in reports.enumerated() {
            guard let code = report.failure else { continue }
            if case .failure(let error) = value, error.code == code { throw error }
            throw QwenSFTError(
                code,
                "rank \(rank) of \(ranks.worldSize) left the step (\(code)), so all did; \(consequence)")
        }
        return (reports, try value.get())
    }

    /// Adds up values over ranks.
    func sum(_ values: ParameterStorage, over ranks: Collective?) throws(QwenSFTError) {
        guard let ranks else { return }
        try communicating { () throws(QwenSFTError) in
            for run in try values.floatRuns() { try ranks.sum(run) }
        }
    }

    /// Takes a step by itself and, after every `localSteps` of them, averages.
    func locally(
        _ ranks: Collective, _ step: () throws(QwenSFTError) -> StepMetrics
    ) throws(QwenSFTError) -> StepMetrics {
        try requireCommunication()
        if !hasComparedValues {
            let (reports, _) = try together(.start, ranks) { (report) throws(QwenSFTError) in
                (report.settings, report.values) = (settingsFingerprint(), valuesFingerprint())
            }
            try requireAgreement(reports)
        }
        try rememberWeights(for: ranks)
        let outcome: Result<StepMetrics, QwenSFTError>
        do throws(QwenSFTError) { outcome = .success(try step()) } catch {
            switch error.code {
            case .noSupervisedTokens: outcome = .success(StepMetrics())  // another rank may have some
            case .nonFinite: outcome = .failure(error)
            default: throw error  // the step is still to be made
            }
        }
        stepsSinceAverage += 1
        if stepsSinceAverage >= ranks.localSteps { try average() }
        return try outcome.get()
    }

    /// - Throws: `invalidArgument` where ranks have stepped by themselves since their weights were the same.
    func requireAverage() throws(QwenSFTError) {
        guard let collective, stepsSinceAverage > 0 else { return }
        throw QwenSFTError(
            .invalidArgument,
            "the ranks have stepped by themselves since the last average, so their weights differ; do this right after an average, which is every \(collective.localSteps) steps"
        )
    }

    /// Averages, where ranks have made steps by themselves since they last did.
    func finishLocalSteps() throws(QwenSFTError) {
        try model.exclusively { () throws(QwenSFTError) in try average() }
    }

    /// Where an outer step will begin: the weights before the first step after an average.
    private func rememberWeights(for ranks: Collective) throws(QwenSFTError) {
        guard ranks.outer != nil, stepsSinceAverage == 0 else { return }
        let trained = trained
        try state.cover(trained.isTrainable, isFirstStep: stepCount == 0)
        if averagedWeights?.included != trained.isTrainable {
            averagedWeights = nil
            averagedWeights = try ParameterStorage(
                trained.storage.list, dtype: .float32, included: trained.isTrainable, purpose: "averaged weights")
        }
        guard let averagedWeights else { return }
        for parameter in trained.parameters where averagedWeights.included[parameter.index] {
            let weight = trained.storage.weight(parameter)
            weight.format.widen(
                0..<weight.rows, 0..<weight.columns, to: averagedWeights.floats(parameter).base)
        }
    }

    /// Goes from the last average along the way to the mean.
    private func applyOuter(_ outer: OuterOptimizer, to mean: ParameterStorage) throws(QwenSFTError) {
        guard let averagedWeights, let velocity = state.outer else { return }
        let runs = trained.parameters.filter { mean.included[$0.index] && averagedWeights.included[$0.index] }.map {
            OuterOptimizer.Run(
                mean: mean.floats($0), start: averagedWeights.floats($0), velocity: velocity.floats.floats($0))
        }
        guard outer.apply(to: runs) else {
            throw QwenSFTError(.nonFinite, "an outer step would make weights infinite or NaN; \(consequence)")
        }
    }

    /// Replaces every rank's weights by the mean of all, and passes on the id that their rows end turns with.
    private func average() throws(QwenSFTError) {
        guard let ranks = collective, stepsSinceAverage > 0 else { return }
        let trained = trained
        let (reports, values) = try together(.average, ranks) { (report) throws(QwenSFTError) in
            report.settings = settingsFingerprint()
            report.stopID = model.learnedStopIDs.last
            report.steps = stepCount
            let values = try clearedGradients()
            for parameter in trained.parameters where values.included[parameter.index] {
                let weight = trained.storage.weight(parameter)
                let share = values.floats(parameter)
                weight.format.widen(0..<weight.rows, 0..<weight.columns, to: share.base)
                // Before the sum, which stays finite so.
                for index in share.buffer.indices { share.buffer[index] /= Float(ranks.worldSize) }
            }
            return values
        }
        try requireAgreement(reports)
        try sum(values, over: ranks)
        if let outer = ranks.outer { try applyOuter(outer, to: values) }
        // The count of rank 0: ranks may have refused different steps, and need the same random bits.
        let rounding: Rounding =
            options.roundsStochastically
            ? .stochastic(seed: options.seed, step: UInt64(reports[0].steps)) : .nearest
        for parameter in trained.parameters where values.included[parameter.index] {
            let mean = values.floats(parameter).base
            Elements.forEachPiece(
                of: trained.storage.weight(parameter), rounding: rounding.at(parameter.offset, pass: 1),
                compute: model.compute
            ) { piece, start, count in piece.update(from: mean + start, count: count) }
        }
        model.weightsVersion += 1
        stepsSinceAverage = 0
        for id in reports.compactMap(\.stopID) { model.learn(stopID: id) }
    }

    /// Once a sum has failed, ranks may stand at different places, and what one sends is not what another one waits for.
    private func requireCommunication() throws(QwenSFTError) {
        guard let communicationFailure else { return }
        throw QwenSFTError(
            communicationFailure.code,
            "an earlier step lost the other ranks (\(communicationFailure.message)); make a new trainer on every rank")
    }

    private func communicating<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        try requireCommunication()
        do throws(QwenSFTError) { return try body() } catch {
            communicationFailure = error
            throw QwenSFTError(error.code, "\(error.message); \(consequence)")
        }
    }

    /// What follows from a sum that fails.
    private var consequence: String {
        stepsSinceAverage == 0
            ? "nothing was changed" : "this rank keeps the weights of its own steps since the last average"
    }

    /// What ranks compare before a step.
    func settingsFingerprint() -> UInt64 {
        var fingerprint = Fingerprint()
        // Ranks that step by themselves may have refused different ones.
        fingerprint.add(UInt64(stepRanks == nil ? stepsSinceAverage : stepCount))
        fingerprint.add(UInt64(collective?.checkInterval ?? 0))
        fingerprint.add(UInt64(collective?.localSteps ?? 0))
        fingerprint.add(collective?.outer?.learningRate ?? 1)
        fingerprint.add(collective?.outer?.momentum ?? 0)
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
        guard let collective else { return 0 }
        let isTime = stepRanks != nil && stepCount % collective.checkInterval == 0
        guard !hasComparedValues || isTime else { return 0 }
        var fingerprint = Fingerprint()
        let trained = trained
        if trained.isAdapter { fingerprint.add(model.baseIdentity) }
        for parameter in trained.parameters {
            fingerprint.add(trained.storage.weight(parameter), compute: model.compute)
        }
        // Ranks that step by themselves have optimizers with memories of their own, but take the same outer steps.
        if stepRanks != nil { state.add(to: &fingerprint, compute: model.compute) }
        state.outer?.add(to: &fingerprint, compute: model.compute)
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
