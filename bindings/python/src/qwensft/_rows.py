"""Rows of data from wherever Python has them, as JSON Lines for the library."""

import json
import os
from typing import Any, Iterator, Mapping

from .errors import InvalidArgumentError


def is_path(data: Any) -> bool:
    """Whether the library reads it itself: a file that is not Parquet."""
    return isinstance(data, (str, os.PathLike)) and not _is_parquet(data)


def _is_parquet(data: Any) -> bool:
    return isinstance(data, (str, os.PathLike)) and os.fspath(data).endswith(".parquet")


def json_lines(data: Any) -> Iterator[bytes]:
    """A line for each row of a list, a table or a Parquet file."""
    for i, row in enumerate(_rows(data)):
        if not isinstance(row, Mapping):
            if isinstance(row, (str, bytes)) or not hasattr(row, "__iter__"):
                raise TypeError(f"row {i} is {type(row).__name__}, expected a list of messages or a dict")
            row = {"messages": list(row)}
        try:
            # What a table leaves out is NaN in pandas.
            values = {key: None if _is_missing(value) else value for key, value in row.items()}
            yield json.dumps(values, ensure_ascii=False, allow_nan=False, default=_plain).encode() + b"\n"
        except UnicodeEncodeError:
            raise InvalidArgumentError(f"row {i} holds a lone surrogate") from None
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError(f"row {i} cannot be written as JSON: {error}") from None


def _rows(data: Any) -> Iterator[Any]:
    if _is_parquet(data):
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError:
            raise ImportError(f"{os.fspath(data)}: reading Parquet needs pyarrow (pip install pyarrow)") from None
        with ParquetFile(data) as file:
            for batch in file.iter_batches(batch_size=1000):
                yield from batch.to_pylist()
    elif hasattr(data, "iloc") and hasattr(data, "to_dict") and hasattr(data, "columns"):  # a DataFrame
        for start in range(0, len(data), 1000):
            yield from data.iloc[start : start + 1000].to_dict("records")
    elif hasattr(data, "to_batches"):  # a table of pyarrow
        for batch in data.to_batches():
            yield from batch.to_pylist()
    elif isinstance(data, Mapping):
        names = ", ".join(repr(key) for key in list(data)[:8])
        raise TypeError(f"conversations is {type(data).__name__}, expected rows; choose one of its parts: {names}")
    elif isinstance(data, bytes) or not hasattr(data, "__iter__"):
        raise TypeError(f"conversations is {type(data).__name__}, expected a path or rows")
    else:
        yield from data


def _is_missing(value: Any) -> bool:
    return isinstance(value, float) and value != value or type(value).__name__ in ("NAType", "NaTType")


def _plain(value: Any) -> Any:
    """What JSON does not know: numpy's arrays and numbers, and mappings and sequences of other kinds."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "__iter__"):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")
