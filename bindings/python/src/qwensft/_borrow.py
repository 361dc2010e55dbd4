"""The library's arrays as numpy arrays, without copying."""

from ctypes import byref
from typing import Any, Dict

import numpy as np

from . import _ffi
from ._ffi import lib, sizeof
from ._handle import Owner


def batch_arrays(owner: Owner) -> Dict[str, np.ndarray]:
    """What an sft_batch holds: arrays (B, T), by name; token_weights where it has some."""
    view = _ffi.BatchView()
    lib.sft_batch_get_view(owner.pointer, byref(view), sizeof(view))
    shape = (view.rows, view.columns)
    arrays = {
        name: _borrowed(owner, getattr(view, name), "<i8", shape) for name in ("input_ids", "labels", "attention_mask")
    }
    if view.token_weights:
        arrays["token_weights"] = _borrowed(owner, view.token_weights, "<f4", shape)
    arrays["conversations"] = _borrowed(owner, view.conversations, "<u8", (view.rows,))
    return arrays


class _Borrowed:
    """Memory of the library as numpy takes it over: the array holds this, and this holds the owner."""

    def __init__(self, owner: Owner, interface: Dict[str, Any]):
        self.owner = owner
        self.__array_interface__ = interface


def _borrowed(owner: Owner, pointer: Any, typestr: str, shape: Any) -> np.ndarray:
    address = _ffi.address(pointer)
    return np.asarray(_Borrowed(owner, {"version": 3, "typestr": typestr, "shape": shape, "data": (address, True)}))
