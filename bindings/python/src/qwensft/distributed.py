"""Training that several processes do together: `Trainer(model, all_reduce=qwensft.distributed.mpi4py(comm))`."""

from contextlib import contextmanager
from ctypes import c_float
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Optional

import numpy as np

from . import _ffi
from ._exit import calls


@dataclass(frozen=True)
class Collective:
    """Processes that train together.

    Attributes:
        rank: this process's number, from 0.
        world_size: how many processes there are.
        all_reduce: adds up a float32 array over all of them, in place, such that all get the same bits. What it raises ends
            the step, and the trainer takes no more: make a new one, in every process.
        check_interval: weights are compared at the first step and, unless processes step by themselves, every so many steps.
        local_steps: more than 1: each takes that many steps by itself, and then its weights are replaced by the mean of all.
        outer_lr, outer_momentum: of SGD with Nesterov's momentum along the way from one average to the next, as in DiLoCo
            (0.7 and 0.9), in place of the plain mean.
    """

    rank: int
    world_size: int
    all_reduce: Callable[[np.ndarray], Any]
    check_interval: int = 100
    local_steps: int = 1
    outer_lr: float = 1.0
    outer_momentum: float = 0.0

    def _callback(self) -> "_Callback":
        return _Callback(self.all_reduce)


def mpi4py(comm: Any = None, **options: Any) -> Collective:
    """The processes of an MPI communicator of mpi4py; None: all of them (MPI.COMM_WORLD). `options`: of `Collective`."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD if comm is None else comm

    def all_reduce(values: np.ndarray) -> None:
        comm.Allreduce(MPI.IN_PLACE, values, op=MPI.SUM)

    return Collective(comm.Get_rank(), comm.Get_size(), all_reduce, **options)


def torch(group: Any = None, **options: Any) -> Collective:
    """The processes of a group of torch.distributed with the backend gloo or mpi; None: all of them. `options`: of `Collective`."""
    import torch
    import torch.distributed as dist

    def all_reduce(values: np.ndarray) -> None:
        dist.all_reduce(torch.from_numpy(values), group=group)

    return Collective(dist.get_rank(group), dist.get_world_size(group), all_reduce, **options)


class _Callback:
    """all_reduce as the C library calls it; what it raises is kept."""

    def __init__(self, function: Callable[[np.ndarray], Any]):
        self._function = function
        self.error: Optional[BaseException] = None
        self.pointer = _ffi.AllReduceCallback(self._call)

    def _call(self, user_data: Any, values: Any, count: int) -> int:
        calls.enter_callback()
        try:
            self._function(np.ctypeslib.as_array((c_float * count).from_address(_ffi.address(values))))
            return 0
        except BaseException as error:
            self.error = error
            return 1
        finally:
            calls.leave_callback()


@contextmanager
def raising(callback: Optional[_Callback]) -> Iterator[None]:
    """Around a call of the library: what `callback` raised is the cause of what the library says."""
    try:
        yield
    except Exception as error:
        cause = None if callback is None else callback.error
        if callback is None or cause is None:
            raise
        callback.error = None
        if not isinstance(cause, Exception):  # Ctrl-C stays what it is
            raise cause from error
        raise error from cause
