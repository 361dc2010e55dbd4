"""Text, ids, and the chat template."""

import os
from ctypes import byref, c_int32
from typing import Any, List, Optional, Sequence, Union

from . import _convert, _ffi
from ._convert import Message
from ._ffi import lib, sizeof
from ._handle import Handle, Owner, defaults
from .errors import InvalidArgumentError


class Tokenizer(Handle):
    """The tokenizer of a checkpoint. Immutable; threads may share it."""

    @classmethod
    def from_pretrained(cls, directory: "Union[str, os.PathLike[str]]") -> "Tokenizer":
        """Opens the tokenizer files of a checkpoint directory."""
        return cls(Owner(_ffi.TokenizerPointer, lib.sft_tokenizer_free, lib.sft_tokenizer_open, *_convert.path(directory)))

    def __init__(self, owner: Owner):
        super().__init__(owner)
        self._info = _ffi.TokenizerInfo()
        lib.sft_tokenizer_get_info(self._pointer, byref(self._info), sizeof(self._info))

    @property
    def vocab_size(self) -> int:
        """Tokens without the added ones."""
        return self._info.vocabulary_size

    def __len__(self) -> int:
        """Tokens with the added ones."""
        return self._info.count

    @property
    def model_max_length(self) -> int:
        """The longest input the model is meant for, in tokens; 2**64 - 1 where the files say none."""
        return self._info.model_max_length

    @property
    def eos_token_id(self) -> Optional[int]:
        return None if self._info.eos_token_id < 0 else self._info.eos_token_id

    @property
    def pad_token_id(self) -> Optional[int]:
        return None if self._info.pad_token_id < 0 else self._info.pad_token_id

    def __repr__(self) -> str:
        if self._owner is None:
            return "Tokenizer(closed)"
        return _convert.text_result(lambda *out: lib.sft_tokenizer_summary(self._pointer, *out), 4096)

    def encode(self, text: str, split_special_tokens: bool = False) -> List[int]:
        """Text to ids. With split_special_tokens, added tokens that stand in the text are text like any other."""
        data = _convert.text(text, "text")
        return _convert.ids_result(
            lambda *out: lib.sft_tokenizer_encode(self._pointer, *data, bool(split_special_tokens), *out), data[1] + 8
        )

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Ids to text."""
        data = _convert.array(ids, "int32", 1, "ids")
        return _convert.text_result(
            lambda *out: lib.sft_tokenizer_decode(
                self._pointer, _convert.pointer(data), len(data), bool(skip_special_tokens), *out
            ),
            8 * len(data) + 64,
        )

    def convert_tokens_to_ids(self, token: str) -> Optional[int]:
        """The id of a token, None if there is none."""
        id = c_int32()
        lib.sft_tokenizer_token_to_id(self._pointer, *_convert.text(token, "token"), byref(id))
        return None if id.value < 0 else id.value

    def convert_ids_to_tokens(self, id: int) -> Optional[str]:
        """The token of an id, None if there is none."""
        try:
            return _convert.text_result(lambda *out: lib.sft_tokenizer_id_to_token(self._pointer, id, *out))
        except InvalidArgumentError:
            return None

    def apply_chat_template(
        self,
        messages: Sequence[Message],
        tokenize: bool = False,
        add_generation_prompt: bool = False,
        split_special_tokens: bool = True,
        chat_template: Optional[str] = None,
    ) -> Union[str, List[int]]:
        """A conversation as the model sees it: its text, or with `tokenize` its ids.

        Args:
            messages: dicts with "role" and "content".
            add_generation_prompt: end with the opening of an assistant message.
            split_special_tokens: control tokens inside a content are text, when tokenizing.
            chat_template: None for the checkpoint's own, "chatml" to force plain ChatML.
        """
        options = defaults(_ffi.ChatOptions, lib.sft_chat_options_init)
        options.add_generation_prompt = bool(add_generation_prompt)
        options.split_special_tokens = bool(split_special_tokens)
        options.chat_template = _convert.constant(_ffi.CHAT_TEMPLATES, chat_template, "chat_template")
        data = _convert.messages(messages, "messages")

        def call(function: Any):
            return lambda *out: function(self._pointer, *data, byref(options), *out)

        if tokenize:
            return _convert.ids_result(call(lib.sft_apply_chat_template))
        return _convert.text_result(call(lib.sft_render_chat_template))
