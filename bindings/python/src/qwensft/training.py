"""Optimizers and the trainer."""

import os
from ctypes import byref, c_double, c_size_t, c_uint64
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Union

import numpy as np

from . import _convert, _ffi
from ._ffi import lib, sizeof
from ._handle import Handle, Owner, defaults
from ._interrupt import Interruptible
from .batch import Batch
from .dataset import Dataset
from .distributed import Collective, raising
from .model import Model


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, as torch.optim.SGD."""

    lr: float = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def _create(self) -> Tuple[Any, Any]:
        options = defaults(_ffi.SGDOptions, lib.sft_sgd_options_init)
        options.lr = self.lr
        options.momentum = self.momentum
        options.dampening = self.dampening
        options.weight_decay = self.weight_decay
        options.nesterov = bool(self.nesterov)
        return lib.sft_trainer_create_sgd, options


@dataclass(frozen=True)
class AdamW:
    """AdamW, as torch.optim.AdamW.

    Attributes:
        state_bits: 32; 8: a quarter of the memory, as AdamW8bit of bitsandbytes.
    """

    lr: float = 1e-3
    betas: Tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-2
    state_bits: int = 32

    def _create(self) -> Tuple[Any, Any]:
        options = defaults(_ffi.AdamWOptions, lib.sft_adamw_options_init)
        options.lr = self.lr
        options.beta1, options.beta2 = self.betas
        options.eps = self.eps
        options.weight_decay = self.weight_decay
        options.state_bits = self.state_bits
        return lib.sft_trainer_create_adamw, options


@dataclass(frozen=True)
class StepMetrics:
    """What one pass over a batch came to.

    Attributes:
        loss: mean cross-entropy per supervised token, before the update.
        supervised_tokens: how many tokens that is the mean of.
        grad_norm: L2 norm over all parameters; None where it was not formed.
        seconds: wall-clock time.
    """

    loss: float
    supervised_tokens: int
    grad_norm: Optional[float]
    seconds: float

    @classmethod
    def _of(cls, fields: Any) -> "StepMetrics":
        grad_norm = fields.grad_norm if fields.has_grad_norm else None
        return cls(fields.loss, fields.supervised_tokens, grad_norm, fields.seconds)


class Trainer(Handle):
    """An optimizer with its state, and the model it trains.

    Args:
        max_grad_norm: gradients are scaled down to this L2 norm; None: they are not.
        recomputation: keep less between forward and backward and compute it again: slower, and much less memory for
            long rows.
        decays_vectors: weight decay applies to norms and biases too, as in torch.
        rounds_stochastically: bfloat16 weights are rounded at random with the right mean, so that small updates are not
            lost.
        seed: of that.
        loraplus_lr_ratio: how many times as fast an adapter's B learns as its A (LoRA+).
        all_reduce: the processes that take every step together, `qwensft.distributed.mpi4py(comm)` or `.torch(group)`, or a
            Collective of your own. A step is then one on the batches of all of them, each of which may have rows of any number,
            or none; its metrics are those of all. Where one of them fails, all raise the same.
    """

    def __init__(
        self,
        model: Model,
        optimizer: Union[SGD, AdamW] = SGD(),
        max_grad_norm: Optional[float] = None,
        recomputation: bool = False,
        decays_vectors: bool = True,
        rounds_stochastically: bool = True,
        seed: int = 0,
        loraplus_lr_ratio: float = 1.0,
        all_reduce: Optional[Collective] = None,
    ):
        if not isinstance(optimizer, (SGD, AdamW)):
            raise TypeError(f"optimizer is {type(optimizer).__name__}, expected SGD or AdamW")
        if all_reduce is not None and not isinstance(all_reduce, Collective):
            raise TypeError(f"all_reduce is {type(all_reduce).__name__}, expected a qwensft.distributed.Collective")
        self.model: Model = model
        self.optimizer: Union[SGD, AdamW] = optimizer
        self._asked: Optional[Interruptible] = None
        self._callback = _ffi.ProgressCallback(self._on_progress)  # the library holds its address as long as the trainer
        options = defaults(_ffi.TrainerOptions, lib.sft_trainer_options_init)
        if max_grad_norm is not None:
            options.max_grad_norm = max_grad_norm
        options.recomputation = bool(recomputation)
        options.decays_vectors = bool(decays_vectors)
        options.rounds_stochastically = bool(rounds_stochastically)
        options.seed = _convert.seed(seed)
        options.loraplus_lr_ratio = loraplus_lr_ratio
        options.on_progress = self._callback
        self._sum = all_reduce._callback() if all_reduce is not None else None
        if all_reduce is not None and self._sum is not None:
            options.all_reduce = self._sum.pointer
            options.rank = _convert.count(all_reduce.rank, "rank", 0)
            options.world_size = _convert.count(all_reduce.world_size, "world_size", 1)
            options.check_interval = _convert.count(all_reduce.check_interval, "check_interval", 1)
            options.local_steps = _convert.count(all_reduce.local_steps, "local_steps", 1)
            options.outer_lr = all_reduce.outer_lr
            options.outer_momentum = all_reduce.outer_momentum
        create, fields = optimizer._create()
        super().__init__(
            Owner(_ffi.TrainerPointer, lib.sft_trainer_free, create, model._pointer, byref(fields), byref(options))
        )

    def set_lr(self, lr: float) -> None:
        """Sets the learning rate of the next steps."""
        lib.sft_trainer_set_lr(self._pointer, lr)

    def get_lr(self) -> float:
        """The learning rate of the next step."""
        lr = c_double()
        lib.sft_trainer_get_lr(self._pointer, byref(lr))
        return lr.value

    @property
    def global_step(self) -> int:
        """Steps taken; `load_state` puts it back."""
        count = c_uint64()
        lib.sft_trainer_get_step_count(self._pointer, byref(count))
        return count.value

    def step(
        self, batch: Union[Batch, Sequence[Batch]], on_progress: Optional[Callable[[int, int], Any]] = None
    ) -> StepMetrics:
        """One optimizer step: forward, loss, backward, update. Ctrl-C before the update leaves the model as it was.

        Several batches make one step together, the same as one batch of all their rows, in the memory of the largest.

        Args:
            on_progress: called with how much is done, and all of it; returning True cancels, and the model is as it was. With
                plain SGD weights change during backward: from then on the step is finished.
        """
        with raising(self._sum):
            return self._measure(lib.sft_train_step_accumulated, batch, on_progress)

    def evaluate(
        self, batch: Union[Batch, Sequence[Batch], Dataset], on_progress: Optional[Callable[[int, int], Any]] = None
    ) -> StepMetrics:
        """The loss of a batch, of several together or of a dataset; nothing is changed. Ctrl-C ends it at once."""
        if isinstance(batch, Dataset):
            metrics = _ffi.StepMetrics()
            with Interruptible(on_progress) as self._asked:
                lib.sft_evaluate_dataset(self._pointer, batch._pointer, None, byref(metrics), sizeof(metrics))
            return StepMetrics._of(metrics)
        return self._measure(lib.sft_evaluate_accumulated, batch, on_progress)

    def stop(self) -> None:
        """Ends the step or the evaluation that is under way on another thread: there it raises CancelledError.

        The model is as it was. A step that has begun to change weights is finished; without one, nothing happens.
        """
        lib.sft_trainer_stop(self._pointer)

    def token_losses(self, batch: Batch) -> np.ndarray:
        """What each label costs the model: float32 (B, T), NaN where nothing is learned."""
        losses = np.empty(batch.shape, dtype=np.float32)
        count = c_size_t()
        lib.sft_token_losses(self._pointer, batch._pointer, _convert.pointer(losses), losses.size, byref(count))
        return losses

    def row_losses(self, batch: Batch) -> np.ndarray:
        """What each row costs the model: float64 (B,), the mean over its labels; NaN for a row without any."""
        losses = np.empty(batch.shape[0], dtype=np.float64)
        count = c_size_t()
        lib.sft_row_losses(self._pointer, batch._pointer, _convert.pointer(losses), losses.size, byref(count))
        return losses

    def save_state(self, path: "Union[str, os.PathLike[str]]") -> None:
        """Writes all that the next step depends on beside the weights to a file.

        Save those with `save_pretrained` in the dtype they have in memory: rounded, they do not go on as they would have.
        """
        lib.sft_trainer_save_state(self._pointer, *_convert.path(path))

    def load_state(self, path: "Union[str, os.PathLike[str]]") -> None:
        """Takes up what `save_state` wrote, in a trainer with the same optimizer on the same kind of model."""
        lib.sft_trainer_load_state(self._pointer, *_convert.path(path))

    def gradient_norms(self, batch: Batch) -> Dict[str, float]:
        """The L2 norm of the loss gradient of each parameter of the model, or of the adapter that is trained. Nothing is changed."""
        names = []
        for index in range(lib.sft_trainer_parameter_count(self._pointer)):
            parameter = _ffi.Parameter()
            lib.sft_trainer_get_parameter(self._pointer, index, byref(parameter), sizeof(parameter))
            names.append(_ffi.text(parameter, "name"))
        norms = (c_double * len(names))()
        lib.sft_gradient_norms(self._pointer, batch._pointer, norms, len(names), byref(c_size_t()))
        return dict(zip(names, norms))

    def _measure(
        self, function: Any, batch: Union[Batch, Sequence[Batch]], on_progress: Optional[Callable[[int, int], Any]]
    ) -> StepMetrics:
        batches = [batch] if isinstance(batch, Batch) else _convert.sequence(batch, "batch")
        for i, item in enumerate(batches):
            if not isinstance(item, Batch):
                raise TypeError(f"batch[{i}] is {type(item).__name__}, expected Batch")
        pointers = (_ffi.BatchPointer * len(batches))(*(item._pointer for item in batches))
        metrics = _ffi.StepMetrics()
        with Interruptible(on_progress) as self._asked:
            function(self._pointer, pointers, len(batches), byref(metrics), sizeof(metrics))
        return StepMetrics._of(metrics)

    def _on_progress(self, user_data: Any, done: int, total: int) -> int:
        return 0 if self._asked is None else self._asked(user_data, done, total)
