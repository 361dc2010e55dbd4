"""Whether training will fit."""

import os
from ctypes import byref
from dataclasses import dataclass
from typing import Optional, Union

from . import _convert, _ffi
from ._ffi import lib, sizeof
from ._handle import defaults
from ._header import DType, Optimizer, Quantization
from .adapter import LoraConfig
from .training import SGD, AdamW


@dataclass(frozen=True)
class TrainingMemory:
    """What training takes, an estimate in bytes.

    Attributes:
        weights: the model itself, and an adapter.
        gradients: 0 where they go straight into the weights: plain SGD without clipping, one batch a step.
        optimizer: momentum, or AdamW's moments.
        activations: what forward leaves for backward, and logits.
        total: all of these.
        available: what this process can have now without swapping; None: the system does not say.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    total: int
    available: Optional[int]

    @property
    def fits(self) -> bool:
        """Whether there is as much."""
        return self.available is None or self.total <= self.available


def estimate_training_memory(
    directory: "Union[str, os.PathLike[str]]",
    optimizer: Union[SGD, AdamW] = SGD(),
    dtype: DType = "float32",
    tokens: int = 4096,
    supervised_tokens: Optional[int] = None,
    accumulation: int = 1,
    max_grad_norm: Optional[float] = None,
    recomputation: bool = False,
    adapter: Optional[LoraConfig] = None,
    quantization: Optional[Quantization] = None,
) -> TrainingMemory:
    """What training a checkpoint takes, and what there is; of the checkpoint only config.json is read.

    Args:
        dtype: how weights are kept in memory.
        tokens: of the largest batch: what max_batch_tokens of a run bounds.
        supervised_tokens: how many of them are learned; None: all.
        accumulation: batches that make up one step.
        max_grad_norm, recomputation: as for `Trainer`.
        adapter: trained in place of the model.
        quantization: of the model below it.
    """
    options = defaults(_ffi.MemoryOptions, lib.sft_memory_options_init)
    options.tokens = _convert.count(tokens, "tokens", 1)
    options.accumulation = _convert.count(accumulation, "accumulation", 1)
    if supervised_tokens is not None:
        options.supervised_tokens = _convert.positive(supervised_tokens, "supervised_tokens")
    options.dtype = _convert.constant(_ffi.DTYPES, dtype, "dtype")
    kind: Optimizer
    if isinstance(optimizer, AdamW):
        kind = "adamw_8bit" if optimizer.state_bits == 8 else "adamw"
    else:
        kind = "sgd_momentum" if optimizer.momentum != 0 else "sgd"
    options.optimizer = _ffi.OPTIMIZERS[kind]
    options.clips_gradients = max_grad_norm is not None
    options.recomputation = bool(recomputation)
    options.quantization = _convert.constant(_ffi.QUANTIZATIONS, quantization, "quantization")
    if adapter is not None:
        options.adapter, options.adapter_size = _convert.text(adapter._json(), "adapter")
    memory = _ffi.TrainingMemory()
    data = _convert.path(directory)
    lib.sft_estimate_training_memory(*data, byref(options), byref(memory), sizeof(memory))
    return TrainingMemory(
        memory.weights,
        memory.gradients,
        memory.optimizer,
        memory.activations,
        memory.total,
        memory.available or None,
    )
