"""The header, include/qwensft.h, in ctypes. Made by scripts/make_bindings.py (`make bindings`); not to be edited."""

from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, Dict, List, Literal, Optional, Tuple

VERSION = "0.2.0"


class StatusResult(c_int32):
    """The result of functions that can fail."""


Status = Literal[
    "ok",
    "invalid_argument",
    "not_found",
    "io",
    "invalid_file",
    "unsupported",
    "out_of_memory",
    "no_supervised_tokens",
    "too_long",
    "buffer_too_small",
    "non_finite",
    "cancelled",
    "busy",
]
STATUSES: Dict[Status, int] = {
    "ok": 0,
    "invalid_argument": 1,
    "not_found": 2,
    "io": 3,
    "invalid_file": 4,
    "unsupported": 5,
    "out_of_memory": 6,
    "no_supervised_tokens": 7,
    "too_long": 8,
    "buffer_too_small": 9,
    "non_finite": 10,
    "cancelled": 11,
    "busy": 12,
}


class Text(Structure):
    _fields_ = [("data", c_char_p), ("size", c_size_t)]


class TokenizerObject(Structure):
    pass


TokenizerPointer = POINTER(TokenizerObject)


class TokenizerInfo(Structure):
    _fields_ = [
        ("vocabulary_size", c_size_t),
        ("count", c_size_t),
        ("model_max_length", c_size_t),
        ("eos_token_id", c_int32),
        ("pad_token_id", c_int32),
        ("added_tokens", c_size_t),
    ]


class AddedToken(Structure):
    _fields_ = [("id", c_int32), ("is_special", c_int32)]


class DecoderObject(Structure):
    pass


DecoderPointer = POINTER(DecoderObject)


class Message(Structure):
    _fields_ = [
        ("role", c_char_p),
        ("role_size", c_size_t),
        ("content", c_char_p),
        ("content_size", c_size_t),
        ("weight", c_double),
        ("fields", c_char_p),
        ("fields_size", c_size_t),
    ]


ChatTemplate = Literal["chatml"]
CHAT_TEMPLATES: Dict[Optional[ChatTemplate], int] = {None: 0, "chatml": 1}


class ChatOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("add_generation_prompt", c_int32),
        ("split_special_tokens", c_int32),
        ("chat_template", c_int32),
        ("reserved", c_int32),
    ]


class BatchObject(Structure):
    pass


BatchPointer = POINTER(BatchObject)

LabelPolicy = Literal[
    "qwen",
    "assistant",
    "assistant_content",
    "assistant_newline",
    "last_assistant",
    "all",
    "generation",
]
LABEL_POLICIES: Dict[LabelPolicy, int] = {
    "qwen": 0,
    "assistant": 1,
    "assistant_content": 2,
    "assistant_newline": 3,
    "last_assistant": 4,
    "all": 5,
    "generation": 6,
}


class PreprocessOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("max_length", c_size_t),
        ("label_policy", c_int32),
        ("split_special_tokens", c_int32),
        ("add_default_system", c_int32),
        ("chat_template", c_int32),
        ("context_length", c_size_t),
    ]


class EncodeOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("max_length", c_size_t),
        ("min_columns", c_size_t),
        ("pad_to_multiple_of", c_size_t),
        ("split_special_tokens", c_int32),
        ("reserved", c_int32),
    ]


class BatchView(Structure):
    _fields_ = [
        ("rows", c_size_t),
        ("columns", c_size_t),
        ("input_ids", POINTER(c_int64)),
        ("labels", POINTER(c_int64)),
        ("attention_mask", POINTER(c_int64)),
        ("token_weights", POINTER(c_float)),
        ("conversations", POINTER(c_size_t)),
    ]


class ModelObject(Structure):
    pass


ModelPointer = POINTER(ModelObject)

DType = Literal["float32", "bfloat16", "float16", "auto"]
DTYPES: Dict[Optional[DType], int] = {None: 0, "float32": 1, "bfloat16": 2, "float16": 3, "auto": 4}

Quantization = Literal["int8", "lossless", "int6", "int4"]
QUANTIZATIONS: Dict[Optional[Quantization], int] = {None: 0, "int8": 1, "lossless": 2, "int6": 3, "int4": 4}

ProgressCallback = CFUNCTYPE(c_int32, c_void_p, c_uint64, c_uint64)


class ModelOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("dtype", c_int32),
        ("quantization", c_int32),
        ("on_progress", ProgressCallback),
        ("user_data", c_void_p),
    ]


class ModelInfo(Structure):
    _fields_ = [
        ("hidden_size", c_size_t),
        ("intermediate_size", c_size_t),
        ("layers", c_size_t),
        ("heads", c_size_t),
        ("kv_heads", c_size_t),
        ("head_dimension", c_size_t),
        ("vocabulary_size", c_size_t),
        ("context_length", c_size_t),
        ("weights", c_uint64),
        ("dtype", c_int32),
        ("ties_word_embeddings", c_int32),
        ("quantization", c_int32),
        ("reserved", c_int32),
    ]


class SaveOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("dtype", c_int32),
        ("reserved", c_int32),
        ("on_progress", ProgressCallback),
        ("user_data", c_void_p),
    ]


GgufType = Literal["f32", "bf16", "f16", "q8_0"]
GGUF_TYPES: Dict[Optional[GgufType], int] = {None: 0, "f32": 1, "bf16": 2, "f16": 3, "q8_0": 4}


class GgufOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("type", c_int32),
        ("writes_modelfile", c_int32),
        ("on_progress", ProgressCallback),
        ("user_data", c_void_p),
    ]


class GenerationObject(Structure):
    pass


GenerationPointer = POINTER(GenerationObject)


class Piece(Structure):
    _fields_ = [
        ("sample", c_size_t),
        ("text", c_char_p),
        ("text_size", c_size_t),
        ("id", c_int32),
        ("log_probability", c_float),
        ("is_reasoning", c_int32),
        ("reserved", c_int32),
    ]


PieceCallback = CFUNCTYPE(c_int32, c_void_p, POINTER(Piece))


class GenerationOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("max_new_tokens", c_size_t),
        ("do_sample", c_int32),
        ("top_k", c_int32),
        ("temperature", c_float),
        ("top_p", c_float),
        ("min_p", c_float),
        ("repetition_penalty", c_float),
        ("has_seed", c_int32),
        ("log_probabilities", c_int32),
        ("seed", c_uint64),
        ("num_return_sequences", c_size_t),
        ("stop_ids", POINTER(c_int32)),
        ("stop_id_count", c_size_t),
        ("stop_strings", POINTER(Text)),
        ("stop_string_count", c_size_t),
        ("on_piece", PieceCallback),
        ("user_data", c_void_p),
    ]


FinishReason = Literal["stop_id", "stop_string", "length", "context", "cancelled"]
FINISH_REASONS: Dict[FinishReason, int] = {"stop_id": 0, "stop_string": 1, "length": 2, "context": 3, "cancelled": 4}


class Answer(Structure):
    _fields_ = [
        ("ids", POINTER(c_int32)),
        ("id_count", c_size_t),
        ("text", c_char_p),
        ("text_size", c_size_t),
        ("log_probabilities", POINTER(c_float)),
        ("prompt_tokens", c_size_t),
        ("computed_prompt_tokens", c_size_t),
        ("finish_reason", c_int32),
        ("reserved", c_int32),
        ("content", c_char_p),
        ("content_size", c_size_t),
        ("reasoning", c_char_p),
        ("reasoning_size", c_size_t),
        ("tool_calls", c_char_p),
        ("tool_calls_size", c_size_t),
    ]


class SessionObject(Structure):
    pass


SessionPointer = POINTER(SessionObject)


class TrainerObject(Structure):
    pass


TrainerPointer = POINTER(TrainerObject)

AllReduceCallback = CFUNCTYPE(c_int32, c_void_p, POINTER(c_float), c_size_t)


class TrainerOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("max_grad_norm", c_double),
        ("seed", c_uint64),
        ("recomputation", c_int32),
        ("shares_prefixes", c_int32),
        ("decays_vectors", c_int32),
        ("rounds_stochastically", c_int32),
        ("on_progress", ProgressCallback),
        ("user_data", c_void_p),
        ("all_reduce", AllReduceCallback),
        ("rank", c_size_t),
        ("world_size", c_size_t),
        ("check_interval", c_size_t),
        ("loraplus_lr_ratio", c_double),
        ("local_steps", c_size_t),
        ("outer_lr", c_double),
        ("outer_momentum", c_double),
    ]


class SGDOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("lr", c_double),
        ("momentum", c_double),
        ("dampening", c_double),
        ("weight_decay", c_double),
        ("nesterov", c_int32),
        ("reserved", c_int32),
    ]


class AdamWOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("lr", c_double),
        ("beta1", c_double),
        ("beta2", c_double),
        ("eps", c_double),
        ("weight_decay", c_double),
        ("state_bits", c_int32),
        ("reserved", c_int32),
    ]


class StepMetrics(Structure):
    _fields_ = [
        ("loss", c_double),
        ("grad_norm", c_double),
        ("seconds", c_double),
        ("supervised_tokens", c_uint64),
        ("has_grad_norm", c_int32),
    ]


class Parameter(Structure):
    _fields_ = [
        ("name", c_char_p),
        ("name_size", c_size_t),
        ("rank", c_size_t),
        ("shape", c_size_t * 2),
        ("is_trainable", c_int32),
        ("reserved", c_int32),
    ]


Optimizer = Literal["sgd", "sgd_momentum", "adamw", "adamw_8bit"]
OPTIMIZERS: Dict[Optimizer, int] = {"sgd": 0, "sgd_momentum": 1, "adamw": 2, "adamw_8bit": 3}


class MemoryOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("tokens", c_size_t),
        ("supervised_tokens", c_size_t),
        ("accumulation", c_size_t),
        ("dtype", c_int32),
        ("optimizer", c_int32),
        ("clips_gradients", c_int32),
        ("recomputation", c_int32),
        ("quantization", c_int32),
        ("reserved", c_int32),
        ("adapter", c_char_p),
        ("adapter_size", c_size_t),
    ]


class TrainingMemory(Structure):
    _fields_ = [
        ("weights", c_uint64),
        ("gradients", c_uint64),
        ("optimizer", c_uint64),
        ("activations", c_uint64),
        ("total", c_uint64),
        ("available", c_uint64),
    ]


class DatasetObject(Structure):
    pass


DatasetPointer = POINTER(DatasetObject)

DataFormat = Literal["messages", "sharegpt", "alpaca", "prompt_completion"]
DATA_FORMATS: Dict[Optional[DataFormat], int] = {
    None: 0,
    "messages": 1,
    "sharegpt": 2,
    "alpaca": 3,
    "prompt_completion": 4,
}


class DatasetOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("columns", c_char_p),
        ("columns_size", c_size_t),
        ("limit", c_size_t),
        ("format", c_int32),
        ("drops_unusable", c_int32),
        ("is_strict", c_int32),
        ("reserved", c_int32),
    ]


ReadCallback = CFUNCTYPE(c_int64, c_void_p, POINTER(c_char), c_size_t)


class DatasetInfo(Structure):
    _fields_ = [
        ("conversations", c_size_t),
        ("truncated", c_size_t),
        ("without_target", c_size_t),
        ("too_long", c_size_t),
        ("tokens", c_uint64),
        ("supervised_tokens", c_uint64),
        ("read", c_size_t),
        ("duplicates", c_size_t),
        ("control_tokens", c_size_t),
        ("rows", c_size_t),
        ("shortest", c_size_t),
        ("median", c_size_t),
        ("percentile_95", c_size_t),
        ("longest", c_size_t),
        ("roles", c_size_t),
    ]


DatasetPart = Literal["kept", "truncated", "without_target", "too_long", "duplicates", "control_tokens"]
DATASET_PARTS: Dict[DatasetPart, int] = {
    "kept": 0,
    "truncated": 1,
    "without_target": 2,
    "too_long": 3,
    "duplicates": 4,
    "control_tokens": 5,
}


class DatasetRole(Structure):
    _fields_ = [("name", c_char_p), ("name_size", c_size_t), ("messages", c_size_t)]


Schedule = Literal["constant", "linear", "cosine"]
SCHEDULES: Dict[Schedule, int] = {"constant": 0, "linear": 1, "cosine": 2}

StoppedRun = Literal["refuse", "overwrite", "resume", "resume_forced"]
STOPPED_RUNS: Dict[StoppedRun, int] = {"refuse": 0, "overwrite": 1, "resume": 2, "resume_forced": 3}


class RunOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("epochs", c_double),
        ("batch_size", c_size_t),
        ("accumulation", c_size_t),
        ("max_batch_tokens", c_size_t),
        ("warmup_steps", c_size_t),
        ("seed", c_uint64),
        ("schedule", c_int32),
        ("shuffles", c_int32),
        ("max_steps", c_size_t),
        ("warmup_ratio", c_double),
        ("max_refused_steps", c_size_t),
        ("validation", DatasetPointer),
        ("tokenizer", TokenizerPointer),
        ("prompts", POINTER(Text)),
        ("prompt_count", c_size_t),
        ("max_answer_tokens", c_size_t),
        ("evaluate_every", c_size_t),
        ("patience", c_size_t),
        ("max_seconds", c_double),
        ("probes_forgetting", c_int32),
        ("writes_last", c_int32),
        ("output", c_char_p),
        ("output_size", c_size_t),
        ("save_every", c_size_t),
        ("keep_last", c_size_t),
        ("stopped", c_int32),
        ("reserved", c_int32),
        ("log_directory", c_char_p),
        ("log_directory_size", c_size_t),
        ("tokens_per_step", c_size_t),
    ]


class RunObject(Structure):
    pass


RunPointer = POINTER(RunObject)


class RunInfo(Structure):
    _fields_ = [
        ("step", c_size_t),
        ("total_steps", c_size_t),
        ("steps_per_epoch", c_size_t),
        ("refused_steps", c_size_t),
        ("best_step", c_size_t),
        ("best_loss", c_double),
        ("lr", c_double),
        ("seconds_left", c_double),
        ("has_ended", c_int32),
        ("reserved", c_int32),
    ]


class RunStep(Structure):
    _fields_ = [
        ("step", c_size_t),
        ("total_steps", c_size_t),
        ("epoch", c_size_t),
        ("conversations", c_size_t),
        ("tokens", c_size_t),
        ("lr", c_double),
        ("loss", c_double),
        ("grad_norm", c_double),
        ("seconds", c_double),
        ("supervised_tokens", c_uint64),
        ("has_grad_norm", c_int32),
        ("is_refused", c_int32),
    ]


RunEventKind = Literal["step", "evaluation", "answer", "warning", "saved", "ended"]
RUN_EVENT_KINDS: Dict[Optional[RunEventKind], int] = {
    None: 0,
    "step": 1,
    "evaluation": 2,
    "answer": 3,
    "warning": 4,
    "saved": 5,
    "ended": 6,
}


class RunEvent(Structure):
    _fields_ = [
        ("kind", c_int32),
        ("is_general", c_int32),
        ("step", c_size_t),
        ("total_steps", c_size_t),
        ("epoch", c_size_t),
        ("conversations", c_size_t),
        ("tokens", c_size_t),
        ("lr", c_double),
        ("loss", c_double),
        ("grad_norm", c_double),
        ("seconds", c_double),
        ("supervised_tokens", c_uint64),
        ("has_grad_norm", c_int32),
        ("is_refused", c_int32),
        ("end_of_turn_probability", c_double),
        ("seconds_left", c_double),
        ("text", c_char_p),
        ("text_size", c_size_t),
        ("prompt", c_char_p),
        ("prompt_size", c_size_t),
    ]


WarningCallback = CFUNCTYPE(None, c_void_p, POINTER(c_char), c_size_t)

PROTOTYPES: Dict[str, Tuple[Any, List[Any]]] = {
    "sft_last_error": (c_char_p, []),
    "sft_status_name": (c_char_p, [c_int32]),
    "sft_version": (c_uint32, []),
    "sft_version_string": (c_char_p, []),
    "sft_tokenizer_open": (StatusResult, [c_char_p, c_size_t, POINTER(TokenizerPointer)]),
    "sft_tokenizer_free": (None, [TokenizerPointer]),
    "sft_tokenizer_get_info": (StatusResult, [TokenizerPointer, POINTER(TokenizerInfo), c_size_t]),
    "sft_tokenizer_summary": (StatusResult, [TokenizerPointer, POINTER(c_char), c_size_t, POINTER(c_size_t)]),
    "sft_tokenizer_encode": (StatusResult, [
        TokenizerPointer,
        c_char_p,
        c_size_t,
        c_int32,
        POINTER(c_int32),
        c_size_t,
        POINTER(c_size_t),
    ]),
    "sft_tokenizer_encode_texts": (StatusResult, [
        TokenizerPointer,
        POINTER(Text),
        c_size_t,
        c_int32,
        POINTER(c_int32),
        c_size_t,
        POINTER(c_size_t),
        POINTER(c_size_t),
    ]),
    "sft_tokenizer_decode": (StatusResult, [
        TokenizerPointer,
        POINTER(c_int32),
        c_size_t,
        c_int32,
        POINTER(c_char),
        c_size_t,
        POINTER(c_size_t),
    ]),
    "sft_tokenizer_token_to_id": (StatusResult, [TokenizerPointer, c_char_p, c_size_t, POINTER(c_int32)]),
    "sft_tokenizer_id_to_token": (StatusResult, [
        TokenizerPointer,
        c_int32,
        POINTER(c_char),
        c_size_t,
        POINTER(c_size_t),
    ]),
    "sft_tokenizer_get_added_token": (StatusResult, [TokenizerPointer, c_size_t, POINTER(AddedToken), c_size_t]),
    "sft_decoder_create": (StatusResult, [TokenizerPointer, c_int32, POINTER(DecoderPointer)]),
    "sft_decoder_free": (None, [DecoderPointer]),
    "sft_decoder_append": (StatusResult, [DecoderPointer, c_int32, POINTER(c_char), c_size_t, POINTER(c_size_t)]),
    "sft_decoder_finish": (StatusResult, [DecoderPointer, POINTER(c_char), c_size_t, POINTER(c_size_t)]),
    "sft_tokenizer_with_chat_template": (StatusResult, [
        TokenizerPointer,
        c_char_p,
        c_size_t,
        c_char_p,
        c_size_t,
        POINTER(TokenizerPointer),
    ]),
    "sft_chat_options_init": (StatusResult, [POINTER(ChatOptions), c_size_t]),
    "sft_render_chat_template": (StatusResult, [
        TokenizerPointer,
        POINTER(Message),
        c_size_t,
        c_size_t,
        POINTER(ChatOptions),
        POINTER(c_char),
        c_size_t,
        POINTER(c_size_t),
    ]),
    "sft_apply_chat_template": (StatusResult, [
        TokenizerPointer,
        POINTER(Message),
        c_size_t,
        c_size_t,
        POINTER(ChatOptions),
        POINTER(c_int32),
        c_size_t,
        POINTER(c_size_t),
    ]),
    "sft_preprocess_options_init": (StatusResult, [POINTER(PreprocessOptions), c_size_t]),
    "sft_preprocess": (StatusResult, [
        TokenizerPointer,
        POINTER(Message),
        c_size_t,
        POINTER(c_size_t),
        c_size_t,
        POINTER(PreprocessOptions),
        POINTER(BatchPointer),
    ]),
    "sft_encode_options_init": (StatusResult, [POINTER(EncodeOptions), c_size_t]),
    "sft_encode_batch": (StatusResult, [
        TokenizerPointer,
        POINTER(Text),
        c_size_t,
        POINTER(EncodeOptions),
        POINTER(BatchPointer),
    ]),
    "sft_batch_create": (StatusResult, [
        c_size_t,
        c_size_t,
        POINTER(c_int64),
        POINTER(c_int64),
        POINTER(c_int64),
        POINTER(c_float),
        POINTER(BatchPointer),
    ]),
    "sft_batch_free": (None, [BatchPointer]),
    "sft_batch_get_view": (StatusResult, [BatchPointer, POINTER(BatchView), c_size_t]),
    "sft_model_options_init": (StatusResult, [POINTER(ModelOptions), c_size_t]),
    "sft_model_open": (StatusResult, [c_char_p, c_size_t, POINTER(ModelOptions), POINTER(ModelPointer)]),
    "sft_model_free": (None, [ModelPointer]),
    "sft_model_clone": (StatusResult, [ModelPointer, POINTER(ModelPointer)]),
    "sft_model_copy_from": (StatusResult, [ModelPointer, ModelPointer]),
    "sft_model_get_info": (StatusResult, [ModelPointer, POINTER(ModelInfo), c_size_t]),
    "sft_model_forward": (StatusResult, [
        ModelPointer,
        c_size_t,
        c_size_t,
        POINTER(c_int64),
        POINTER(c_int64),
        POINTER(c_float),
        c_size_t,
        POINTER(c_size_t),
    ]),
    "sft_save_options_init": (StatusResult, [POINTER(SaveOptions), c_size_t]),
    "sft_model_save": (StatusResult, [ModelPointer, c_char_p, c_size_t, POINTER(SaveOptions)]),
    "sft_model_check_destination": (StatusResult, [ModelPointer, c_char_p, c_size_t, POINTER(SaveOptions)]),
    "sft_gguf_options_init": (StatusResult, [POINTER(GgufOptions), c_size_t]),
    "sft_model_save_gguf": (StatusResult, [ModelPointer, c_char_p, c_size_t, POINTER(GgufOptions)]),
    "sft_model_add_adapter": (StatusResult, [ModelPointer, c_char_p, c_size_t, c_char_p, c_size_t, c_uint64]),
    "sft_model_load_adapter": (StatusResult, [ModelPointer, c_char_p, c_size_t, c_char_p, c_size_t]),
    "sft_model_save_adapter": (StatusResult, [ModelPointer, c_char_p, c_size_t, c_char_p, c_size_t]),
    "sft_model_save_adapter_gguf": (StatusResult, [ModelPointer, c_char_p, c_size_t, c_char_p, c_size_t]),
    "sft_model_set_adapter": (StatusResult, [ModelPointer, c_char_p, c_size_t]),
    "sft_model_delete_adapter": (StatusResult, [ModelPointer, c_char_p, c_size_t]),
    "sft_model_merge_adapter": (StatusResult, [ModelPointer, c_char_p, c_size_t]),
    "sft_model_count_adapters": (StatusResult, [ModelPointer, POINTER(c_size_t)]),
    "sft_model_get_adapter_name": (StatusResult, [
        ModelPointer,
        c_size_t,
        POINTER(c_char),
        c_size_t,
        POINTER(c_size_t),
    ]),
    "sft_model_get_active_adapter": (StatusResult, [ModelPointer, POINTER(c_char), c_size_t, POINTER(c_size_t)]),
    "sft_generation_options_init": (StatusResult, [POINTER(GenerationOptions), c_size_t]),
    "sft_model_generate": (StatusResult, [
        ModelPointer,
        POINTER(c_int32),
        c_size_t,
        POINTER(GenerationOptions),
        POINTER(GenerationPointer),
    ]),
    "sft_model_chat": (StatusResult, [
        ModelPointer,
        TokenizerPointer,
        POINTER(Message),
        c_size_t,
        c_size_t,
        POINTER(GenerationOptions),
        POINTER(GenerationPointer),
    ]),
    "sft_model_stop_generating": (StatusResult, [ModelPointer]),
    "sft_generation_free": (None, [GenerationPointer]),
    "sft_generation_ids": (POINTER(c_int32), [GenerationPointer, POINTER(c_size_t)]),
    "sft_generation_text": (c_char_p, [GenerationPointer, POINTER(c_size_t)]),
    "sft_finish_reason_name": (c_char_p, [c_int32]),
    "sft_generation_count": (c_size_t, [GenerationPointer]),
    "sft_generation_get_answer": (StatusResult, [GenerationPointer, c_size_t, POINTER(Answer), c_size_t]),
    "sft_session_create": (StatusResult, [
        ModelPointer,
        TokenizerPointer,
        POINTER(Message),
        c_size_t,
        c_size_t,
        c_int32,
        POINTER(SessionPointer),
    ]),
    "sft_session_free": (None, [SessionPointer]),
    "sft_session_send": (StatusResult, [
        SessionPointer,
        c_char_p,
        c_size_t,
        POINTER(GenerationOptions),
        POINTER(GenerationPointer),
    ]),
    "sft_session_stop": (StatusResult, [SessionPointer]),
    "sft_session_append": (StatusResult, [SessionPointer, POINTER(Message), c_size_t, c_size_t]),
    "sft_session_replace_answer": (StatusResult, [SessionPointer, c_char_p, c_size_t]),
    "sft_session_go_back": (StatusResult, [SessionPointer, POINTER(c_int32)]),
    "sft_session_reset": (StatusResult, [SessionPointer]),
    "sft_session_message_count": (c_size_t, [SessionPointer]),
    "sft_session_get_message": (StatusResult, [SessionPointer, c_size_t, POINTER(Message), c_size_t]),
    "sft_trainer_options_init": (StatusResult, [POINTER(TrainerOptions), c_size_t]),
    "sft_sgd_options_init": (StatusResult, [POINTER(SGDOptions), c_size_t]),
    "sft_trainer_create_sgd": (StatusResult, [
        ModelPointer,
        POINTER(SGDOptions),
        POINTER(TrainerOptions),
        POINTER(TrainerPointer),
    ]),
    "sft_adamw_options_init": (StatusResult, [POINTER(AdamWOptions), c_size_t]),
    "sft_trainer_create_adamw": (StatusResult, [
        ModelPointer,
        POINTER(AdamWOptions),
        POINTER(TrainerOptions),
        POINTER(TrainerPointer),
    ]),
    "sft_trainer_free": (None, [TrainerPointer]),
    "sft_trainer_stop": (StatusResult, [TrainerPointer]),
    "sft_trainer_set_lr": (StatusResult, [TrainerPointer, c_double]),
    "sft_trainer_get_lr": (StatusResult, [TrainerPointer, POINTER(c_double)]),
    "sft_trainer_get_step_count": (StatusResult, [TrainerPointer, POINTER(c_uint64)]),
    "sft_train_step": (StatusResult, [TrainerPointer, BatchPointer, POINTER(StepMetrics), c_size_t]),
    "sft_train_step_accumulated": (StatusResult, [
        TrainerPointer,
        POINTER(BatchPointer),
        c_size_t,
        POINTER(StepMetrics),
        c_size_t,
    ]),
    "sft_evaluate": (StatusResult, [TrainerPointer, BatchPointer, POINTER(StepMetrics), c_size_t]),
    "sft_evaluate_accumulated": (StatusResult, [
        TrainerPointer,
        POINTER(BatchPointer),
        c_size_t,
        POINTER(StepMetrics),
        c_size_t,
    ]),
    "sft_row_losses": (StatusResult, [TrainerPointer, BatchPointer, POINTER(c_double), c_size_t, POINTER(c_size_t)]),
    "sft_token_losses": (StatusResult, [TrainerPointer, BatchPointer, POINTER(c_float), c_size_t, POINTER(c_size_t)]),
    "sft_trainer_parameter_count": (c_size_t, [TrainerPointer]),
    "sft_trainer_get_parameter": (StatusResult, [TrainerPointer, c_size_t, POINTER(Parameter), c_size_t]),
    "sft_gradient_norms": (StatusResult, [
        TrainerPointer,
        BatchPointer,
        POINTER(c_double),
        c_size_t,
        POINTER(c_size_t),
    ]),
    "sft_trainer_save_state": (StatusResult, [TrainerPointer, c_char_p, c_size_t]),
    "sft_trainer_load_state": (StatusResult, [TrainerPointer, c_char_p, c_size_t]),
    "sft_memory_options_init": (StatusResult, [POINTER(MemoryOptions), c_size_t]),
    "sft_estimate_training_memory": (StatusResult, [
        c_char_p,
        c_size_t,
        POINTER(MemoryOptions),
        POINTER(TrainingMemory),
        c_size_t,
    ]),
    "sft_dataset_options_init": (StatusResult, [POINTER(DatasetOptions), c_size_t]),
    "sft_dataset_create": (StatusResult, [
        TokenizerPointer,
        POINTER(Message),
        c_size_t,
        POINTER(c_size_t),
        c_size_t,
        POINTER(PreprocessOptions),
        POINTER(DatasetOptions),
        POINTER(DatasetPointer),
    ]),
    "sft_dataset_open": (StatusResult, [
        TokenizerPointer,
        c_char_p,
        c_size_t,
        POINTER(PreprocessOptions),
        POINTER(DatasetOptions),
        POINTER(DatasetPointer),
    ]),
    "sft_dataset_read": (StatusResult, [
        TokenizerPointer,
        ReadCallback,
        c_void_p,
        POINTER(PreprocessOptions),
        POINTER(DatasetOptions),
        POINTER(DatasetPointer),
    ]),
    "sft_dataset_free": (None, [DatasetPointer]),
    "sft_dataset_get_info": (StatusResult, [DatasetPointer, POINTER(DatasetInfo), c_size_t]),
    "sft_dataset_lines": (StatusResult, [DatasetPointer, c_int32, POINTER(c_size_t), c_size_t, POINTER(c_size_t)]),
    "sft_dataset_get_role": (StatusResult, [DatasetPointer, c_size_t, POINTER(DatasetRole), c_size_t]),
    "sft_dataset_describe": (StatusResult, [DatasetPointer, POINTER(c_char), c_size_t, POINTER(c_size_t)]),
    "sft_dataset_batch": (StatusResult, [DatasetPointer, POINTER(c_size_t), c_size_t, POINTER(BatchPointer)]),
    "sft_dataset_split": (StatusResult, [
        DatasetPointer,
        c_double,
        c_uint64,
        POINTER(DatasetPointer),
        POINTER(DatasetPointer),
    ]),
    "sft_run_options_init": (StatusResult, [POINTER(RunOptions), c_size_t]),
    "sft_recipe_init": (StatusResult, [
        ModelPointer,
        POINTER(AdamWOptions),
        c_size_t,
        POINTER(SGDOptions),
        c_size_t,
        POINTER(TrainerOptions),
        c_size_t,
    ]),
    "sft_evaluate_dataset": (StatusResult, [
        TrainerPointer,
        DatasetPointer,
        POINTER(RunOptions),
        POINTER(StepMetrics),
        c_size_t,
    ]),
    "sft_run_create": (StatusResult, [TrainerPointer, DatasetPointer, POINTER(RunOptions), POINTER(RunPointer)]),
    "sft_run_free": (None, [RunPointer]),
    "sft_run_get_info": (StatusResult, [RunPointer, POINTER(RunInfo), c_size_t]),
    "sft_run_next": (StatusResult, [RunPointer, POINTER(RunStep), c_size_t]),
    "sft_run_next_event": (StatusResult, [RunPointer, POINTER(RunEvent), c_size_t]),
    "sft_run_end": (StatusResult, [RunPointer]),
    "sft_run_save_result": (StatusResult, [RunPointer, c_char_p, c_size_t, c_int32]),
    "sft_run_save_checkpoint": (StatusResult, [RunPointer]),
    "sft_run_set_lr": (StatusResult, [RunPointer, c_double]),
    "sft_run_snapshot": (StatusResult, [RunPointer]),
    "sft_run_roll_back": (StatusResult, [RunPointer]),
    "sft_run_history": (StatusResult, [RunPointer, POINTER(c_char), c_size_t, POINTER(c_size_t)]),
    "sft_run_evaluate": (StatusResult, [RunPointer, DatasetPointer, POINTER(StepMetrics), c_size_t]),
    "sft_run_losses": (StatusResult, [RunPointer, POINTER(c_double), c_size_t, POINTER(c_size_t)]),
    "sft_run_save_state": (StatusResult, [RunPointer, c_char_p, c_size_t]),
    "sft_run_load_state": (StatusResult, [RunPointer, c_char_p, c_size_t]),
    "sft_run_save_report": (StatusResult, [RunPointer, c_char_p, c_size_t, c_char_p, c_size_t]),
    "sft_run_svg": (StatusResult, [RunPointer, c_char_p, c_size_t, POINTER(c_char), c_size_t, POINTER(c_size_t)]),
    "sft_loss_curve_svg": (StatusResult, [
        POINTER(c_double),
        c_size_t,
        POINTER(c_size_t),
        POINTER(c_double),
        c_size_t,
        c_char_p,
        c_size_t,
        POINTER(c_char),
        c_size_t,
        POINTER(c_size_t),
    ]),
    "sft_model_parameter_count": (c_size_t, [ModelPointer]),
    "sft_model_get_parameter": (StatusResult, [ModelPointer, c_size_t, POINTER(Parameter), c_size_t]),
    "sft_model_read_parameter": (StatusResult, [ModelPointer, c_size_t, POINTER(c_float), c_size_t, POINTER(c_size_t)]),
    "sft_model_write_parameter": (StatusResult, [ModelPointer, c_size_t, POINTER(c_float), c_size_t]),
    "sft_model_set_trainable": (StatusResult, [ModelPointer, c_char_p, c_size_t, c_int32, POINTER(c_size_t)]),
    "sft_thread_count": (c_size_t, []),
    "sft_set_thread_count": (StatusResult, [c_size_t]),
    "sft_isa": (c_char_p, []),
    "sft_set_max_isa": (StatusResult, [c_char_p, c_size_t]),
    "sft_set_warning_callback": (StatusResult, [WarningCallback, c_void_p]),
}
