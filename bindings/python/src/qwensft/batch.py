"""Conversations as the arrays that a model learns from."""

from ctypes import byref
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from . import _convert, _ffi
from ._convert import Conversations
from ._borrow import batch_arrays
from ._ffi import lib
from ._handle import Handle, Owner, defaults
from ._header import LabelPolicy
from ._html import batch_html
from .errors import InvalidArgumentError
from .tokenizer import Tokenizer


class Batch(Handle):
    """Rows of token ids, what to learn at each, and which are real. Immutable.

    Args:
        input_ids: integers (B, T).
        labels: integers (B, T); -100: not learned.
        attention_mask: integers (B, T), every row 1s with 0s to the right or the left of them; None: all 1.
        token_weights: float32 (B, T), multiplied to the loss at each label; None: all 1.
    """

    def __init__(self, input_ids: Any, labels: Any, attention_mask: Any = None, token_weights: Any = None):
        ids = _convert.array(input_ids, "int64", 2, "input_ids")
        given = {
            "labels": _convert.array(labels, "int64", 2, "labels"),
            "attention_mask": None if attention_mask is None else _convert.array(attention_mask, "int64", 2, "attention_mask"),
            "token_weights": None if token_weights is None else _convert.array(token_weights, "float32", 2, "token_weights"),
        }
        for name, values in given.items():
            if values is not None and values.shape != ids.shape:
                raise InvalidArgumentError(f"{name} has shape {values.shape}, expected {ids.shape} as input_ids")
        pointers = [_convert.pointer(ids), *(_convert.pointer(values) for values in given.values())]
        self._own(Owner(_ffi.BatchPointer, lib.sft_batch_free, lib.sft_batch_create, *ids.shape, *pointers))

    @classmethod
    def _of(cls, owner: Owner) -> "Batch":
        batch = cls.__new__(cls)
        batch._own(owner)
        return batch

    def _own(self, owner: Owner) -> None:
        super().__init__(owner)
        self._tokenizer: Optional[Tokenizer] = None
        self._borrowed: Optional[Dict[str, np.ndarray]] = None
        self._conversations: Optional[np.ndarray] = None  # of a copy, which is made of arrays

    @property
    def _arrays(self) -> Dict[str, np.ndarray]:
        """The library's arrays, which it makes when they are first asked for."""
        if self._borrowed is None:
            self._pointer  # a closed batch says so
            assert self._owner is not None
            self._borrowed = batch_arrays(self._owner)
        return self._borrowed

    @property
    def input_ids(self) -> np.ndarray:
        """int64 (B, T)"""
        return self._arrays["input_ids"]

    @property
    def labels(self) -> np.ndarray:
        """int64 (B, T); -100: not learned"""
        return self._arrays["labels"]

    @property
    def attention_mask(self) -> np.ndarray:
        """int64 (B, T); 1 at tokens, 0 at padding"""
        return self._arrays["attention_mask"]

    @property
    def token_weights(self) -> Optional[np.ndarray]:
        """float32 (B, T), multiplied to the loss at each label; None: 1 everywhere"""
        return self._arrays.get("token_weights")

    @property
    def conversation_of_row(self) -> np.ndarray:
        """(B,): which of the conversations, texts or given rows each row is made of"""
        return self._arrays["conversations"] if self._conversations is None else self._conversations

    def __reduce_ex__(self, protocol: Any) -> Any:
        weights = None if self.token_weights is None else self.token_weights.copy()
        arrays = (self.input_ids.copy(), self.labels.copy(), self.attention_mask.copy(), weights)
        return type(self), arrays, {"_tokenizer": self._tokenizer, "_conversations": self.conversation_of_row.copy()}

    def __copy__(self) -> "Batch":
        return self._shared()

    def __deepcopy__(self, memo: Any) -> "Batch":
        return self._shared()

    @property
    def shape(self) -> Tuple[int, int]:
        """(B, T)"""
        rows, columns = self.input_ids.shape
        return rows, columns

    def __repr__(self) -> str:
        rows, columns = self.shape
        supervised = int((self.labels[:, 1:] != -100).sum())
        return f"Batch({rows} rows, {columns} columns, {int(self.attention_mask.sum())} tokens, {supervised} supervised)"

    def _repr_html_(self) -> str:
        """In a notebook: every row, what is learned in color."""
        return batch_html(self.input_ids, self.labels, self.attention_mask, self.token_weights, self._tokenizer, repr(self))


def preprocess(
    tokenizer: Tokenizer,
    batch_messages: Conversations,
    label_policy: LabelPolicy = "qwen",
    max_length: Optional[int] = None,
    split_special_tokens: bool = True,
    add_default_system: Optional[bool] = None,
    chat_template: Optional[str] = None,
    context_length: Optional[int] = None,
    tools: Optional[Sequence[Any]] = None,
    chat_template_kwargs: Optional[Mapping[str, Any]] = None,
) -> Batch:
    """Conversations to a batch, padded on the right to the longest row. A conversation is one row, or several that begin alike where
    the template writes earlier answers differently from how they were given (`Batch.conversation_of_row`).

    Args:
        batch_messages: conversations: lists of dicts with "role", "content" and, if it shall not be learned, "weight": 0;
            or dicts with such a list under "messages".
        label_policy: what is learned: "qwen", "assistant", "assistant_content", "assistant_newline", "last_assistant" or "all".
        max_length: longer rows are cut on the right to this many tokens, with a warning; None: to the tokenizer's
            `model_max_length`.
        split_special_tokens: control tokens inside a content are text.
        add_default_system: begin with the template's system prompt where a conversation has none, as chat does. None: yes,
            except with the policy qwen, which is the article's own.
        chat_template, tools, chat_template_kwargs: as in `Tokenizer.with_chat_template`.
        context_length: the model's (`model.config.max_position_embeddings`): a longer row, cut or not, is refused;
            None: the model refuses it when it meets it.
    """
    tokenizer = tokenizer._with(chat_template, tools, chat_template_kwargs)
    options = preprocess_options(label_policy, max_length, split_special_tokens, add_default_system, context_length)
    conversations = _convert.conversations(batch_messages)
    batch = Batch._of(
        Owner(
            _ffi.BatchPointer,
            lib.sft_batch_free,
            lib.sft_preprocess,
            tokenizer._pointer,
            *conversations,
            byref(options),
        )
    )
    batch._tokenizer = tokenizer
    return batch


def preprocess_options(
    label_policy: LabelPolicy = "qwen",
    max_length: Optional[int] = None,
    split_special_tokens: bool = True,
    add_default_system: Optional[bool] = None,
    context_length: Optional[int] = None,
) -> Any:
    """The arguments of `preprocess` as a struct."""
    options = defaults(_ffi.PreprocessOptions, lib.sft_preprocess_options_init)
    options.label_policy = _convert.constant(_ffi.LABEL_POLICIES, label_policy, "label_policy")
    if max_length is not None:
        options.max_length = _convert.positive(max_length, "max_length")
    if context_length is not None:
        options.context_length = _convert.positive(context_length, "context_length")
    options.split_special_tokens = bool(split_special_tokens)
    if add_default_system is not None:
        options.add_default_system = bool(add_default_system)
    return options
