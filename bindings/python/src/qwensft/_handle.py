"""Python objects that own an object of the C library."""

from ctypes import byref
from types import TracebackType
from typing import Any, Callable, Optional, Type, TypeVar

from . import _ffi


_Self = TypeVar("_Self", bound="Handle")


class Owner:
    """One object of the library, freed when the last reference to this goes."""

    def __init__(self, pointer_type: Any, free: Callable[[Any], None], create: Callable[..., None], *arguments: Any):
        self._free: Optional[Callable[[Any], None]] = None
        self.pointer: Any = pointer_type()
        create(*arguments, byref(self.pointer))
        self._free = free

    def __del__(self) -> None:
        if self._free is not None:
            self._free(self.pointer)


class Handle:
    """Base of all that owns an object of the library: `close()` or a `with` block gives the object back early.

    Arrays that were borrowed from it stay valid: they hold the owner too.
    """

    def __init__(self, owner: Owner):
        self._owner: "Owner | None" = owner

    @property
    def _pointer(self) -> Any:
        if self._owner is None:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._owner.pointer

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"a {type(self).__name__} can be neither copied nor pickled; models have clone()")

    def _shared(self: _Self) -> _Self:
        """Another object for the same one of the library; what is immutable is copied so. Each is closed for itself."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def close(self) -> None:
        """Gives the memory back; the object cannot be used afterwards. Closing twice is fine."""
        self._owner = None

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        self.close()


def defaults(struct: Any, init: Callable[[Any, int], None]) -> Any:
    """An options struct with the library's defaults."""
    options = struct()
    init(byref(options), _ffi.sizeof(options))
    return options
