"""The model: open, forward, generate, chat, save."""

import os
from ctypes import byref, c_size_t, string_at
from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from . import _convert, _ffi
from ._convert import Message
from ._ffi import lib, sizeof
from ._handle import Handle, Owner, defaults
from ._interrupt import Interruptible
from .errors import InvalidArgumentError
from .tokenizer import Tokenizer


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
    dtype: str


class Model(Handle):
    """The weights of a Qwen2 decoder. One thread at a time; a second one gets BusyError."""

    @classmethod
    def from_pretrained(cls, directory: "Union[str, os.PathLike[str]]", dtype: str = "float32") -> "Model":
        """Opens a checkpoint directory.

        Args:
            dtype: how weights are kept in memory: "float32", "bfloat16" or "float16".
        """
        options = defaults(_ffi.ModelOptions, lib.sft_model_options_init)
        options.dtype = _convert.constant(_ffi.DTYPES, dtype, "dtype")
        owner = Owner(
            _ffi.ModelPointer, lib.sft_model_free, lib.sft_model_open, *_convert.path(directory), byref(options)
        )
        return cls(owner)

    def __init__(self, owner: Owner):
        super().__init__(owner)
        info = _ffi.ModelInfo()
        lib.sft_model_get_info(self._pointer, byref(info), sizeof(info))
        self._weights = info.weights
        self.config = Config(
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
            attention_mask: integers (B, T), every row 1s and then 0s; None: all 1.
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

    def generate(
        self,
        ids: Sequence[int],
        max_new_tokens: int = 512,
        do_sample: Optional[bool] = None,
        temperature: Optional[float] = None,
        top_k: Optional[int] = None,
        top_p: Optional[float] = None,
        repetition_penalty: Optional[float] = None,
        seed: Optional[int] = None,
        on_token: Optional[Callable[[int], Any]] = None,
    ) -> List[int]:
        """Continues a row of ids; the new ids, a stop id at the end included.

        None stands for what generation_config.json says.

        Args:
            do_sample: draw tokens (True) or take the likeliest (False).
            seed: the same seed draws the same.
            on_token: called with each new id; returning True ends the generation.
        """
        data = _convert.array(ids, "int32", 1, "ids")
        return self._generate(
            locals(),
            lambda options, out: lib.sft_model_generate(self._pointer, _convert.pointer(data), len(data), options, out),
        )[0]

    def chat(
        self,
        tokenizer: Tokenizer,
        prompt_or_messages: Union[str, Sequence[Message]],
        max_new_tokens: int = 512,
        do_sample: Optional[bool] = None,
        temperature: Optional[float] = None,
        top_k: Optional[int] = None,
        top_p: Optional[float] = None,
        repetition_penalty: Optional[float] = None,
        seed: Optional[int] = None,
        on_token: Optional[Callable[[int], Any]] = None,
    ) -> str:
        """The answer to a prompt, or to a conversation. Arguments as in `generate`."""
        if isinstance(prompt_or_messages, str):
            prompt_or_messages = [{"role": "user", "content": prompt_or_messages}]
        data = _convert.messages(prompt_or_messages, "messages")
        return self._generate(
            locals(),
            lambda options, out: lib.sft_model_chat(self._pointer, tokenizer._pointer, *data, options, out),
        )[1]

    def _generate(self, arguments: dict, call: Callable[[Any, Any], None]) -> Tuple[List[int], str]:
        options = defaults(_ffi.GenerationOptions, lib.sft_generation_options_init)
        if arguments["max_new_tokens"] < 0:
            raise InvalidArgumentError(f"max_new_tokens is {arguments['max_new_tokens']}, expected 0 or more")
        options.max_new_tokens = arguments["max_new_tokens"]
        for name in ("do_sample", "top_k", "temperature", "top_p", "repetition_penalty"):
            if arguments[name] is not None:
                setattr(options, name, arguments[name])
        if arguments["seed"] is not None:
            options.has_seed, options.seed = 1, arguments["seed"]
        with Interruptible(arguments["on_token"]) as interruptible:
            options.on_token = _ffi.TokenCallback(interruptible)
            answer = Owner(_ffi.GenerationPointer, lib.sft_generation_free, call, byref(options))
        count = c_size_t()
        ids = lib.sft_generation_ids(answer.pointer, byref(count))[: count.value]
        text = lib.sft_generation_text(answer.pointer, byref(count))
        return ids, string_at(text, count.value).decode()

    def save_pretrained(self, directory: "Union[str, os.PathLike[str]]", dtype: Optional[str] = None) -> None:
        """Writes a checkpoint directory that transformers loads as well; dtype None: as the files it came from."""
        options = defaults(_ffi.SaveOptions, lib.sft_save_options_init)
        options.dtype = _convert.constant(_ffi.DTYPES, dtype, "dtype")
        lib.sft_model_save(self._pointer, *_convert.path(directory), byref(options))

    def clone(self) -> "Model":
        """A copy with weights of its own, so that one thread can chat with it while another trains this one."""
        return Model(Owner(_ffi.ModelPointer, lib.sft_model_free, lib.sft_model_clone, self._pointer))

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
