"""What holds for the whole process: threads, warnings."""

import atexit
import warnings
from ctypes import string_at
from typing import Any

from . import _convert, _ffi
from ._ffi import lib
from .errors import QwenSFTWarning


def get_num_threads() -> int:
    """How many threads compute."""
    count: int = lib.sft_thread_count()
    return count


def set_num_threads(count: int) -> None:
    """Sets how many threads compute, for the whole process."""
    lib.sft_set_thread_count(_convert.count(count, "count", 1))


def _show(user_data: Any, message: Any, size: int) -> None:
    warnings.warn(string_at(message, size).decode(), QwenSFTWarning, stacklevel=2)


_callback = _ffi.WarningCallback(_show)
lib.sft_set_warning_callback(_callback, None)
# The library outlives the interpreter, and must not call into it then.
atexit.register(lib.sft_set_warning_callback, _ffi.WarningCallback(), None)
