"""The C library, loaded, with the prototypes of its header; what it refuses is raised."""

from ctypes import Structure, c_void_p, cast, string_at
from ctypes import sizeof as sizeof
from typing import Any

from ._exit import calls
from ._header import *  # noqa: F403 (every struct, callback and table of constants)
from ._header import PROTOTYPES, StatusResult
from ._library import load
from .errors import exception_for


def text(struct: Structure, name: str) -> str:
    """A text in a struct that the library lends, with its size; a c_char_p field by itself would end at a NUL."""
    place = c_void_p.from_buffer(struct, getattr(type(struct), name).offset).value
    return string_at(place, getattr(struct, name + "_size")).decode() if place else ""


def address(pointer: Any) -> int:
    """Where a pointer points, 0 for NULL."""
    return cast(pointer, c_void_p).value or 0


def _check(status: StatusResult, function: Any, arguments: Any) -> None:
    if status.value != 0:
        raise exception_for(status.value, lib.sft_last_error().decode())


def _counting(function_type: Any) -> Any:
    """ctypes' type of the library's functions, with every call counted while it runs."""

    def call(self: Any, *arguments: Any) -> Any:
        with calls:
            return function_type.__call__(self, *arguments)

    own = {"_flags_": function_type._flags_, "_restype_": function_type._restype_, "__call__": call}
    return type("Function", (function_type,), own)


lib = load()
_Plain, _Counting = lib._FuncPtr, _counting(lib._FuncPtr)
for _name, (_restype, _argtypes) in PROTOTYPES.items():
    # What frees is called by finalizers, on any thread and at any time; it takes no time and calls nothing back.
    lib._FuncPtr = _Plain if _name.endswith("_free") else _Counting
    _function = getattr(lib, _name)
    _function.restype = _restype
    _function.argtypes = _argtypes
    if _restype is StatusResult:
        _function.errcheck = _check
