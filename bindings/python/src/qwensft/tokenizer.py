"""Text, ids, and the chat template."""

import os
from ctypes import byref, c_int32, c_size_t
from dataclasses import dataclass
from typing import Any, Dict, List, Literal, Mapping, Optional, Sequence, Tuple, Type, Union, overload

import numpy as np

from . import _convert, _ffi
from ._borrow import batch_arrays
from ._convert import Message
from ._ffi import lib, sizeof
from ._hub import directory_of
from ._handle import Handle, Owner, defaults
from .errors import InvalidArgumentError


@dataclass(frozen=True)
class AddedToken:
    """A token that is matched as a whole; a special one is left out by skip_special_tokens."""

    id: int
    content: str
    special: bool


class Tokenizer(Handle):
    """The tokenizer of a checkpoint. Immutable; threads may share it. Other processes, to which it is pickled, open it
    again in the same directory.

    Attributes:
        name_or_path: that directory.
    """

    @classmethod
    def from_pretrained(cls, directory: "Union[str, os.PathLike[str]]") -> "Tokenizer":
        """Opens the tokenizer files of a checkpoint directory, or of a repository as `Model.from_pretrained` does."""
        directory = directory_of(directory, with_weights=False)
        owner = Owner(_ffi.TokenizerPointer, lib.sft_tokenizer_free, lib.sft_tokenizer_open, *_convert.path(directory))
        return cls(owner, os.path.abspath(os.fspath(directory)))

    def with_chat_template(
        self, chat_template: Optional[str] = None, tools: Optional[Sequence[Any]] = None, **arguments: Any
    ) -> "Tokenizer":
        """The same tokenizer with another chat template, or with arguments for it. Whatever is done with the new one, training
        as well as chat, uses them.

        Args:
            chat_template: the name of one of the checkpoint's, "chatml", or a template in Jinja; None for the checkpoint's own.
            tools: functions the model may call, as JSON schemas.
            arguments: variables that the template knows, such as enable_thinking.
        """
        name = (None, 0) if chat_template is None else _convert.text(chat_template, "chat_template")
        if tools is not None:
            arguments["tools"] = _convert.sequence(tools, "tools")
        values = _convert.json_object(arguments, "the template's arguments") if arguments else (None, 0)
        owner = Owner(
            _ffi.TokenizerPointer,
            lib.sft_tokenizer_free,
            lib.sft_tokenizer_with_chat_template,
            self._pointer,
            *name,
            *values,
        )
        changed = Tokenizer(owner, self.name_or_path)
        changed._made_of = (self, chat_template, arguments)
        return changed

    def _with(
        self,
        chat_template: Optional[str],
        tools: Optional[Sequence[Any]],
        chat_template_kwargs: Optional[Mapping[str, Any]],
        enable_thinking: Optional[bool] = None,
    ) -> "Tokenizer":
        arguments = dict(chat_template_kwargs or {})
        if enable_thinking is not None:
            arguments["enable_thinking"] = bool(enable_thinking)
        if chat_template is None and tools is None and not arguments:
            return self
        return self.with_chat_template(chat_template, tools, **arguments)

    def __init__(self, owner: Owner, directory: str):
        super().__init__(owner)
        self.name_or_path: str = directory
        self._made_of: Optional[Tuple["Tokenizer", Optional[str], Dict[str, Any]]] = None
        self._info = _ffi.TokenizerInfo()
        lib.sft_tokenizer_get_info(self._pointer, byref(self._info), sizeof(self._info))

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._made_of is not None:
            return _changed, self._made_of
        return _reopened, (type(self), self.name_or_path, repr(self))

    def __copy__(self) -> "Tokenizer":
        return self._shared()

    def __deepcopy__(self, memo: Any) -> "Tokenizer":
        return self._shared()

    @property
    def vocab_size(self) -> int:
        """Tokens without the added ones."""
        return int(self._info.vocabulary_size)

    def __len__(self) -> int:
        """Tokens with the added ones."""
        return int(self._info.count)

    @property
    def model_max_length(self) -> int:
        """The longest input the model is meant for, in tokens; 2**64 - 1 where the files say none."""
        return int(self._info.model_max_length)

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

    @property
    def added_tokens(self) -> List[AddedToken]:
        """The tokens beside the regular ones, by id."""
        tokens = []
        for index in range(self._info.added_tokens):
            token = _ffi.AddedToken()
            lib.sft_tokenizer_get_added_token(self._pointer, index, byref(token), sizeof(token))
            tokens.append(AddedToken(token.id, str(self._token(token.id)), bool(token.is_special)))
        return tokens

    def __call__(
        self,
        text: Union[str, Sequence[str]],
        padding: Union[bool, str] = False,
        truncation: bool = False,
        max_length: Optional[int] = None,
        pad_to_multiple_of: Optional[int] = None,
        split_special_tokens: bool = False,
        as_arrays: bool = False,
    ) -> Dict[str, Any]:
        """A text or several as {"input_ids": …, "attention_mask": …}.

        With `padding` both are int64 arrays (B, T), padded on the right, with at least one column; otherwise
        lists, one for each text, and for a single text that of the text. Texts are encoded on the library's threads.

        Args:
            padding: True or "longest": to the longest text; "max_length": to `max_length`; False: not at all.
            truncation: cut longer texts on the right to `max_length`.
            max_length: in tokens; None: `model_max_length`.
            pad_to_multiple_of: pad further, to a multiple of this many columns.
            split_special_tokens: added tokens in a text are text like any other.
            as_arrays: without padding, an int32 array (T,) for each text instead of a list, which takes longer to make than
                the ids. The arrays share one piece of memory: copy a row to keep it alone. Masks are read-only.
        """
        if padding not in (True, False, "longest", "max_length"):
            raise InvalidArgumentError(f"padding is {padding!r}, expected True, False, 'longest' or 'max_length'")
        limit = self._limit(max_length)
        data = _convert.texts([text] if isinstance(text, str) else text, "text")
        if not padding:
            ids, places = self._rows(data, split_special_tokens, limit if truncation else None)
            rows = [ids[start:end] for start, end in places]
            ones = np.ones(max(map(len, rows), default=0), np.int32)  # of all rows, so nobody may change it
            ones.flags.writeable = False
            result: Dict[str, List[Any]] = {"input_ids": rows, "attention_mask": [ones[: len(row)] for row in rows]}
            if not as_arrays:
                result = {name: [row.tolist() for row in values] for name, values in result.items()}
            return {name: values[0] for name, values in result.items()} if isinstance(text, str) else result
        options = defaults(_ffi.EncodeOptions, lib.sft_encode_options_init)
        options.split_special_tokens = bool(split_special_tokens)
        if truncation and limit is not None:
            options.max_length = limit
        if padding == "max_length" and limit is not None:
            options.min_columns = limit
        if pad_to_multiple_of is not None:
            options.pad_to_multiple_of = _convert.positive(pad_to_multiple_of, "pad_to_multiple_of")
        if data[1] == 0:
            return {"input_ids": [], "attention_mask": []}
        owner = Owner(_ffi.BatchPointer, lib.sft_batch_free, lib.sft_encode_batch, self._pointer, *data, byref(options))
        arrays = batch_arrays(owner)
        return {"input_ids": arrays["input_ids"], "attention_mask": arrays["attention_mask"]}

    def _rows(
        self, data: Tuple[Any, int], split_special_tokens: bool, limit: Optional[int]
    ) -> Tuple[np.ndarray, List[Tuple[int, int]]]:
        """The ids of texts, int32, and for each text where its own begin and end."""
        offsets = np.empty(data[1] + 1, np.uintp)
        size = int(np.frombuffer(data[0], np.uintp)[1::2].sum()) if data[1] else 0
        places = _convert.address_of(offsets, c_size_t)
        splits = bool(split_special_tokens)
        ids = _convert.ids_result(
            size, lib.sft_tokenizer_encode_texts, self._pointer, *data, splits, after=(places,)
        )
        starts = offsets.tolist()
        ends = starts[1:] if limit is None else [min(end, start + limit) for start, end in zip(starts, starts[1:])]
        return ids, list(zip(starts, ends))

    @overload
    def encode(
        self,
        text: str,
        split_special_tokens: bool = ...,
        truncation: bool = ...,
        max_length: Optional[int] = ...,
        as_array: Literal[False] = ...,
    ) -> List[int]: ...

    @overload
    def encode(
        self,
        text: str,
        split_special_tokens: bool = ...,
        truncation: bool = ...,
        max_length: Optional[int] = ...,
        *,
        as_array: Literal[True],
    ) -> np.ndarray: ...

    def encode(
        self,
        text: str,
        split_special_tokens: bool = False,
        truncation: bool = False,
        max_length: Optional[int] = None,
        as_array: bool = False,
    ) -> Union[List[int], np.ndarray]:
        """Text to ids. With split_special_tokens, added tokens that stand in the text are text like any other.

        `truncation` cuts on the right to `max_length` tokens; None: to `model_max_length`. `as_array`: an int32 array (T,)
        instead of a list, which takes longer to make than the ids.
        """
        data = _convert.text(text, "text")
        splits = bool(split_special_tokens)
        ids = _convert.ids_result(data[1] + 8, lib.sft_tokenizer_encode, self._pointer, *data, splits)
        if truncation or max_length is not None:
            limit = self._limit(max_length)
            ids = ids[:limit] if truncation else ids
        return ids if as_array else ids.tolist()

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Ids to text."""
        data = _convert.array(ids, "int32", 1, "ids")
        return _convert.text_result(
            lambda *out: lib.sft_tokenizer_decode(
                self._pointer, _convert.pointer(data), len(data), bool(skip_special_tokens), *out
            ),
            8 * len(data) + 64,
        )

    def batch_decode(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = False) -> List[str]:
        """Rows of ids to texts."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    def convert_tokens_to_ids(self, tokens: Union[str, Sequence[str]]) -> Any:
        """The id of a token, None if there is none; of several tokens a list."""
        if not isinstance(tokens, str):
            return [self._id(token) for token in _convert.sequence(tokens, "tokens")]
        return self._id(tokens)

    def convert_ids_to_tokens(self, ids: Union[int, Sequence[int]]) -> Any:
        """The token of an id, None if there is none; of several ids a list."""
        if isinstance(ids, (int, np.integer)):
            return self._token(int(_convert.array([ids], "int32", 1, "ids")[0]))
        return [self._token(id) for id in _convert.array(ids, "int32", 1, "ids").tolist()]

    def _limit(self, max_length: Optional[int]) -> Optional[int]:
        """Tokens at most; None: any number."""
        if max_length is not None:
            return _convert.positive(max_length, "max_length")
        return None if self.model_max_length == c_size_t(-1).value else self.model_max_length

    def _id(self, token: str) -> Optional[int]:
        id = c_int32()
        lib.sft_tokenizer_token_to_id(self._pointer, *_convert.text(token, "tokens"), byref(id))
        return None if id.value < 0 else id.value

    def _token(self, id: int) -> Optional[str]:
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
        tools: Optional[Sequence[Any]] = None,
        **arguments: Any,
    ) -> Union[str, List[int]]:
        """A conversation as the model sees it: its text, or with `tokenize` its ids.

        Args:
            messages: dicts with "role" and "content"; what else they hold ("tool_calls", "reasoning_content", …) the template sees.
            add_generation_prompt: end with the opening of an assistant message.
            split_special_tokens: control tokens inside a content are text, when tokenizing.
            chat_template, tools, arguments: as in `with_chat_template`.
        """
        tokenizer = self._with(chat_template, tools, arguments)
        options = defaults(_ffi.ChatOptions, lib.sft_chat_options_init)
        options.add_generation_prompt = bool(add_generation_prompt)
        options.split_special_tokens = bool(split_special_tokens)
        data = _convert.messages(messages, "messages")

        arguments_of_c = (tokenizer._pointer, *data, byref(options))
        if tokenize:
            ids: List[int] = _convert.ids_result(256, lib.sft_apply_chat_template, *arguments_of_c).tolist()
            return ids
        return _convert.text_result(lambda *out: lib.sft_render_chat_template(*arguments_of_c, *out))

    def decoder(self, skip_special_tokens: bool = False) -> "Decoder":
        """Text of ids that come one by one."""
        return Decoder(self, skip_special_tokens)


def _changed(tokenizer: Tokenizer, chat_template: Optional[str], arguments: Dict[str, Any]) -> Tokenizer:
    return tokenizer.with_chat_template(chat_template, **arguments)


def _reopened(kind: Type[Tokenizer], directory: str, summary: str) -> Tokenizer:
    """A pickled tokenizer: opened again where it came from, which the processes of one machine have in common."""
    tokenizer = kind.from_pretrained(directory)
    if repr(tokenizer) != summary:
        raise InvalidArgumentError(f"{directory} holds another tokenizer now than the one that was pickled")
    return tokenizer


class Decoder(Handle):
    """Ids to text one by one: a character is handed out with the last of the ids that its bytes stand in.

    All texts together are what `Tokenizer.decode` makes of all ids.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool = False):
        skips = bool(skip_special_tokens)
        super().__init__(
            Owner(_ffi.DecoderPointer, lib.sft_decoder_free, lib.sft_decoder_create, tokenizer._pointer, skips)
        )

    def append(self, id: int) -> str:
        """The characters that this id completes; often a word, possibly none."""
        id = int(_convert.array([id], "int32", 1, "ids")[0])
        return _convert.text_result(lambda *out: lib.sft_decoder_append(self._pointer, id, *out))

    def finish(self) -> str:
        """What is incomplete as U+FFFD, when no more ids follow. The decoder is as new then."""
        return _convert.text_result(lambda *out: lib.sft_decoder_finish(self._pointer, *out))
