// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 7: training.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_trainer_options_init")
public func sft_trainer_options_init(
    _ options: UnsafeMutablePointer<sft_trainer_options>!, _ struct_size: Int
) -> sft_status {
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_sgd_options_init")
public func sft_sgd_options_init(_ options: UnsafeMutablePointer<sft_sgd_options>!, _ struct_size: Int) -> sft_status {
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_trainer_create_sgd")
public func sft_trainer_create_sgd(
    _ model: OpaquePointer!, _ optimizer: UnsafePointer<sft_sgd_options>!,
    _ options: UnsafePointer<sft_trainer_options>!, _ trainer: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("trainer", trainer) { () throws(QwenSFTError) in
        let sgd = try QwenSFTCAPI.options(optimizer, "optimizer").core()
        return try TrainerObject(Handle.model(model), .sgd(sgd), options)
    }
}

@implementation @_cdecl("sft_adamw_options_init")
public func sft_adamw_options_init(
    _ options: UnsafeMutablePointer<sft_adamw_options>!, _ struct_size: Int
) -> sft_status {
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_trainer_create_adamw")
public func sft_trainer_create_adamw(
    _ model: OpaquePointer!, _ optimizer: UnsafePointer<sft_adamw_options>!,
    _ options: UnsafePointer<sft_trainer_options>!, _ trainer: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("trainer", trainer) { () throws(QwenSFTError) in
        let adamW = try QwenSFTCAPI.options(optimizer, "optimizer").core()
        return try TrainerObject(Handle.model(model), .adamW(adamW), options)
    }
}

@implementation @_cdecl("sft_trainer_free")
public func sft_trainer_free(_ trainer: OpaquePointer!) {
    Handle.free(trainer, as: TrainerObject.self)
}

@implementation @_cdecl("sft_trainer_set_lr")
public func sft_trainer_set_lr(_ trainer: OpaquePointer!, _ lr: Double) -> sft_status {
    outcome { () throws(QwenSFTError) in try Handle.trainer(trainer).trainer.setLearningRate(lr) }
}

@implementation @_cdecl("sft_trainer_stop")
public func sft_trainer_stop(_ trainer: OpaquePointer!) -> sft_status {
    outcome { () throws(QwenSFTError) in try Handle.trainer(trainer).trainer.stop() }
}

@implementation @_cdecl("sft_trainer_get_lr")
public func sft_trainer_get_lr(_ trainer: OpaquePointer!, _ lr: UnsafeMutablePointer<Double>!) -> sft_status {
    outcome { () throws(QwenSFTError) in
        guard let lr else { throw .isNull("lr") }
        lr.pointee = 0
        lr.pointee = try Handle.trainer(trainer).trainer.counters().learningRate
    }
}

@implementation @_cdecl("sft_trainer_get_step_count")
public func sft_trainer_get_step_count(
    _ trainer: OpaquePointer!, _ step_count: UnsafeMutablePointer<UInt64>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        guard let step_count else { throw .isNull("step_count") }
        step_count.pointee = 0
        step_count.pointee = UInt64(try Handle.trainer(trainer).trainer.counters().stepCount)
    }
}

@implementation @_cdecl("sft_train_step")
public func sft_train_step(
    _ trainer: OpaquePointer!, _ batch: OpaquePointer!, _ metrics: UnsafeMutablePointer<sft_step_metrics>!,
    _ metrics_size: Int
) -> sft_status {
    stepping(trainer, metrics, metrics_size) { (_) throws(QwenSFTError) in try [Handle.batch(batch).batch] }
}

@implementation @_cdecl("sft_train_step_accumulated")
public func sft_train_step_accumulated(
    _ trainer: OpaquePointer!, _ batches: UnsafePointer<OpaquePointer?>!, _ batch_count: Int,
    _ metrics: UnsafeMutablePointer<sft_step_metrics>!, _ metrics_size: Int
) -> sft_status {
    stepping(trainer, metrics, metrics_size) { (object) throws(QwenSFTError) in
        try QwenSFTCAPI.batches(batches, batch_count, mayBeEmpty: object.trainer.options.collective != nil)
    }
}

@implementation @_cdecl("sft_evaluate")
public func sft_evaluate(
    _ trainer: OpaquePointer!, _ batch: OpaquePointer!, _ metrics: UnsafeMutablePointer<sft_step_metrics>!,
    _ metrics_size: Int
) -> sft_status {
    measuring(trainer, batch, metrics, metrics_size) { (object, batch) throws(QwenSFTError) in
        try object.trainer.evaluate(batch, onProgress: object.progress)
    }
}

@implementation @_cdecl("sft_evaluate_accumulated")
public func sft_evaluate_accumulated(
    _ trainer: OpaquePointer!, _ batches: UnsafePointer<OpaquePointer?>!, _ batch_count: Int,
    _ metrics: UnsafeMutablePointer<sft_step_metrics>!, _ metrics_size: Int
) -> sft_status {
    measuring(trainer, batches, batch_count, metrics, metrics_size) { (object, batches) throws(QwenSFTError) in
        try object.trainer.evaluate(accumulating: batches, onProgress: object.progress)
    }
}

@implementation @_cdecl("sft_row_losses")
public func sft_row_losses(
    _ trainer: OpaquePointer!, _ batch: OpaquePointer!, _ losses: UnsafeMutablePointer<Double>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try write(trainer, batch, to: Output(losses, capacity, count, "losses"), count: { $1.rows }) {
            (trainer, batch) throws(QwenSFTError) in try trainer.rowLosses(batch)
        }
    }
}

@implementation @_cdecl("sft_token_losses")
public func sft_token_losses(
    _ trainer: OpaquePointer!, _ batch: OpaquePointer!, _ losses: UnsafeMutablePointer<Float>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try write(trainer, batch, to: Output(losses, capacity, count, "losses"), count: { $1.rows * $1.columns }) {
            (trainer, batch) throws(QwenSFTError) in try trainer.tokenLosses(batch)
        }
    }
}

@implementation @_cdecl("sft_trainer_parameter_count")
public func sft_trainer_parameter_count(_ trainer: OpaquePointer!) -> Int {
    (try? Handle.trainer(trainer))?.trainer.parameters.count ?? 0
}

@implementation @_cdecl("sft_trainer_get_parameter")
public func sft_trainer_get_parameter(
    _ trainer: OpaquePointer!, _ index: Int, _ parameter: UnsafeMutablePointer<sft_parameter>!, _ parameter_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try fill(parameter, parameter_size, "parameter") { () throws(QwenSFTError) in
            let object = try Handle.trainer(trainer)
            let parameter = try element(index, of: object.trainer.parameters, ("trainer", "parameters"))
            return record(
                parameter, name: object.parameterNames[index],
                isTrainable: object.trainer.adapter != nil || object.trainer.model.trainable[index])
        }
    }
}

@implementation @_cdecl("sft_gradient_norms")
public func sft_gradient_norms(
    _ trainer: OpaquePointer!, _ batch: OpaquePointer!, _ norms: UnsafeMutablePointer<Double>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try write(
            trainer, batch, to: Output(norms, capacity, count, "norms"),
            count: { trainer, _ in trainer.parameters.count }
        ) {
            (trainer, batch) throws(QwenSFTError) in try trainer.gradientNorms(batch)
        }
    }
}

/// Writes what a trainer computes for a batch; `count` says how much that is, before it is computed.
private func write<Number>(
    _ trainer: OpaquePointer?, _ batch: OpaquePointer?, to output: Output<Number>, count: (Trainer, Batch) -> Int,
    _ compute: (Trainer, Batch) throws(QwenSFTError) -> [Number]
) throws(QwenSFTError) {
    let trainer = try Handle.trainer(trainer).trainer
    let batch = try Handle.batch(batch).batch
    try output.write(count: count(trainer, batch)) { (destination) throws(QwenSFTError) in
        _ = destination.update(fromContentsOf: try compute(trainer, batch))
    }
}

@implementation @_cdecl("sft_trainer_save_state")
public func sft_trainer_save_state(
    _ trainer: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ path_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.trainer(trainer)
        try object.trainer.saveState(to: QwenSFTCAPI.path(path, path_size, "path"))
    }
}

@implementation @_cdecl("sft_trainer_load_state")
public func sft_trainer_load_state(
    _ trainer: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ path_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.trainer(trainer)
        try object.trainer.loadState(from: QwenSFTCAPI.path(path, path_size, "path"))
    }
}

/// Runs one pass over a batch and writes its metrics, if they are wanted.
private func measuring(
    _ trainer: OpaquePointer?, _ batch: OpaquePointer?, _ metrics: UnsafeMutablePointer<sft_step_metrics>?,
    _ metricsSize: Int, _ pass: (TrainerObject, Batch) throws(QwenSFTError) -> StepMetrics
) -> sft_status {
    measuring(trainer, metrics, metricsSize) { (object) throws(QwenSFTError) in
        try pass(object, Handle.batch(batch).batch)
    }
}

/// As above, over several batches.
private func measuring(
    _ trainer: OpaquePointer?, _ batches: UnsafePointer<OpaquePointer?>?, _ count: Int,
    _ metrics: UnsafeMutablePointer<sft_step_metrics>?, _ metricsSize: Int,
    _ pass: (TrainerObject, [Batch]) throws(QwenSFTError) -> StepMetrics
) -> sft_status {
    measuring(trainer, metrics, metricsSize) { (object) throws(QwenSFTError) in
        try pass(object, QwenSFTCAPI.batches(batches, count, mayBeEmpty: false))
    }
}

/// - Parameter mayBeEmpty: a rank of several need not have rows in every step.
private func batches(
    _ pointers: UnsafePointer<OpaquePointer?>?, _ count: Int, mayBeEmpty: Bool
) throws(QwenSFTError) -> [Batch] {
    guard count > 0 || mayBeEmpty else { throw QwenSFTError(.invalidArgument, "'batches' is empty") }
    var all: [Batch] = []
    for batch in try array(pointers, count, "batches") {
        try all.makeRoom(for: 1, purpose: "batches")
        all.append(try Handle.batch(batch).batch)
    }
    return all
}

/// Takes a step on the batches that `read` finds, and writes its metrics, if they are wanted. Arguments are looked at within the step,
/// so that the other ranks are told where one of them is wrong.
private func stepping(
    _ trainer: OpaquePointer?, _ metrics: UnsafeMutablePointer<sft_step_metrics>?, _ metricsSize: Int,
    _ read: (TrainerObject) throws(QwenSFTError) -> [Batch]
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.trainer(trainer)
        let result = try object.trainer.step(onProgress: object.progress) { () throws(QwenSFTError) in
            if metrics != nil { try fill(metrics, metricsSize, "metrics") { sft_step_metrics() } }
            return try read(object)
        }
        guard metrics != nil else { return }
        try fill(metrics, metricsSize, "metrics") { record(result) }
    }
}

/// A pass of a trainer whose metrics the caller may want.
func measuring(
    _ trainer: OpaquePointer?, _ metrics: UnsafeMutablePointer<sft_step_metrics>?, _ metricsSize: Int,
    _ pass: (TrainerObject) throws(QwenSFTError) -> StepMetrics
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        // Checked before the pass: afterwards the weights have changed.
        if metrics != nil { try fill(metrics, metricsSize, "metrics") { sft_step_metrics() } }
        let result = try pass(Handle.trainer(trainer))
        guard metrics != nil else { return }
        try fill(metrics, metricsSize, "metrics") {
            record(result)
        }
    }
}

func record(_ metrics: StepMetrics) -> sft_step_metrics {
    sft_step_metrics(
        loss: metrics.loss, grad_norm: metrics.gradientNorm ?? 0, seconds: metrics.seconds,
        supervised_tokens: UInt64(metrics.supervisedTokens), has_grad_norm: metrics.gradientNorm == nil ? 0 : 1)
}

/// A trainer, and the callback that its passes ask.
final class TrainerObject {
    let trainer: Trainer
    let parameterNames: ParameterNames
    private let fields: sft_trainer_options

    init(
        _ model: ModelObject, _ optimizer: Optimizer, _ options: UnsafePointer<sft_trainer_options>?
    ) throws(QwenSFTError) {
        fields = try QwenSFTCAPI.options(options)
        trainer = try Trainer(model.model, optimizer: optimizer, options: fields.core())
        parameterNames = ParameterNames(trainer.parameters)
    }

    /// Calls the caller's callback, if there is one; whether it lets the pass go on.
    func progress(_ done: Int, _ total: Int) -> Bool {
        QwenSFTCAPI.progress(fields.on_progress, fields.user_data, done, total)
    }
}

extension Handle {
    static func trainer(_ pointer: OpaquePointer?) throws(QwenSFTError) -> TrainerObject {
        try object(pointer, as: TrainerObject.self, "trainer")
    }
}

@implementation @_cdecl("sft_recipe_init")
public func sft_recipe_init(
    _ model: OpaquePointer!, _ adamw: UnsafeMutablePointer<sft_adamw_options>!, _ adamw_size: Int,
    _ sgd: UnsafeMutablePointer<sft_sgd_options>!, _ sgd_size: Int,
    _ trainer_options: UnsafeMutablePointer<sft_trainer_options>!, _ trainer_options_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let model = try Handle.model(model).model
        if adamw != nil {
            try initialize(
                adamw, adamw_size, from: FineTuning.adamW(trainsAdapter: model.activeAdapter != nil), "adamw")
        }
        if sgd != nil { try initialize(sgd, sgd_size, from: FineTuning.sgd, "sgd") }
        if trainer_options != nil {
            try initialize(trainer_options, trainer_options_size, from: FineTuning.trainerOptions, "trainer_options")
        }
    }
}

extension sft_trainer_options: OptionsStruct {
    static var coreDefaults: TrainerOptions { TrainerOptions() }
    static var fields: [OptionsField<Self, TrainerOptions>] {
        [
            .optional(\.max_grad_norm, \.maxGradientNorm, none: 0),
            .same(\.seed, \.seed),
            .flag("recomputation", \.recomputation, \.recomputation),
            .flag("shares_prefixes", \.shares_prefixes, \.sharesPrefixes),
            .flag("decays_vectors", \.decays_vectors, \.decaysVectors),
            .flag("rounds_stochastically", \.rounds_stochastically, \.roundsStochastically),
            .same(\.loraplus_lr_ratio, \.loraPlusRatio),
            OptionsField(
                read: { (options, core) throws(QwenSFTError) in core.collective = try options.collective() },
                write: { _, options in
                    (options.world_size, options.check_interval, options.local_steps) = (1, 100, 1)
                    options.outer_lr = 1
                }
            ),
        ]
    }

    /// The other ranks, reached by the caller's callback.
    private func collective() throws(QwenSFTError) -> Collective? {
        guard all_reduce != nil || world_size > 1 else { return nil }
        guard let all_reduce else { throw .isNull("all_reduce") }
        // Whoever sets the callback answers for user_data being usable where steps are taken.
        nonisolated(unsafe) let userData = user_data
        let outer = OuterOptimizer(learningRate: outer_lr, momentum: outer_momentum)
        return try Collective(
            rank: rank, worldSize: world_size, checkInterval: check_interval, localSteps: local_steps,
            outer: outer == OuterOptimizer() ? nil : outer
        ) { values in
            let status = HostThread.callback { all_reduce(userData, values.baseAddress, values.count) }
            guard status == 0 else { throw QwenSFTError(.io, "all_reduce returned \(status)") }
        }
    }
}

extension sft_sgd_options: OptionsStruct {
    static var coreDefaults: SGD { SGD() }
    static var fields: [OptionsField<Self, SGD>] {
        [
            .same(\.lr, \.learningRate),
            .same(\.momentum, \.momentum),
            .same(\.dampening, \.dampening),
            .same(\.weight_decay, \.weightDecay),
            .flag("nesterov", \.nesterov, \.nesterov),
            .reserved(\.reserved),
        ]
    }
}

extension sft_adamw_options: OptionsStruct {
    static var coreDefaults: AdamW { AdamW() }
    static var fields: [OptionsField<Self, AdamW>] {
        [
            .same(\.lr, \.learningRate),
            .same(\.beta1, \.beta1),
            .same(\.beta2, \.beta2),
            .same(\.eps, \.epsilon),
            .same(\.weight_decay, \.weightDecay),
            OptionsField(
                read: { (options, core) in core.stateBits = Int(options.state_bits) },
                write: { core, options in options.state_bits = Int32(core.stateBits) }),
            .reserved(\.reserved),
        ]
    }
}
