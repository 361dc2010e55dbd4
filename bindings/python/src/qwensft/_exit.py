"""Calls of the library that are under way when the interpreter exits.

A thread that calls back into a finished interpreter takes the process down, and one that computes while the process is
taken apart may. So at exit no other thread may begin a call, those under way are asked to stop, and the interpreter waits
until they have.
"""

import atexit
import os
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Callable, Optional, Set, Type

# How long to wait for a callback that waits for something itself, which may be what has ended already.
_PATIENCE = 5.0


class _Calls:
    """Counts calls, as a context manager around each; `ask_to_stop` are the ways to end those that can be ended."""

    def __init__(self) -> None:
        self.exiting: Optional[int] = None  # the thread that exits
        self.ask_to_stop: Set[Callable[[], None]] = set()
        self.threads: Set[threading.Thread] = set()
        self._reset()

    def _reset(self) -> None:
        # The same thread may take it again, in a finalizer. A condition's own `with` is Python and takes a third of a call's time.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._running = 0
        self._in_callbacks = 0

    def forget(self) -> None:
        """In a forked child, which has none of the other threads."""
        self.ask_to_stop.clear()
        self.threads.clear()
        self._reset()

    @property
    def must_stop(self) -> bool:
        return self.exiting is not None and self.exiting != threading.get_ident()

    def __enter__(self) -> None:
        with self._lock:
            if self.must_stop:
                raise SystemExit("the interpreter is exiting, and so is every other thread that uses qwensft")
            self._running += 1

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        with self._lock:
            self._running -= 1
            if self.exiting is not None:
                self._changed.notify_all()

    def enter_callback(self) -> None:
        with self._changed:
            self._in_callbacks += 1

    def leave_callback(self) -> None:
        with self._changed:
            self._in_callbacks -= 1

    def finish(self) -> None:
        """Stops what runs on other threads, and waits for it."""
        with self._changed:
            self.exiting = threading.get_ident()
        blocked_since = None
        while True:
            for ask in list(self.ask_to_stop):
                with suppress(Exception):  # of an object that was closed meanwhile
                    ask()
            with self._changed:
                if self._running == 0:
                    break
                if self._running > self._in_callbacks:
                    blocked_since = None
                elif blocked_since is None:
                    blocked_since = time.monotonic()
                elif time.monotonic() - blocked_since > _PATIENCE:
                    return
                self._changed.wait(0.05)
        for thread in list(self.threads):
            with suppress(RuntimeError):  # one that has not begun yet, and will find that it must not
                thread.join()


calls = _Calls()
atexit.register(calls.finish)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=calls.forget)
