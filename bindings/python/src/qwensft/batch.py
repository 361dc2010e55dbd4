"""Conversations as the arrays that a model learns from."""

from ctypes import byref
from typing import Any, Optional, Sequence

import numpy as np

from . import _convert, _ffi
from ._convert import Message
from ._ffi import lib, sizeof
from ._handle import Handle, Owner, defaults
from .errors import InvalidArgumentError
from .tokenizer import Tokenizer


class Batch(Handle):
    """Rows of token ids, what to learn at each, and which are real. Immutable.

    Args:
        input_ids: integers (B, T).
        labels: integers (B, T); -100: not learned.
        attention_mask: integers (B, T), every row 1s and then 0s; None: all 1.
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
        view = _ffi.BatchView()
        lib.sft_batch_get_view(self._pointer, byref(view), sizeof(view))
        shape = (view.rows, view.columns)
        self.input_ids: np.ndarray = _borrowed(owner, view.input_ids, "<i8", shape)
        self.labels: np.ndarray = _borrowed(owner, view.labels, "<i8", shape)
        self.attention_mask: np.ndarray = _borrowed(owner, view.attention_mask, "<i8", shape)
        self.token_weights: Optional[np.ndarray] = (
            _borrowed(owner, view.token_weights, "<f4", shape) if view.token_weights else None
        )

    @property
    def shape(self):
        """(B, T)"""
        return self.input_ids.shape

    def __repr__(self) -> str:
        rows, columns = self.shape
        supervised = int((self.labels[:, 1:] != -100).sum())
        return f"Batch({rows} rows, {columns} columns, {int(self.attention_mask.sum())} tokens, {supervised} supervised)"


def preprocess(
    tokenizer: Tokenizer,
    batch_messages: Sequence[Sequence[Message]],
    label_policy: str = "qwen",
    max_length: Optional[int] = None,
    split_special_tokens: bool = True,
    add_default_system: bool = False,
    chat_template: Optional[str] = None,
) -> Batch:
    """Conversations to a batch, one row each, padded on the right to the longest.

    Args:
        batch_messages: conversations: lists of dicts with "role", "content" and, if it shall not be learned, "weight": 0.
        label_policy: what is learned: "qwen", "assistant", "assistant_content", "assistant_newline", "last_assistant" or "all".
        max_length: longer rows are cut on the right to this many tokens; None: a row longer than the context is refused.
        split_special_tokens: control tokens inside a content are text.
        add_default_system: begin with the template's system prompt where a conversation has none.
        chat_template: None for the checkpoint's own, "chatml" to force plain ChatML.
    """
    options = defaults(_ffi.PreprocessOptions, lib.sft_preprocess_options_init)
    options.label_policy = _convert.constant(_ffi.LABEL_POLICIES, label_policy, "label_policy")
    if max_length is not None:
        if max_length < 1:
            raise InvalidArgumentError(f"max_length is {max_length}, expected None or at least 1")
        options.max_length = max_length
    options.split_special_tokens = bool(split_special_tokens)
    options.add_default_system = bool(add_default_system)
    options.chat_template = _convert.constant(_ffi.CHAT_TEMPLATES, chat_template, "chat_template")

    conversations = _convert.conversations(batch_messages)
    return Batch._of(
        Owner(
            _ffi.BatchPointer,
            lib.sft_batch_free,
            lib.sft_preprocess,
            tokenizer._pointer,
            *conversations,
            byref(options),
        )
    )


class _Borrowed:
    """Memory of the library as numpy takes it over: the array holds this, and this holds the owner."""

    def __init__(self, owner: Owner, interface: dict):
        self.owner = owner
        self.__array_interface__ = interface


def _borrowed(owner: Owner, pointer: Any, typestr: str, shape: Any) -> np.ndarray:
    address = _ffi.address(pointer)
    return np.asarray(_Borrowed(owner, {"version": 3, "typestr": typestr, "shape": shape, "data": (address, True)}))
