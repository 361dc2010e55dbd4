import CQwenSFT
import QwenSFTCore

/// The constants of a typed enum of the header, each with what it stands for in the core.
struct Constants<Value: Equatable> {
    private let expected: String
    private let pairs: [(constant: Int32, value: Value)]

    /// - Parameter expected: "an SFT_LABELS constant", for messages.
    init(_ expected: String, _ pairs: [(Int32, Value)]) {
        self.expected = expected
        self.pairs = pairs
    }

    /// - Throws: `invalidArgument`, with the name of the argument or field.
    func value(_ constant: Int32, _ name: String) throws(QwenSFTError) -> Value {
        if let value = self[constant] { return value }
        throw QwenSFTError(.invalidArgument, "'\(name)' is \(constant), expected \(expected)")
    }

    /// nil for a number that is none of them.
    subscript(constant: Int32) -> Value? { pairs.first { $0.constant == constant }?.value }

    /// -1 for a value without a constant, of which a test says that there is none.
    func constant(_ value: Value) -> Int32 { pairs.first { $0.value == value }?.constant ?? -1 }
}

/// nil: the checkpoint's own.
var chatTemplates: Constants<ChatTemplate?> {
    Constants("an SFT_TEMPLATE constant", [(SFT_TEMPLATE_CHECKPOINT, nil), (SFT_TEMPLATE_CHATML, .chatML)])
}

var labelPolicies: Constants<LabelPolicy> {
    Constants(
        "an SFT_LABELS constant",
        [
            (SFT_LABELS_QWEN, .qwen), (SFT_LABELS_ASSISTANT, .assistant),
            (SFT_LABELS_ASSISTANT_CONTENT, .assistantContent), (SFT_LABELS_ASSISTANT_NEWLINE, .assistantNewline),
            (SFT_LABELS_LAST_ASSISTANT, .lastAssistant), (SFT_LABELS_ALL, .all),
            (SFT_LABELS_GENERATION, .generation),
        ])
}

/// nil: as the data say.
var dataFormats: Constants<DataFormat?> {
    Constants(
        "an SFT_FORMAT constant",
        [
            (SFT_FORMAT_DETECT, nil), (SFT_FORMAT_MESSAGES, .messages), (SFT_FORMAT_SHAREGPT, .shareGPT),
            (SFT_FORMAT_ALPACA, .alpaca), (SFT_FORMAT_PROMPT_COMPLETION, .promptCompletion),
        ])
}

/// In a file; nil: as in the files that the model came from.
var dtypes: Constants<DType?> {
    Constants(
        "an SFT dtype constant",
        [
            (SFT_DTYPE_DEFAULT, nil), (SFT_FLOAT32, .float32), (SFT_BFLOAT16, .bfloat16), (SFT_FLOAT16, .float16),
            (SFT_DTYPE_AUTO, nil),
        ])
}

/// In memory; nil: as in the files.
var memoryDTypes: Constants<DType?> {
    Constants(
        "an SFT dtype constant",
        [
            (SFT_DTYPE_DEFAULT, .float32), (SFT_FLOAT32, .float32), (SFT_BFLOAT16, .bfloat16),
            (SFT_FLOAT16, .float16), (SFT_DTYPE_AUTO, nil),
        ])
}

/// nil: the default.
var ggufTypes: Constants<GGUFType?> {
    Constants(
        "an SFT_GGUF constant",
        [
            (SFT_GGUF_DEFAULT, nil), (SFT_GGUF_F32, .float32), (SFT_GGUF_BF16, .bfloat16), (SFT_GGUF_F16, .float16),
            (SFT_GGUF_Q8_0, .q8),
        ])
}

var quantizations: Constants<Quantization?> {
    Constants(
        "an SFT_QUANTIZATION constant",
        [
            (SFT_QUANTIZATION_NONE, nil), (SFT_QUANTIZATION_INT8, .int8), (SFT_QUANTIZATION_LOSSLESS, .lossless),
            (SFT_QUANTIZATION_INT6, .int6), (SFT_QUANTIZATION_INT4, .int4),
        ])
}

var finishReasons: Constants<Generation.FinishReason> {
    Constants(
        "an SFT_FINISH constant",
        [
            (SFT_FINISH_STOP_ID, .stopID), (SFT_FINISH_STOP_STRING, .stopString), (SFT_FINISH_LENGTH, .length),
            (SFT_FINISH_CONTEXT, .context), (SFT_FINISH_CANCELLED, .cancelled),
        ])
}

/// What an optimizer is made of matters here as little as its rate.
var optimizers: Constants<Optimizer> {
    Constants(
        "an SFT_OPTIMIZER constant",
        [
            (SFT_OPTIMIZER_SGD, .sgd(SGD())), (SFT_OPTIMIZER_SGD_MOMENTUM, .sgd(SGD(momentum: 0.9))),
            (SFT_OPTIMIZER_ADAMW, .adamW(AdamW())), (SFT_OPTIMIZER_ADAMW_8BIT, .adamW(AdamW(stateBits: 8))),
        ])
}

var schedules: Constants<LearningRateSchedule.Shape> {
    Constants(
        "an SFT_SCHEDULE constant",
        [(SFT_SCHEDULE_CONSTANT, .constant), (SFT_SCHEDULE_LINEAR, .linear), (SFT_SCHEDULE_COSINE, .cosine)])
}

/// What an event is, by itself.
func kind(of event: FineTuningEvent) -> sft_run_event_kind {
    switch event {
    case .step: sft_run_event_kind(SFT_RUN_EVENT_STEP)
    case .evaluation: sft_run_event_kind(SFT_RUN_EVENT_EVALUATION)
    case .answer: sft_run_event_kind(SFT_RUN_EVENT_ANSWER)
    case .warning: sft_run_event_kind(SFT_RUN_EVENT_WARNING)
    case .saved: sft_run_event_kind(SFT_RUN_EVENT_SAVED)
    case .ended: sft_run_event_kind(SFT_RUN_EVENT_ENDED)
    }
}

var stoppedRuns: Constants<FineTuning.Resumption> {
    Constants(
        "an SFT_STOPPED_RUN constant",
        [
            (SFT_STOPPED_RUN_REFUSE, .refuse), (SFT_STOPPED_RUN_OVERWRITE, .overwrite),
            (SFT_STOPPED_RUN_RESUME, .resume(force: false)), (SFT_STOPPED_RUN_RESUME_FORCED, .resume(force: true)),
        ])
}
