"""Ctrl-C while the library computes.

Python runs signal handlers between its own instructions only, and an exception raised inside a ctypes callback is lost.
So during a long call a handler notes the signal, the callback sees the note and cancels, and the exception is raised here.
"""

import signal
import threading
from typing import Any, Callable, Optional

from ._exit import calls
from .errors import CancelledError


class Interruptible:
    """A callback for the C library, around a function of the user's; as a context manager it surrounds the call.

    Args:
        stop: another way to end the call, where the library does not ask the callback all the time.
    """

    def __init__(self, function: Optional[Callable[..., Any]], stop: Optional[Callable[[], None]] = None):
        self._function = function
        self._stop = stop
        self._error: Optional[BaseException] = None
        self._interrupted = False
        self._replaced = False

    def __call__(self, user_data: Any, *arguments: Any) -> int:
        calls.enter_callback()
        try:
            stop = self._function is not None and self._function(*arguments) is True
            return 1 if stop or self._interrupted or calls.must_stop else 0
        except BaseException as error:
            self._error = error
            return 1
        finally:
            calls.leave_callback()

    def _note(self, signal_number: int, frame: Any) -> None:
        self._interrupted = True

    def __enter__(self) -> "Interruptible":
        # A program with a handler of its own decides itself; other threads do not get signals.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._note)
            self._replaced = True
        if self._stop is not None:
            calls.ask_to_stop.add(self._stop)
        return self

    def __exit__(self, kind: Any, error: Optional[BaseException], traceback: Any) -> None:
        if self._stop is not None:
            calls.ask_to_stop.discard(self._stop)
        if self._replaced:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if error is not None and not isinstance(error, CancelledError):
            return
        if self._error is not None:
            raise self._error
        if self._interrupted:
            raise KeyboardInterrupt


class Reading(Interruptible):
    """The same around a function that gives data: how many bytes it wrote, 0 at the end, instead of whether to stop."""

    def __call__(self, user_data: Any, *arguments: Any) -> int:
        calls.enter_callback()
        try:
            if self._interrupted or calls.must_stop or self._function is None:
                return -1
            return int(self._function(*arguments))
        except BaseException as error:
            self._error = error
            return -1
        finally:
            calls.leave_callback()

    def __enter__(self) -> "Reading":
        super().__enter__()
        return self
