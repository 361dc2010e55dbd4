/// What a trainer changes, in memory: the trained weights and, unless only those are wanted, the optimizer with its memory.
public final class TrainerSnapshot {
    fileprivate let weights: ParameterStorage
    fileprivate let stopIDs: [Int32]
    fileprivate let state: (memory: OptimizerState, optimizer: Optimizer, steps: Int, seed: UInt64)?

    fileprivate init(
        _ weights: ParameterStorage, _ stopIDs: [Int32],
        _ state: (memory: OptimizerState, optimizer: Optimizer, steps: Int, seed: UInt64)?
    ) {
        (self.weights, self.stopIDs, self.state) = (weights, stopIDs, state)
    }
}

extension Trainer {
    /// Copies the trained weights, the optimizer's memory and the number of steps, for `restore`.
    /// - Throws: `outOfMemory`, `busy`; `invalidArgument` between two averages of ranks that step by themselves.
    public func snapshot() throws(QwenSFTError) -> TrainerSnapshot { try snapshot(weightsOnly: false) }

    func snapshot(weightsOnly: Bool) throws(QwenSFTError) -> TrainerSnapshot {
        try model.exclusively { () throws(QwenSFTError) in
            if !weightsOnly { try requireAverage() }
            let trained = trained
            let weights = try ParameterStorage(
                trained.storage.list, dtype: trained.storage.dtype, included: trained.isTrainable,
                purpose: "a snapshot of the weights")
            weights.copy(from: trained.storage)
            return TrainerSnapshot(
                weights, model.learnedStopIDs,
                weightsOnly
                    ? nil : (try state.clone(optimizer, trained.storage.list), optimizer, stepCount, options.seed))
        }
    }

    /// Goes back to where `snapshot` was taken, bit for bit. A snapshot may be gone back to more than once.
    /// - Throws: `invalidArgument` for a snapshot of another trainer's; `outOfMemory`, `busy`. Everything is as before then.
    public func restore(_ snapshot: TrainerSnapshot) throws(QwenSFTError) {
        try model.exclusively { () throws(QwenSFTError) in
            let (mine, theirs) = (trained.storage.list.parameters, snapshot.weights.list.parameters)
            guard mine.count == theirs.count,
                zip(mine, theirs).allSatisfy({ $0.name == $1.name && $0.shape == $1.shape }),
                trained.storage.dtype == snapshot.weights.dtype
            else {
                throw QwenSFTError(.invalidArgument, "the snapshot is of another model or adapter")
            }
            let memory = try snapshot.state.map { (saved) throws(QwenSFTError) in
                try saved.memory.clone(saved.optimizer, trained.storage.list)
            }
            if adapter == nil { try model.ownWeights() }
            model.weightsVersion += 1
            trained.storage.copy(from: snapshot.weights)
            model.learnedStopIDs = snapshot.stopIDs
            guard let saved = snapshot.state, let memory else { return }
            state = memory
            restore(optimizer: saved.optimizer, stepCount: saved.steps, seed: saved.seed)
        }
    }
}

extension OptimizerState {
    /// The same numbers in memory of their own.
    fileprivate func clone(_ optimizer: Optimizer, _ list: ParameterList) throws(QwenSFTError) -> OptimizerState {
        let copy = try OptimizerState(optimizer, list, isTrainable: included, hasOuter: outer != nil)
        if let first { copy.first?.copy(from: first) }
        if let second { copy.second?.copy(from: second) }
        if let outer { copy.outer?.copy(from: outer) }
        copy.forgetBounds()
        return copy
    }
}

/// Where a run stood, in memory.
public struct RunSnapshot {
    fileprivate let trainer: TrainerSnapshot
    fileprivate let counts: (step: Int, refused: Int, inARow: Int)
    fileprivate let rate: Double
    fileprivate let history: RunHistory
}

extension TrainingRun {
    /// Copies weights, optimizer, place in the data and history, for `rollBack`.
    public func snapshot() throws(QwenSFTError) -> RunSnapshot {
        RunSnapshot(
            trainer: try trainer.snapshot(), counts: (stepCount, refusedSteps, refusedInARow), rate: fullRate,
            history: history)
    }

    /// Goes back to where `snapshot` was taken: the steps after it are as if they had not been.
    public func rollBack(to snapshot: RunSnapshot) throws(QwenSFTError) {
        try trainer.restore(snapshot.trainer)
        (stepCount, refusedSteps, refusedInARow) = snapshot.counts
        (fullRate, history) = (snapshot.rate, snapshot.history)
    }
}
