"""Conversations to train on, as tokens and labels."""

import operator
import os
from ctypes import byref, c_size_t, memmove
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from . import _convert, _ffi, _rows
from ._convert import Conversations
from ._ffi import lib, sizeof
from ._handle import Handle, Owner, defaults
from ._header import DataFormat, LabelPolicy
from ._interrupt import Reading
from .batch import Batch, preprocess_options
from .errors import InvalidArgumentError
from .tokenizer import Tokenizer

Path = Union[str, "os.PathLike[str]"]
Data = Union[Path, Conversations]


class Lengths(NamedTuple):
    """Tokens of the rows of a dataset."""

    shortest: int
    median: int
    percentile_95: int
    longest: int


@dataclass(frozen=True, repr=False)
class DatasetReport:
    """What became of the conversations of a dataset. `print(report)` shows it for reading.

    Conversations are listed by their line in a file, from 1, or their number in a list, from 0.

    Attributes:
        read: how many conversations the data holds.
        conversations: how many of them are there to learn from.
        rows: what they make: a row each, or more where the template writes earlier answers differently.
        tokens: of all rows.
        supervised_tokens: how many of them are learned.
        lengths: tokens of a row.
        roles: who speaks, and in how many messages.
        truncated: those that were cut to `max_length`.
        without_target: those that were left out, because nothing of them is supervised.
        too_long: those that were left out, because they are longer than `context_length`.
        duplicates: those with the same tokens and labels as one before them.
        control_tokens: those with a text that spells an added token, such as <|im_end|>.
        text: all of this and more, in lines.
    """

    read: int
    conversations: int
    rows: int
    tokens: int
    supervised_tokens: int
    lengths: Lengths
    roles: Dict[str, int]
    truncated: List[int]
    without_target: List[int]
    too_long: List[int]
    duplicates: List[int]
    control_tokens: List[int]
    text: str

    @property
    def supervised_share(self) -> float:
        """Of all tokens."""
        return self.supervised_tokens / self.tokens if self.tokens else 0.0

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class Dataset(Handle):
    """Conversations as tokens and labels, to train on or to measure the loss on. Immutable.

    `len(dataset)` is the number of conversations, `dataset[i]` a batch of one of them and `dataset[i:j]` of several.

    Args:
        conversations: the path of a file: JSON Lines, or a JSON array, as it is or compressed with gzip or zstd; Parquet with
            pyarrow. Or rows: a list or anything else that can be iterated over, a `datasets.Dataset`, a pandas DataFrame. A row
            is a list of messages, or a dict in one of the formats.
        format: "messages" (of role and content), "sharegpt" (conversations of from and value), "alpaca" (instruction, input, output,
            history) or "prompt_completion" (texts or messages); None: as the keys of the first row say.
        columns: what the data calls its keys: {"prompt": "question", "completion": "answer"}.
        limit: read only so many conversations, the first ones.
        drop_unusable: leave out what cannot be learned from, instead of refusing it.
        strict: refuse the data if anything is left out, cut or left aside, once all is read.
        label_policy, max_length, split_special_tokens, add_default_system, chat_template, context_length, tools,
            chat_template_kwargs: as in `preprocess`, but for add_default_system: a dataset adds it unless that is False.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        conversations: Data,
        label_policy: LabelPolicy = "qwen",
        max_length: Optional[int] = None,
        split_special_tokens: bool = True,
        add_default_system: Optional[bool] = None,
        chat_template: Optional[str] = None,
        drop_unusable: bool = False,
        context_length: Optional[int] = None,
        tools: Optional[Sequence[Any]] = None,
        chat_template_kwargs: Optional[Mapping[str, Any]] = None,
        format: Optional[DataFormat] = None,
        columns: Optional[Mapping[str, str]] = None,
        limit: Optional[int] = None,
        strict: bool = False,
    ):
        self._tokenizer = tokenizer._with(chat_template, tools, chat_template_kwargs)
        options = preprocess_options(label_policy, max_length, split_special_tokens, add_default_system, context_length)
        how = defaults(_ffi.DatasetOptions, lib.sft_dataset_options_init)
        how.format = _convert.constant(_ffi.DATA_FORMATS, format, "format")
        how.limit = 0 if limit is None else _convert.positive(limit, "limit")
        how.drops_unusable = bool(drop_unusable)
        how.is_strict = bool(strict)
        if columns is not None:
            how.columns, how.columns_size = _convert.text(",".join(f"{key}={value}" for key, value in columns.items()), "columns")
        if _rows.is_path(conversations):
            path = _convert.path(conversations)  # type: ignore[arg-type]
            self._own(lib.sft_dataset_open, *path, byref(options), byref(how))
            return
        with Reading(_source(_rows.json_lines(conversations))) as reading:
            self._own(lib.sft_dataset_read, _ffi.ReadCallback(reading), None, byref(options), byref(how))

    def _own(self, create: Callable[..., None], *arguments: Any) -> None:
        self._adopt(Owner(_ffi.DatasetPointer, lib.sft_dataset_free, create, self._tokenizer._pointer, *arguments))

    def _adopt(self, owner: Owner) -> None:
        super().__init__(owner)
        self.report: DatasetReport = _report(owner.pointer)

    def __len__(self) -> int:
        return self.report.conversations

    def __getitem__(self, index: Union[int, slice]) -> Batch:
        """The batch that `preprocess` would make of these conversations."""
        count = len(self)
        if isinstance(index, slice):
            numbers = list(range(count)[index])
            if not numbers:
                raise IndexError(f"{index} holds none of {count} conversations")
        else:
            number = operator.index(index)
            if not -count <= number < count:
                raise IndexError(f"there is no conversation {number} among {count}")
            numbers = [number % count]
        chosen = (c_size_t * len(numbers))(*numbers)
        owner = Owner(_ffi.BatchPointer, lib.sft_batch_free, lib.sft_dataset_batch, self._pointer, chosen, len(numbers))
        batch = Batch._of(owner)
        batch._tokenizer = self._tokenizer
        return batch

    def __iter__(self) -> Iterator[Batch]:
        """A batch of each conversation."""
        return (self[i] for i in range(len(self)))

    def split(self, validation: float, seed: int = 0) -> "Tuple[Dataset, Dataset]":
        """Divides the conversations in two, for training and for validation.

        Which goes where follows from its content and the seed alone; equal ones stay together.

        Args:
            validation: the share of the conversations that are for validation, between 0 and 1.
        """
        if not 0 < validation < 1:
            raise InvalidArgumentError(f"validation is {validation}, expected more than 0 and less than 1")
        training, other = self._split(validation, seed)
        assert other is not None
        return training, other

    def hold_out(self, seed: int = 0) -> "Tuple[Dataset, Optional[Dataset]]":
        """Holds back for validation one in twenty of 500 conversations and more, at most 500; None of fewer."""
        return self._split(0.0, seed)

    def _split(self, share: float, seed: int) -> "Tuple[Dataset, Optional[Dataset]]":
        training = Owner(_ffi.DatasetPointer, lib.sft_dataset_free, lambda out: None)
        split = (self._pointer, share, _convert.seed(seed), byref(training.pointer))
        validation = Owner(_ffi.DatasetPointer, lib.sft_dataset_free, lib.sft_dataset_split, *split)
        return self._part(training), self._part(validation) if validation.pointer else None

    def _part(self, owner: Owner) -> "Dataset":
        part = Dataset.__new__(Dataset)
        part._tokenizer = self._tokenizer
        part._adopt(owner)
        return part

    def __repr__(self) -> str:
        return f"Dataset({self.report})"


def _source(lines: Iterator[bytes]) -> Callable[[Any, int], int]:
    """What writes the lines to the library's buffer, as far as they fit, and says how many bytes they are."""
    rest = memoryview(b"")

    def read(buffer: Any, capacity: int) -> int:
        nonlocal rest
        while not rest:
            line = next(lines, None)
            if line is None:
                return 0
            rest = memoryview(line)
        piece = rest[:capacity]
        memmove(buffer, piece.tobytes(), len(piece))
        rest = rest[capacity:]
        return len(piece)

    return read


def _report(pointer: Any) -> DatasetReport:
    info = _ffi.DatasetInfo()
    lib.sft_dataset_get_info(pointer, byref(info), sizeof(info))
    roles = {}
    for i in range(info.roles):
        role = _ffi.DatasetRole()
        lib.sft_dataset_get_role(pointer, i, byref(role), sizeof(role))
        roles[_ffi.text(role, "name")] = int(role.messages)

    def lines(part: int, count: int) -> List[int]:
        numbers = np.empty(count, dtype=np.uint64)
        place = _convert.address_of(numbers, c_size_t)
        lib.sft_dataset_lines(pointer, part, place, count, byref(c_size_t()))
        result: List[int] = numbers.tolist()
        return result

    parts = {name: lines(_ffi.DATASET_PARTS[name], getattr(info, name)) for name in _LISTED}
    return DatasetReport(
        read=info.read,
        conversations=info.conversations,
        rows=info.rows,
        tokens=info.tokens,
        supervised_tokens=info.supervised_tokens,
        lengths=Lengths(info.shortest, info.median, info.percentile_95, info.longest),
        roles=roles,
        text=_convert.text_result(lambda *out: lib.sft_dataset_describe(pointer, *out), 2048),
        **parts,
    )


_LISTED: Tuple[_ffi.DatasetPart, ...] = ("truncated", "without_target", "too_long", "duplicates", "control_tokens")
