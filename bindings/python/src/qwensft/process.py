"""What holds for the whole process: threads, instruction set, warnings."""

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


def get_isa() -> str:
    """The instruction set whose kernels run: ``"plain"``, ``"avx2"``, ``"avx512"`` or ``"avx512_bf16"``.

    On aarch64 ``"plain"``, ``"neon"``, ``"neon_dotprod"`` or ``"neon_i8mm"``.
    """
    name: bytes = lib.sft_isa()
    return name.decode()


def set_max_isa(isa: str) -> None:
    """Limits the kernels of the whole process to an instruction set of `get_isa` and those before it.

    For measuring, for bug reports, and for the same bits on different machines. OpenBLAS, which multiplies most of float32, chooses on
    its own (``OPENBLAS_CORETYPE`` in the environment). Raises `UnsupportedError` once the library has computed anything, as it
    does when a model is opened.
    """
    lib.sft_set_max_isa(*_convert.text(isa, "isa"))


def _show(user_data: Any, message: Any, size: int) -> None:
    warnings.warn(string_at(message, size).decode(), QwenSFTWarning, stacklevel=2)


_callback = _ffi.WarningCallback(_show)
lib.sft_set_warning_callback(_callback, None)
# The library outlives the interpreter, and must not call into it then.
atexit.register(lib.sft_set_warning_callback, _ffi.WarningCallback(), None)
