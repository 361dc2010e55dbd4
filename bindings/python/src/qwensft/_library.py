"""Finds and loads libqwensft.so."""

import ctypes
import os
from pathlib import Path
from typing import Iterator

from ._header import VERSION

_NAME = "libqwensft.so"
_PACKAGE = Path(__file__).resolve().parent


def _candidates() -> Iterator[Path]:
    yield _PACKAGE / _NAME  # the installed package
    if len(_PACKAGE.parents) > 3:
        yield _PACKAGE.parents[3] / "build" / "lib" / _NAME  # the source tree: bindings/python/src/qwensft
    yield Path(_NAME + ".0")  # wherever the system's loader looks


def load() -> ctypes.CDLL:
    """The library, of a version this package can work with.

    Raises:
        ImportError: it is not there, is another library or of another version; the message says where it was looked for.
    """
    chosen = os.environ.get("QWENSFT_LIBRARY")
    tried = []
    for path in [Path(chosen)] if chosen else _candidates():
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            tried.append(str(error))
            continue
        _check_version(library, path)
        return library
    raise ImportError(
        f"{_NAME} cannot be loaded ({'; '.join(tried)}). Install a wheel, which has it inside, or build it (make in the source tree), or "
        "set QWENSFT_LIBRARY to its path."
    )


def _check_version(library: ctypes.CDLL, path: Path) -> None:
    try:
        function = library.sft_version
    except AttributeError:
        raise ImportError(f"{path} is not {_NAME}: it has no sft_version; this package, {_PACKAGE}, needs version {VERSION}") from None
    function.restype = ctypes.c_uint32
    function.argtypes = []
    number = function()
    major, minor, patch = number // 1_000_000, number // 1000 % 1000, number % 1000
    if VERSION.split(".")[:2] != [str(major), str(minor)]:  # before 1.0 the minor version is what must agree
        raise ImportError(f"{path} is version {major}.{minor}.{patch}; this package, {_PACKAGE}, needs {VERSION}")
