"""From Python values to what C takes, and back."""

import json
import os
import warnings
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, create_string_buffer, string_at
from typing import Any, Callable, Dict, Iterable, List, Mapping, Sequence, Tuple, Union

import numpy as np

from . import _ffi
from .errors import BufferTooSmallError, InvalidArgumentError, QwenSFTWarning

Message = Mapping[str, Any]
Conversation = Union[Sequence[Message], Mapping[str, Any]]
Conversations = Iterable[Conversation]
_MESSAGE_KEYS = {"role", "content", "weight"}
# What chat templates look for beside these. Other keys are handed to the template as well, but are hardly meant for it.
_TEMPLATE_KEYS = {"tool_calls", "tool_call_id", "name", "reasoning_content", "reasoning", "thinking", "tools"}
_CTYPES: Dict[str, Any] = {"int32": c_int32, "int64": c_int64, "float32": c_float, "float64": c_double}


def path(value: "Union[str, os.PathLike[str]]") -> Tuple[bytes, int]:
    """A path as (bytes, size)."""
    return text(os.fspath(value), "path")


def text(value: str, name: str) -> Tuple[bytes, int]:
    """Text as (bytes, size)."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {type(value).__name__}, expected str")
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"{name} holds a lone surrogate at index {error.start}") from None
    return encoded, len(encoded)


def texts(values: Sequence[str], name: str) -> Tuple[Any, int]:
    """Texts as (texts, count)."""
    items = sequence(values, name)
    try:
        encoded = [str.encode(item) for item in items]
    except (TypeError, UnicodeEncodeError):
        encoded = [text(item, f"{name}[{i}]")[0] for i, item in enumerate(items)]  # says which
    # In columns: a struct made for every text takes as long as a small text's ids.
    result: Any = (_ffi.Text * len(encoded))()
    result.data = (c_char_p * len(encoded))(*encoded)  # keeps the bytes alive
    if encoded:
        columns = np.frombuffer(result, dtype=np.uintp).reshape(-1, 2)
        columns[:, 0] = np.frombuffer(result.data, dtype=np.uintp)
        columns[:, 1] = np.fromiter(map(len, encoded), np.uintp, len(encoded))
    return result, len(encoded)


def count(value: int, name: str, least: int, alternative: str = "") -> int:
    """A count of at least so many."""
    if not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {type(value).__name__}, expected int")
    if value < least or value >= 2**63:
        bound = f"at least {least}" if value < least else "less than 2**63"
        raise InvalidArgumentError(f"{name} is {value}, expected {alternative}{bound}")
    return int(value)


def positive(value: int, name: str) -> int:
    """A count of at least 1, where None is possible too."""
    return count(value, name, 1, "None or ")


def seed(value: int) -> int:
    """A seed, any number of 64 bits; ctypes would cut what is larger."""
    if not isinstance(value, (int, np.integer)):
        raise TypeError(f"seed is {type(value).__name__}, expected int")
    if not 0 <= value < 2**64:
        raise InvalidArgumentError(f"seed is {value}, expected 0 to 2**64 - 1")
    return int(value)


def constant(table: Dict[Any, int], value: Any, name: str) -> int:
    """The number of a name."""
    if isinstance(value, (str, type(None))) and value in table:
        return table[value]
    names = ", ".join(repr(key) for key in table)
    raise InvalidArgumentError(f"{name} is {value!r}, expected one of {names}")


def array(values: Any, dtype: str, dimensions: int, name: str) -> np.ndarray:
    """Values as a C-contiguous array of exactly this dtype; numbers that do not fit it are refused."""
    if hasattr(values, "detach"):  # a torch tensor; numpy has no bfloat16
        values = values.detach().cpu()
        values = (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    given = np.asarray(values)
    if given.dtype.name == "bfloat16":  # of the package ml_dtypes, which jax and others use
        given = given.astype(np.float32)
    if given.size == 0:
        given = given.astype(dtype)
    wanted = np.dtype(dtype)
    if given.dtype.kind not in ("iub" if wanted.kind == "i" else "iubf"):
        raise InvalidArgumentError(f"{name} holds {given.dtype}, expected numbers that fit {dtype}")
    if given.ndim != dimensions:
        raise InvalidArgumentError(f"{name} has {given.ndim} dimensions, expected {dimensions}")
    result = np.ascontiguousarray(given, dtype=wanted)
    if wanted.kind == "i" and not np.array_equal(result, given):
        raise InvalidArgumentError(f"{name} holds a number that does not fit {dtype}")
    return result


def pointer(values: "np.ndarray | None") -> Any:
    """The address of an array that `array` made; None is NULL."""
    return None if values is None else values.ctypes.data_as(POINTER(_CTYPES[values.dtype.name]))


def address_of(values: np.ndarray, element: Any) -> Any:
    """The address of an array of one's own, as a pointer to what C has there."""
    return values.ctypes.data_as(POINTER(element))


def text_result(call: Callable[[Any, int, Any], None], guess: int = 256) -> str:
    """What a function writes to (text, capacity, &size)."""
    size = c_size_t()
    buffer = create_string_buffer(guess)
    try:
        call(buffer, guess, byref(size))
    except BufferTooSmallError:
        buffer = create_string_buffer(size.value)
        call(buffer, size.value, byref(size))
    return string_at(buffer, size.value).decode()


_Scratch = Tuple[np.ndarray, Any, int]
_idle: List[_Scratch] = []


def _scratch(size: int) -> _Scratch:
    ids = np.empty(size, dtype=np.int32)
    return ids, pointer(ids), size


def ids_result(guess: int, function: Callable[..., None], *arguments: Any, after: Tuple[Any, ...] = ()) -> np.ndarray:
    """What function(*arguments, ids, capacity, &count, *after) writes, as an array of its own; `guess`: how many ids there may be."""
    count = c_size_t()
    # Memory and its address for ctypes take longer than the ids of a page, so they are kept. Several threads, and a signal's
    # handler within this one, may be here at once.
    try:
        kept = _idle.pop()
    except IndexError:
        kept = _scratch(1 << 18)
    try:
        ids, place, capacity = kept if guess <= kept[2] else _scratch(guess)
        try:
            function(*arguments, place, capacity, byref(count), *after)
        except BufferTooSmallError:
            ids, place, capacity = _scratch(count.value)
            function(*arguments, place, capacity, byref(count), *after)
        return ids[: count.value].copy()
    finally:
        _idle.append(kept)


def messages(conversation: Sequence[Message], name: str) -> Tuple[Any, int, int]:
    """A conversation as (messages, size of one, count)."""
    unknown = _UnknownKeys(name)
    fields = [_message(message, f"{name}[{i}]", unknown) for i, message in enumerate(sequence(conversation, name))]
    unknown.warn()
    return (_ffi.Message * len(fields))(*fields), _ffi.sizeof(_ffi.Message), len(fields)


def json_object(value: Mapping[str, Any], name: str) -> Tuple[bytes, int]:
    """A mapping as the text of a JSON object."""
    try:
        return text(json.dumps(value, ensure_ascii=False, allow_nan=False), name)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{name} cannot be written as JSON: {error}") from None


def sequence(values: Any, name: str) -> List[Any]:
    """What is given where a list is expected; text and mappings are none."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} is {type(values).__name__}, expected a list")
    return list(values)


class _UnknownKeys:
    """Keys of messages that are not used, as they are counted in a JSON Lines file."""

    def __init__(self, name: str):
        self._name = name
        self._seen: Dict[Any, List[Any]] = {}  # by key: how often, and in which message first

    def add(self, key: Any, place: str) -> None:
        if len(self._seen) < 100:  # more of them would only be noise
            self._seen.setdefault(key, [0, place])[0] += 1

    def warn(self) -> None:
        for key, (times, place) in self._seen.items():
            warnings.warn(
                f"{self._name}: the key {key!r} is not used ({times} times, first in {place})", QwenSFTWarning, stacklevel=4
            )


def _message(message: Message, name: str, unknown: _UnknownKeys) -> Any:
    """As a line of a JSON Lines file: a None is as if the key were not there."""
    if not isinstance(message, Mapping):
        raise TypeError(f"{name} is {type(message).__name__}, expected a dict with role and content")
    for key in ("role", "content"):
        if key not in message:
            raise InvalidArgumentError(f"{name} has no {key!r}")
    more = {key: value for key, value in message.items() if key not in _MESSAGE_KEYS and value is not None}
    for key in more:
        if key not in _TEMPLATE_KEYS:
            unknown.add(key, name)
    fields = json_object(more, name) if more else (None, 0)
    role, role_size = text(message["role"], f"{name}['role']")
    content = message["content"]
    if content is None and message.get("tool_calls"):
        content = ""  # who calls a function often says nothing
    if isinstance(content, list):
        content = _joined(content, f"{name}['content']")
    content, content_size = text(content, f"{name}['content']")
    weight = message.get("weight")
    try:
        return _ffi.Message(role, role_size, content, content_size, 1.0 if weight is None else float(weight), *fields)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{name}['weight'] is {weight!r}, expected a number") from None


def conversations(batch: Conversations) -> Tuple[Any, int, Any, int]:
    """Conversations as (messages of all, size of one, counts, number of conversations)."""
    unknown = _UnknownKeys("batch_messages")
    rows = [
        _conversation(row, f"batch_messages[{i}]", unknown) for i, row in enumerate(sequence(batch, "batch_messages"))
    ]
    fields = [
        _message(message, f"batch_messages[{i}][{j}]", unknown) for i, row in enumerate(rows) for j, message in enumerate(row)
    ]
    unknown.warn()
    counts = (c_size_t * len(rows))(*(len(row) for row in rows))
    return (_ffi.Message * len(fields))(*fields), _ffi.sizeof(_ffi.Message), counts, len(rows)


def _conversation(row: Conversation, name: str, unknown: _UnknownKeys) -> List[Message]:
    """The messages of a conversation: it is a list of them, or what a line of a JSON Lines file holds."""
    if not isinstance(row, Mapping):
        return sequence(row, name)
    if "messages" not in row:
        raise TypeError(f"{name} is {type(row).__name__}, expected a list of messages, or a dict with one under 'messages'")
    for key, value in row.items():
        if key not in ("messages", "tools") and value is not None:
            unknown.add(key, name)
    messages = sequence(row["messages"], f"{name}['messages']")
    tools = row.get("tools")
    if not _is_absent(tools) and messages and isinstance(messages[0], Mapping):
        messages[0] = {**messages[0], "tools": sequence(tools, f"{name}['tools']")}
    return messages


def _joined(parts: List[Any], name: str) -> str:
    """The text of a content in parts: [{"type": "text", "text": …}, …]."""
    for part in parts:
        if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise InvalidArgumentError(f"{name} must be a text or a list of texts")
    return "".join(part["text"] for part in parts)


def _is_absent(value: Any) -> bool:
    return value is None or isinstance(value, (Sequence, Mapping)) and len(value) == 0
