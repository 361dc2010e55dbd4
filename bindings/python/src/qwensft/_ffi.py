"""The header, include/qwensft.h, in ctypes: its structs, its prototypes, in its order. Nothing else."""

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
    cast,
    sizeof,
    string_at,
)

from ._library import load
from .errors import exception_for


class Status(c_int32):
    """The return type of functions that can fail; what is not SFT_OK is raised as an exception."""


def _opaque(name):
    return POINTER(type(name, (Structure,), {}))


TokenizerPointer = _opaque("sft_tokenizer")
DecoderPointer = _opaque("sft_decoder")
BatchPointer = _opaque("sft_batch")
ModelPointer = _opaque("sft_model")
GenerationPointer = _opaque("sft_generation")
TrainerPointer = _opaque("sft_trainer")
SessionPointer = _opaque("sft_session")
DatasetPointer = _opaque("sft_dataset")
RunPointer = _opaque("sft_run")


class Text(Structure):
    _fields_ = [("data", c_char_p), ("size", c_size_t)]


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


class Message(Structure):
    _fields_ = [
        ("role", c_char_p),
        ("role_size", c_size_t),
        ("content", c_char_p),
        ("content_size", c_size_t),
        ("weight", c_double),
    ]


def message_text(message: Message, name: str) -> str:
    """A text of a message that the library lends; a c_char_p field by itself would end at a NUL."""
    place = c_void_p.from_buffer(message, getattr(Message, name).offset).value
    return string_at(place, getattr(message, name + "_size")).decode() if place else ""


CHAT_TEMPLATES = {None: 0, "chatml": 1}


class ChatOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("add_generation_prompt", c_int32),
        ("split_special_tokens", c_int32),
        ("chat_template", c_int32),
        ("reserved", c_int32),
    ]


LABEL_POLICIES = {
    "qwen": 0,
    "assistant": 1,
    "assistant_content": 2,
    "assistant_newline": 3,
    "last_assistant": 4,
    "all": 5,
}


class PreprocessOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("max_length", c_size_t),
        ("label_policy", c_int32),
        ("split_special_tokens", c_int32),
        ("add_default_system", c_int32),
        ("chat_template", c_int32),
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
    ]


DTYPES = {None: 0, "float32": 1, "bfloat16": 2, "float16": 3}


QUANTIZATIONS = {None: 0, "int8": 1, "packed": 2, "int6": 3}
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


class Piece(Structure):
    _fields_ = [
        ("sample", c_size_t),
        ("text", POINTER(c_char)),
        ("text_size", c_size_t),
        ("id", c_int32),
        ("log_probability", c_float),
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


FINISH_REASONS = {"stop_id": 0, "stop_string": 1, "length": 2, "context": 3, "cancelled": 4}


class Answer(Structure):
    _fields_ = [
        ("ids", POINTER(c_int32)),
        ("id_count", c_size_t),
        ("text", POINTER(c_char)),
        ("text_size", c_size_t),
        ("log_probabilities", POINTER(c_float)),
        ("prompt_tokens", c_size_t),
        ("computed_prompt_tokens", c_size_t),
        ("finish_reason", c_int32),
        ("reserved", c_int32),
    ]


CancelCallback = CFUNCTYPE(c_int32, c_void_p)


class TrainerOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("max_grad_norm", c_double),
        ("seed", c_uint64),
        ("recomputation", c_int32),
        ("shares_prefixes", c_int32),
        ("decays_vectors", c_int32),
        ("rounds_stochastically", c_int32),
        ("should_cancel", CancelCallback),
        ("user_data", c_void_p),
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
    ]


class StepMetrics(Structure):
    _fields_ = [
        ("loss", c_double),
        ("grad_norm", c_double),
        ("seconds", c_double),
        ("supervised_tokens", c_uint64),
        ("has_grad_norm", c_int32),
    ]


class DatasetInfo(Structure):
    _fields_ = [
        ("conversations", c_size_t),
        ("truncated", c_size_t),
        ("without_target", c_size_t),
        ("too_long", c_size_t),
        ("tokens", c_uint64),
        ("supervised_tokens", c_uint64),
    ]


SCHEDULES = {"constant": 0, "linear": 1, "cosine": 2}


class RunOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("epochs", c_size_t),
        ("batch_size", c_size_t),
        ("accumulation", c_size_t),
        ("max_batch_tokens", c_size_t),
        ("warmup_steps", c_size_t),
        ("seed", c_uint64),
        ("schedule", c_int32),
        ("shuffles", c_int32),
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


class Parameter(Structure):
    _fields_ = [
        ("name", c_char_p),
        ("name_size", c_size_t),
        ("rank", c_size_t),
        ("shape", c_size_t * 2),
        ("is_trainable", c_int32),
        ("reserved", c_int32),
    ]


def address(pointer) -> int:
    """Where a pointer points, 0 for NULL."""
    return cast(pointer, c_void_p).value or 0


WarningCallback = CFUNCTYPE(None, c_void_p, POINTER(c_char), c_size_t)

_size = POINTER(c_size_t)
_text_in = [c_char_p, c_size_t]
_text_out = [POINTER(c_char), c_size_t, _size]
_ids_in = [POINTER(c_int32), c_size_t]
_ids_out = [POINTER(c_int32), c_size_t, _size]
_dataset_out = [c_int32, POINTER(DatasetPointer)]
_batches = [POINTER(BatchPointer), c_size_t]
_messages = [POINTER(Message), c_size_t, c_size_t]

PROTOTYPES = {
    # 1. Status and version
    "sft_last_error": (c_char_p, []),
    "sft_status_name": (c_char_p, [c_int32]),
    "sft_version": (c_uint32, []),
    "sft_version_string": (c_char_p, []),
    # 2. Tokenizer
    "sft_tokenizer_open": (Status, [*_text_in, POINTER(TokenizerPointer)]),
    "sft_tokenizer_free": (None, [TokenizerPointer]),
    "sft_tokenizer_get_info": (Status, [TokenizerPointer, POINTER(TokenizerInfo), c_size_t]),
    "sft_tokenizer_summary": (Status, [TokenizerPointer, *_text_out]),
    "sft_tokenizer_encode": (Status, [TokenizerPointer, *_text_in, c_int32, *_ids_out]),
    "sft_tokenizer_decode": (Status, [TokenizerPointer, *_ids_in, c_int32, *_text_out]),
    "sft_tokenizer_token_to_id": (Status, [TokenizerPointer, *_text_in, POINTER(c_int32)]),
    "sft_tokenizer_id_to_token": (Status, [TokenizerPointer, c_int32, *_text_out]),
    "sft_tokenizer_get_added_token": (Status, [TokenizerPointer, c_size_t, POINTER(AddedToken), c_size_t]),
    "sft_decoder_create": (Status, [TokenizerPointer, c_int32, POINTER(DecoderPointer)]),
    "sft_decoder_free": (None, [DecoderPointer]),
    "sft_decoder_append": (Status, [DecoderPointer, c_int32, *_text_out]),
    "sft_decoder_finish": (Status, [DecoderPointer, *_text_out]),
    # 3. Chat template
    "sft_chat_options_init": (Status, [POINTER(ChatOptions), c_size_t]),
    "sft_render_chat_template": (Status, [TokenizerPointer, *_messages, POINTER(ChatOptions), *_text_out]),
    "sft_apply_chat_template": (Status, [TokenizerPointer, *_messages, POINTER(ChatOptions), *_ids_out]),
    # 4. Batch
    "sft_preprocess_options_init": (Status, [POINTER(PreprocessOptions), c_size_t]),
    "sft_preprocess": (
        Status,
        [
            TokenizerPointer,
            POINTER(Message),
            c_size_t,
            _size,
            c_size_t,
            POINTER(PreprocessOptions),
            POINTER(BatchPointer),
        ],
    ),
    "sft_encode_options_init": (Status, [POINTER(EncodeOptions), c_size_t]),
    "sft_encode_batch": (
        Status,
        [TokenizerPointer, POINTER(Text), c_size_t, POINTER(EncodeOptions), POINTER(BatchPointer)],
    ),
    "sft_batch_create": (
        Status,
        [
            c_size_t,
            c_size_t,
            POINTER(c_int64),
            POINTER(c_int64),
            POINTER(c_int64),
            POINTER(c_float),
            POINTER(BatchPointer),
        ],
    ),
    "sft_batch_free": (None, [BatchPointer]),
    "sft_batch_get_view": (Status, [BatchPointer, POINTER(BatchView), c_size_t]),
    # 5. Model
    "sft_model_options_init": (Status, [POINTER(ModelOptions), c_size_t]),
    "sft_model_open": (Status, [*_text_in, POINTER(ModelOptions), POINTER(ModelPointer)]),
    "sft_model_free": (None, [ModelPointer]),
    "sft_model_clone": (Status, [ModelPointer, POINTER(ModelPointer)]),
    "sft_model_get_info": (Status, [ModelPointer, POINTER(ModelInfo), c_size_t]),
    "sft_model_forward": (
        Status,
        [
            ModelPointer,
            c_size_t,
            c_size_t,
            POINTER(c_int64),
            POINTER(c_int64),
            POINTER(c_float),
            c_size_t,
            _size,
        ],
    ),
    "sft_save_options_init": (Status, [POINTER(SaveOptions), c_size_t]),
    "sft_model_save": (Status, [ModelPointer, *_text_in, POINTER(SaveOptions)]),
    # 6. Generation
    "sft_generation_options_init": (Status, [POINTER(GenerationOptions), c_size_t]),
    "sft_model_generate": (
        Status,
        [ModelPointer, *_ids_in, POINTER(GenerationOptions), POINTER(GenerationPointer)],
    ),
    "sft_model_chat": (
        Status,
        [ModelPointer, TokenizerPointer, *_messages, POINTER(GenerationOptions), POINTER(GenerationPointer)],
    ),
    "sft_model_stop_generating": (Status, [ModelPointer]),
    "sft_generation_free": (None, [GenerationPointer]),
    "sft_generation_ids": (POINTER(c_int32), [GenerationPointer, _size]),
    "sft_generation_text": (POINTER(c_char), [GenerationPointer, _size]),
    "sft_generation_count": (c_size_t, [GenerationPointer]),
    "sft_generation_get_answer": (Status, [GenerationPointer, c_size_t, POINTER(Answer), c_size_t]),
    "sft_session_create": (
        Status,
        [ModelPointer, TokenizerPointer, *_messages, c_int32, POINTER(SessionPointer)],
    ),
    "sft_session_free": (None, [SessionPointer]),
    "sft_session_send": (
        Status,
        [SessionPointer, *_text_in, POINTER(GenerationOptions), POINTER(GenerationPointer)],
    ),
    "sft_session_stop": (Status, [SessionPointer]),
    "sft_session_go_back": (Status, [SessionPointer, POINTER(c_int32)]),
    "sft_session_reset": (Status, [SessionPointer]),
    "sft_session_message_count": (c_size_t, [SessionPointer]),
    "sft_session_get_message": (Status, [SessionPointer, c_size_t, POINTER(Message), c_size_t]),
    # 7. Training
    "sft_trainer_options_init": (Status, [POINTER(TrainerOptions), c_size_t]),
    "sft_sgd_options_init": (Status, [POINTER(SGDOptions), c_size_t]),
    "sft_trainer_create_sgd": (
        Status,
        [ModelPointer, POINTER(SGDOptions), POINTER(TrainerOptions), POINTER(TrainerPointer)],
    ),
    "sft_adamw_options_init": (Status, [POINTER(AdamWOptions), c_size_t]),
    "sft_trainer_create_adamw": (
        Status,
        [ModelPointer, POINTER(AdamWOptions), POINTER(TrainerOptions), POINTER(TrainerPointer)],
    ),
    "sft_trainer_free": (None, [TrainerPointer]),
    "sft_trainer_set_lr": (Status, [TrainerPointer, c_double]),
    "sft_train_step": (Status, [TrainerPointer, BatchPointer, POINTER(StepMetrics), c_size_t]),
    "sft_train_step_accumulated": (Status, [TrainerPointer, *_batches, POINTER(StepMetrics), c_size_t]),
    "sft_evaluate": (Status, [TrainerPointer, BatchPointer, POINTER(StepMetrics), c_size_t]),
    "sft_evaluate_accumulated": (Status, [TrainerPointer, *_batches, POINTER(StepMetrics), c_size_t]),
    "sft_row_losses": (Status, [TrainerPointer, BatchPointer, POINTER(c_double), c_size_t, _size]),
    "sft_token_losses": (Status, [TrainerPointer, BatchPointer, POINTER(c_float), c_size_t, _size]),
    "sft_gradient_norms": (Status, [TrainerPointer, BatchPointer, POINTER(c_double), c_size_t, _size]),
    "sft_trainer_save_state": (Status, [TrainerPointer, *_text_in]),
    "sft_trainer_load_state": (Status, [TrainerPointer, *_text_in]),
    # 8. Runs over a dataset, and the loss curve
    "sft_dataset_create": (
        Status,
        [TokenizerPointer, POINTER(Message), c_size_t, _size, c_size_t, POINTER(PreprocessOptions), *_dataset_out],
    ),
    "sft_dataset_open": (Status, [TokenizerPointer, *_text_in, POINTER(PreprocessOptions), *_dataset_out]),
    "sft_dataset_free": (None, [DatasetPointer]),
    "sft_dataset_get_info": (Status, [DatasetPointer, POINTER(DatasetInfo), c_size_t]),
    "sft_run_options_init": (Status, [POINTER(RunOptions), c_size_t]),
    "sft_run_create": (Status, [TrainerPointer, DatasetPointer, POINTER(RunOptions), POINTER(RunPointer)]),
    "sft_run_free": (None, [RunPointer]),
    "sft_run_next": (Status, [RunPointer, POINTER(RunStep), c_size_t]),
    "sft_run_evaluate": (Status, [RunPointer, DatasetPointer, POINTER(StepMetrics), c_size_t]),
    "sft_run_losses": (Status, [RunPointer, POINTER(c_double), c_size_t, _size]),
    "sft_run_save_state": (Status, [RunPointer, *_text_in]),
    "sft_run_load_state": (Status, [RunPointer, *_text_in]),
    "sft_run_svg": (Status, [RunPointer, *_text_in, *_text_out]),
    "sft_loss_curve_svg": (
        Status,
        [POINTER(c_double), c_size_t, _size, POINTER(c_double), c_size_t, *_text_in, *_text_out],
    ),
    # 9. Parameters
    "sft_model_parameter_count": (c_size_t, [ModelPointer]),
    "sft_model_get_parameter": (Status, [ModelPointer, c_size_t, POINTER(Parameter), c_size_t]),
    "sft_model_read_parameter": (Status, [ModelPointer, c_size_t, POINTER(c_float), c_size_t, _size]),
    "sft_model_write_parameter": (Status, [ModelPointer, c_size_t, POINTER(c_float), c_size_t]),
    "sft_model_set_trainable": (Status, [ModelPointer, *_text_in, c_int32, _size]),
    # 10. The process
    "sft_thread_count": (c_size_t, []),
    "sft_set_thread_count": (Status, [c_size_t]),
    "sft_set_warning_callback": (Status, [WarningCallback, c_void_p]),
}


def _check(status, function, arguments):
    if status.value != 0:
        raise exception_for(status.value, lib.sft_last_error().decode())
    return None


lib = load()
for _name, (_restype, _argtypes) in PROTOTYPES.items():
    _function = getattr(lib, _name)
    _function.restype = _restype
    _function.argtypes = _argtypes
    if _restype is Status:
        _function.errcheck = _check
