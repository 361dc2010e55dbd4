"""The model: open, forward, generate, chat, save."""

import os
from ctypes import byref, c_size_t
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from . import _convert, _ffi
from ._convert import Message
from ._ffi import lib, sizeof
from ._hub import directory_of
from ._handle import Handle, Owner, defaults
from ._header import DType, GgufType, Quantization
from ._interrupt import Interruptible
from .adapter import LoraConfig
from .errors import InvalidArgumentError
from .generation import AnswerPiece, Generation, GenerationOptions, generate, lists_options, stream
from .session import Session
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

Prompt = Union[str, Sequence[Message]]


@dataclass(frozen=True)
class Config:
    """The model's sizes, named as in config.json."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    tie_word_embeddings: bool
    dtype: DType
    quantization: Optional[Quantization]


class Model(Handle):
    """The weights of a Qwen2 or Qwen3 decoder. One thread at a time; a second one gets BusyError."""

    @classmethod
    def from_pretrained(
        cls,
        directory: "Union[str, os.PathLike[str]]",
        dtype: DType = "float32",
        quantization: Optional[Quantization] = None,
        on_progress: Optional[Callable[[int, int], Any]] = None,
    ) -> "Model":
        """Opens a checkpoint directory, or a GGUF file.

        Args:
            directory: or the name of a repository, "Qwen/Qwen2-0.5B-Instruct", which huggingface_hub or modelscope fetches where
                one of them is installed.
            dtype: how weights are kept in memory: "float32", "bfloat16", or "auto": as in the files, in bfloat16 where all matrices
                are and in float32 where they are not.
            quantization: such a model is not saved or changed, only adapters are trained on it, and `dtype` is not looked at. "int8" or
                "int6", "int4": weights are kept in 8, 6 or 4 bits. "lossless": as bfloat16, without loss in 12 bits.
            on_progress: called with the bytes that were read, and all of them; returning True cancels.
        """
        options = defaults(_ffi.ModelOptions, lib.sft_model_options_init)
        options.dtype = _convert.constant(_ffi.DTYPES, dtype, "dtype")
        options.quantization = _convert.constant(_ffi.QUANTIZATIONS, quantization, "quantization")
        data = _convert.path(directory_of(directory, with_weights=True))
        with Interruptible(on_progress) as interruptible:
            options.on_progress = _ffi.ProgressCallback(interruptible)
            return cls(Owner(_ffi.ModelPointer, lib.sft_model_free, lib.sft_model_open, *data, byref(options)))

    def __init__(self, owner: Owner):
        super().__init__(owner)
        info = _ffi.ModelInfo()
        lib.sft_model_get_info(self._pointer, byref(info), sizeof(info))
        self._weights: int = info.weights
        self.config: Config = Config(
            info.hidden_size,
            info.intermediate_size,
            info.layers,
            info.heads,
            info.kv_heads,
            info.head_dimension,
            info.vocabulary_size,
            info.context_length,
            bool(info.ties_word_embeddings),
            {number: name for name, number in _ffi.DTYPES.items() if name}[info.dtype],
            {number: name for name, number in _ffi.QUANTIZATIONS.items()}[info.quantization],
        )

    def num_parameters(self) -> int:
        """Numbers in all parameters together, a tied matrix counted once."""
        return self._weights

    def __repr__(self) -> str:
        return f"Model({self._weights:,} parameters, {self.config})"

    def forward(self, input_ids: Any, attention_mask: Any = None) -> np.ndarray:
        """Logits, float32 (B, T, V).

        Args:
            input_ids: integers (B, T).
            attention_mask: integers (B, T), every row 1s with 0s to the right or the left of them; None: all 1.
        """
        ids = _convert.array(input_ids, "int64", 2, "input_ids")
        mask = None if attention_mask is None else _convert.array(attention_mask, "int64", 2, "attention_mask")
        if mask is not None and mask.shape != ids.shape:
            raise InvalidArgumentError(f"attention_mask has shape {mask.shape}, expected {ids.shape} as input_ids")
        logits = np.empty((*ids.shape, self.config.vocab_size), dtype=np.float32)
        count = c_size_t()
        lib.sft_model_forward(
            self._pointer,
            *ids.shape,
            _convert.pointer(ids),
            _convert.pointer(mask),
            _convert.pointer(logits),
            logits.size,
            byref(count),
        )
        return logits

    @lists_options
    def generate(self, ids: Sequence[int], **options: "Unpack[GenerationOptions]") -> List[int]:
        """Continues a row of ids; the new ids, a stop id at the end included.

        Of the options stop_strings and on_text are for text, which is not made here; num_return_sequences and
        log_probabilities for `generations`.
        """
        return self.generations(ids, **options)[0].ids

    @lists_options
    def generations(self, ids: Sequence[int], **options: "Unpack[GenerationOptions]") -> List[Generation]:
        """As `generate`, with all that is known of every answer."""
        data = _convert.array(ids, "int32", 1, "ids")
        return generate(
            lambda *out: lib.sft_model_generate(self._pointer, _convert.pointer(data), len(data), *out),
            self.stop_generating,
            options,
        )

    @lists_options
    def chat(
        self,
        tokenizer: Tokenizer,
        prompt_or_messages: Prompt,
        tools: Optional[Sequence[Any]] = None,
        chat_template: Optional[str] = None,
        enable_thinking: Optional[bool] = None,
        chat_template_kwargs: Optional[Mapping[str, Any]] = None,
        **options: "Unpack[GenerationOptions]",
    ) -> str:
        """The answer to a prompt, or to a conversation.

        Args:
            tools, chat_template, chat_template_kwargs: as in `Tokenizer.with_chat_template`.
            enable_thinking: the template's argument of that name, where it has one; None: as the template likes.
        """
        answers = self.replies(
            tokenizer, prompt_or_messages, tools, chat_template, enable_thinking, chat_template_kwargs, **options
        )
        return answers[0].text

    @lists_options
    def replies(
        self,
        tokenizer: Tokenizer,
        prompt_or_messages: Prompt,
        tools: Optional[Sequence[Any]] = None,
        chat_template: Optional[str] = None,
        enable_thinking: Optional[bool] = None,
        chat_template_kwargs: Optional[Mapping[str, Any]] = None,
        **options: "Unpack[GenerationOptions]",
    ) -> List[Generation]:
        """As `chat`, with all that is known of every answer."""
        tokenizer = tokenizer._with(chat_template, tools, chat_template_kwargs, enable_thinking)
        if isinstance(prompt_or_messages, str):
            prompt_or_messages = [{"role": "user", "content": prompt_or_messages}]
        data = _convert.messages(prompt_or_messages, "messages")
        return generate(
            lambda *out: lib.sft_model_chat(self._pointer, tokenizer._pointer, *data, *out), self.stop_generating, options
        )

    @lists_options
    def stream_chat(
        self,
        tokenizer: Tokenizer,
        prompt_or_messages: Prompt,
        tools: Optional[Sequence[Any]] = None,
        chat_template: Optional[str] = None,
        enable_thinking: Optional[bool] = None,
        chat_template_kwargs: Optional[Mapping[str, Any]] = None,
        **options: "Unpack[GenerationOptions]",
    ) -> Iterator[AnswerPiece]:
        """As `chat`, piece by piece: `for piece in model.stream_chat(tok, "2+2等于几"): print(piece, end="")`. A piece is a
        str that knows whether the model still thinks (`is_reasoning`).

        A thread of its own generates, and the model is busy until the loop has ended; leaving it early stops that.
        """
        tokenizer = tokenizer._with(chat_template, tools, chat_template_kwargs, enable_thinking)

        def call(on_text: Callable[[AnswerPiece], Any]) -> None:
            merged: GenerationOptions = {**options, "on_text": on_text}
            self.chat(tokenizer, prompt_or_messages, **merged)

        return stream(call)

    @lists_options
    def session(
        self,
        tokenizer: Tokenizer,
        messages: Sequence[Message] = (),
        tools: Optional[Sequence[Any]] = None,
        chat_template: Optional[str] = None,
        enable_thinking: Optional[bool] = None,
        chat_template_kwargs: Optional[Mapping[str, Any]] = None,
        **options: "Unpack[GenerationOptions]",
    ) -> Session:
        """A conversation of several turns, of which each costs its own tokens only.

        Args:
            messages: what it begins with: nothing, a system message, or turns from elsewhere.
            tools, chat_template, enable_thinking, chat_template_kwargs: as in `chat`.
            options: of every turn that does not say otherwise, as in `chat`.
        """
        tokenizer = tokenizer._with(chat_template, tools, chat_template_kwargs, enable_thinking)
        return Session(self, tokenizer, messages, options)

    def stop_generating(self) -> None:
        """Ends the generation that is under way on another thread; without one, does nothing."""
        lib.sft_model_stop_generating(self._pointer)

    def save_pretrained(
        self,
        directory: "Union[str, os.PathLike[str]]",
        dtype: Optional[DType] = None,
        on_progress: Optional[Callable[[int, int], Any]] = None,
    ) -> None:
        """Writes a checkpoint directory that transformers loads as well.

        Adapters are not part of it (`save_adapter`, or `merge_adapter` before): where one is set, a warning says so.

        Args:
            dtype: how weights are written; None: as in the files that the model came from.
            on_progress: called with the bytes that were written, and all of them; returning True cancels, and what was at
                the place before stays.
        """
        options = defaults(_ffi.SaveOptions, lib.sft_save_options_init)
        options.dtype = _convert.constant(_ffi.DTYPES, dtype, "dtype")
        data = _convert.path(directory)
        with Interruptible(on_progress) as interruptible:
            options.on_progress = _ffi.ProgressCallback(interruptible)
            lib.sft_model_save(self._pointer, *data, byref(options))

    def check_destination(
        self, directory: "Union[str, os.PathLike[str]]", dtype: Optional[str] = None
    ) -> None:
        """Raises what `save_pretrained` would raise at this place: better known before hours of training than after them.

        Everything but the weights is written and removed again, and there must be room for the weights.
        """
        options = defaults(_ffi.SaveOptions, lib.sft_save_options_init)
        options.dtype = _convert.constant(_ffi.DTYPES, dtype, "dtype")
        lib.sft_model_check_destination(self._pointer, *_convert.path(directory), byref(options))

    def save_gguf(
        self,
        path: "Union[str, os.PathLike[str]]",
        dtype: Optional[GgufType] = None,
        modelfile: bool = False,
        on_progress: Optional[Callable[[int, int], Any]] = None,
    ) -> None:
        """Writes the model with its tokenizer as one GGUF file, which llama.cpp and ollama open. Adapters are not part of it.

        Args:
            dtype: how matrices are written: "f32", "bf16", "f16" or "q8_0"; None: as in the files that the model came from.
            modelfile: write a file `Modelfile` beside it, for `ollama create NAME -f Modelfile`.
            on_progress: as in `save_pretrained`.
        """
        options = defaults(_ffi.GgufOptions, lib.sft_gguf_options_init)
        options.type = _convert.constant(_ffi.GGUF_TYPES, dtype, "dtype")
        options.writes_modelfile = modelfile
        data = _convert.path(path)
        with Interruptible(on_progress) as interruptible:
            options.on_progress = _ffi.ProgressCallback(interruptible)
            lib.sft_model_save_gguf(self._pointer, *data, byref(options))

    # Adapters

    def add_adapter(self, config: Optional[LoraConfig] = None, name: str = "default") -> None:
        """Adds a new adapter, which changes nothing before it is trained, and sets it."""
        config = config or LoraConfig()
        data = _convert.text(config._json(), "config")
        lib.sft_model_add_adapter(self._pointer, *_convert.text(name, "name"), *data, config.seed)

    def load_adapter(self, directory: "Union[str, os.PathLike[str]]", name: str = "default") -> None:
        """Loads an adapter that PEFT or `save_adapter` has written, from the directory or its sub-directory `name`, and sets it."""
        lib.sft_model_load_adapter(self._pointer, *_convert.text(name, "name"), *_convert.path(directory))

    def save_adapter(self, directory: "Union[str, os.PathLike[str]]", name: str = "default") -> None:
        """Writes an adapter such that PEFT opens it: "default" to the directory, another to its sub-directory `name`."""
        lib.sft_model_save_adapter(self._pointer, *_convert.text(name, "name"), *_convert.path(directory))

    def save_adapter_gguf(self, path: "Union[str, os.PathLike[str]]", name: str = "default") -> None:
        """Writes an adapter as a GGUF file, which llama.cpp adds to its base (`--lora`)."""
        lib.sft_model_save_adapter_gguf(self._pointer, *_convert.text(name, "name"), *_convert.path(path))

    def set_adapter(self, name: Optional[str]) -> None:
        """Sets the adapter that takes part in answers and that a new trainer trains; None: the model is as without."""
        data = (None, 0) if name is None else _convert.text(name, "name")
        lib.sft_model_set_adapter(self._pointer, *data)

    def delete_adapter(self, name: str = "default") -> None:
        """Removes an adapter."""
        lib.sft_model_delete_adapter(self._pointer, *_convert.text(name, "name"))

    def merge_adapter(self, name: str = "default") -> None:
        """Adds what an adapter does to the weights (float32 or bfloat16), and removes it; `save_pretrained` may follow."""
        lib.sft_model_merge_adapter(self._pointer, *_convert.text(name, "name"))

    @property
    def adapters(self) -> List[str]:
        """Names of the adapters, in the order they were added."""
        count = c_size_t()
        lib.sft_model_count_adapters(self._pointer, byref(count))
        return [
            _convert.text_result(partial(lib.sft_model_get_adapter_name, self._pointer, index)) for index in range(count.value)
        ]

    @property
    def active_adapter(self) -> Optional[str]:
        """The name of the adapter that is set."""
        return _convert.text_result(lambda *out: lib.sft_model_get_active_adapter(self._pointer, *out)) or None

    def clone(self) -> "Model":
        """A copy that changes independently, so that one thread can chat with it while another trains this one.

        Where the model has adapters or is quantized, the weights are shared until one of the two is to change its own.
        """
        return Model(Owner(_ffi.ModelPointer, lib.sft_model_free, lib.sft_model_clone, self._pointer))

    def copy_from(self, source: "Model") -> None:
        """Takes over the weights and adapters of another model of the same sizes and dtype: puts back what a clone has set aside."""
        lib.sft_model_copy_from(self._pointer, source._pointer)

    def set_parameter(self, name: str, values: Any) -> None:
        """Replaces a parameter's values; `values` has its shape."""
        shapes = self.parameter_shapes()
        if name not in shapes:
            raise InvalidArgumentError(f"the model has no parameter {name!r}")
        array = _convert.array(values, "float32", len(shapes[name]), name)
        if array.shape != shapes[name]:
            raise InvalidArgumentError(f"{name} has shape {array.shape}, expected {shapes[name]}")
        index = list(shapes).index(name)
        lib.sft_model_write_parameter(self._pointer, index, _convert.pointer(array), array.size)

    def set_trainable(self, pattern: str, trainable: bool = True) -> int:
        """Lets training change the parameters whose names match, or with False freezes them; how many match.

        Args:
            pattern: a name in which * stands for any characters: "model.layers.3.*", "*.bias".
        """
        matched = c_size_t()
        data = _convert.text(pattern, "pattern")
        lib.sft_model_set_trainable(self._pointer, *data, bool(trainable), byref(matched))
        return matched.value

    def named_parameters(self) -> Iterator[Tuple[str, np.ndarray]]:
        """Names as in the checkpoint with copies of the values, float32, one after another."""
        for index, (name, shape) in enumerate(self.parameter_shapes().items()):
            values = np.empty(shape, dtype=np.float32)
            count = c_size_t()
            lib.sft_model_read_parameter(self._pointer, index, _convert.pointer(values), values.size, byref(count))
            yield name, values

    def parameter_shapes(self) -> "dict[str, Tuple[int, ...]]":
        """Names as in the checkpoint, and shapes."""
        shapes = {}
        for index in range(lib.sft_model_parameter_count(self._pointer)):
            parameter = _ffi.Parameter()
            lib.sft_model_get_parameter(self._pointer, index, byref(parameter), sizeof(parameter))
            shapes[parameter.name.decode()] = tuple(parameter.shape[: parameter.rank])
        return shapes
