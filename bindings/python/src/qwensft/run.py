"""Training over many conversations, and the loss curve."""

import os
from ctypes import byref, c_double, c_size_t
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from . import _convert, _ffi
from ._convert import Conversations
from ._ffi import lib, sizeof
from ._handle import Handle, Owner, defaults
from ._header import LabelPolicy, Schedule
from ._interrupt import Interruptible
from .batch import preprocess_options
from .distributed import Collective, raising
from .model import Model
from .tokenizer import Tokenizer
from .training import SGD, AdamW, StepMetrics, Trainer

Path = Union[str, "os.PathLike[str]"]
Data = Union[Path, Conversations]


@dataclass(frozen=True)
class DatasetReport:
    """What became of the conversations of a dataset.

    Attributes:
        conversations: how many are there to learn from.
        truncated: how many of them were cut.
        without_target: how many were left out, because nothing of them is supervised.
        too_long: how many were left out, because they are longer than `context_length`.
        tokens: of those kept.
        supervised_tokens: how many of them are learned.
    """

    conversations: int
    truncated: int
    without_target: int
    too_long: int
    tokens: int
    supervised_tokens: int


class Dataset(Handle):
    """Conversations as tokens and labels, to train on or to measure the loss on. Immutable.

    Args:
        conversations: a list of conversations as `preprocess` takes it, or the path of a JSON Lines file with one
            conversation a line: {"messages": [{"role": …, "content": …}, …]}.
        drop_unusable: leave out what cannot be learned from, instead of refusing it.
        label_policy, max_length, split_special_tokens, add_default_system, chat_template, context_length, tools,
            chat_template_kwargs: as in `preprocess`, but for add_default_system: a dataset adds it unless that is False.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        conversations: Data,
        label_policy: LabelPolicy = "qwen",
        max_length: Optional[int] = None,
        split_special_tokens: bool = True,
        add_default_system: Optional[bool] = None,
        chat_template: Optional[str] = None,
        drop_unusable: bool = False,
        context_length: Optional[int] = None,
        tools: Optional[Sequence[Any]] = None,
        chat_template_kwargs: Optional[Mapping[str, Any]] = None,
    ):
        tokenizer = tokenizer._with(chat_template, tools, chat_template_kwargs)
        options = preprocess_options(label_policy, max_length, split_special_tokens, add_default_system, context_length)
        data: Tuple[Any, ...]
        if isinstance(conversations, (str, os.PathLike)):
            create, data = lib.sft_dataset_open, _convert.path(conversations)
        else:
            create, data = lib.sft_dataset_create, _convert.conversations(conversations)
        arguments = (tokenizer._pointer, *data, byref(options), bool(drop_unusable))
        super().__init__(Owner(_ffi.DatasetPointer, lib.sft_dataset_free, create, *arguments))
        info = _ffi.DatasetInfo()
        lib.sft_dataset_get_info(self._pointer, byref(info), sizeof(info))
        self.report: DatasetReport = DatasetReport(*(getattr(info, name) for name, *_ in _ffi.DatasetInfo._fields_))

    def __len__(self) -> int:
        return self.report.conversations

    def __repr__(self) -> str:
        return f"Dataset({self.report})"


class LossCurve:
    """Losses and their picture; a notebook shows it.

    Args:
        losses: the loss of step 1, 2, …; what is not finite is left out.
        evaluations: losses on other data, by the number of steps they were measured after.
    """

    def __init__(self, losses: Sequence[float], evaluations: Optional[Mapping[int, float]] = None, title: str = "Loss"):
        self.losses: List[float] = _convert.array(losses, "float64", 1, "losses").tolist()
        self.evaluations: Dict[int, float] = dict(evaluations or {})
        self.title: str = title

    def svg(self) -> str:
        """An SVG document."""
        losses = (c_double * len(self.losses))(*self.losses)
        steps = [_convert.count(step, "a step of evaluations", 0) for step in self.evaluations]
        evaluation_steps = (c_size_t * len(steps))(*steps)
        evaluation_losses = (c_double * len(steps))(*self.evaluations.values())
        data = (losses, len(losses), evaluation_steps, evaluation_losses, len(steps), *_convert.text(self.title, "title"))
        return _convert.text_result(lambda *out: lib.sft_loss_curve_svg(*data, *out), 1 << 16)

    def _repr_svg_(self) -> str:
        return self.svg()


@dataclass(frozen=True)
class RunStep:
    """One step of a run.

    Attributes:
        step: from 1 to total_steps.
        epoch: from 0.
        lr: the learning rate it had.
        conversations: that made it up, and how many `tokens` they are.
        metrics: None: the loss or a gradient was not finite, and the weights are as before.
    """

    step: int
    total_steps: int
    epoch: int
    lr: float
    conversations: int
    tokens: int
    metrics: Optional[StepMetrics]


class Run(Handle):
    """A trainer on its way through a dataset: `for step in run: …`. In a notebook it shows its losses.

    The trainer's learning rate at the beginning is the run's full rate.

    Args:
        epochs: how often every conversation is seen.
        batch_size: conversations that are computed together.
        accumulation: batches that make up one step.
        max_batch_tokens: larger batches are computed in parts, which changes rounding only; None: they are not.
        schedule: "constant", "linear" or "cosine".
        warmup_steps: steps over which the rate rises.
        shuffle: every epoch has an order of its own.
        seed: of that order.
    """

    def __init__(
        self,
        trainer: Trainer,
        dataset: Dataset,
        epochs: int = 1,
        batch_size: int = 8,
        accumulation: int = 1,
        max_batch_tokens: Optional[int] = 4096,
        schedule: Schedule = "constant",
        warmup_steps: int = 0,
        shuffle: bool = True,
        seed: int = 0,
    ):
        options = defaults(_ffi.RunOptions, lib.sft_run_options_init)
        options.epochs = _convert.count(epochs, "epochs", 1)
        options.batch_size = _convert.count(batch_size, "batch_size", 1)
        options.accumulation = _convert.count(accumulation, "accumulation", 1)
        options.max_batch_tokens = 0 if max_batch_tokens is None else _convert.positive(max_batch_tokens, "max_batch_tokens")
        options.warmup_steps = _convert.count(warmup_steps, "warmup_steps", 0)
        options.seed = _convert.seed(seed)
        options.schedule = _convert.constant(_ffi.SCHEDULES, schedule, "schedule")
        options.shuffles = bool(shuffle)
        self.trainer: Trainer = trainer
        arguments = (trainer._pointer, dataset._pointer, byref(options))
        super().__init__(Owner(_ffi.RunPointer, lib.sft_run_free, lib.sft_run_create, *arguments))

    def __iter__(self) -> Iterator[RunStep]:
        """The steps that are left."""
        return iter(self.step, None)

    def step(self) -> Optional[RunStep]:
        """Takes the next step; None when the run is done. Ctrl-C leaves everything as before the step."""
        fields = _ffi.RunStep()
        with raising(self.trainer._sum), Interruptible(None) as self.trainer._asked:
            lib.sft_run_next(self._pointer, byref(fields), sizeof(fields))
        if fields.step == 0:
            return None
        metrics = None if fields.is_refused else StepMetrics._of(fields)
        return RunStep(
            fields.step, fields.total_steps, fields.epoch, fields.lr, fields.conversations, fields.tokens, metrics
        )

    def evaluate(self, dataset: Dataset) -> StepMetrics:
        """The loss on other data with the weights as they are, noted in the curve."""
        metrics = _ffi.StepMetrics()
        with Interruptible(None) as self.trainer._asked:
            lib.sft_run_evaluate(self._pointer, dataset._pointer, byref(metrics), sizeof(metrics))
        return StepMetrics._of(metrics)

    @property
    def losses(self) -> np.ndarray:
        """The loss of every step so far, float64; NaN for a refused one."""
        count = c_size_t()
        losses = np.empty(1024, dtype=np.float64)
        while True:
            try:
                lib.sft_run_losses(self._pointer, _convert.pointer(losses), losses.size, byref(count))
                return losses[: count.value]
            except BufferError:
                losses = np.empty(count.value, dtype=np.float64)

    def save_state(self, path: Path) -> None:
        """As `Trainer.save_state`, with the place in the data and the losses."""
        lib.sft_run_save_state(self._pointer, *_convert.path(path))

    def load_state(self, path: Path) -> None:
        """Goes on where `save_state` stopped: with the same data and options on the model saved then.

        Bit for bit, if it was saved in the dtype it had in memory: `save_pretrained(..., dtype="float32")`.
        """
        lib.sft_run_load_state(self._pointer, *_convert.path(path))

    def svg(self, title: str = "Loss") -> str:
        """The losses as an SVG document."""
        data = _convert.text(title, "title")
        return _convert.text_result(lambda *out: lib.sft_run_svg(self._pointer, *data, *out), 1 << 16)

    def _repr_svg_(self) -> str:
        return self.svg()


def train(
    model: Model,
    tokenizer: Tokenizer,
    conversations: Union[Data, Dataset],
    epochs: int = 1,
    batch_size: int = 8,
    optimizer: Union[SGD, AdamW] = AdamW(lr=1e-5),
    max_grad_norm: Optional[float] = 1.0,
    evaluation: Union[Data, Dataset, None] = None,
    label_policy: LabelPolicy = "qwen",
    max_length: Optional[int] = None,
    on_step: Optional[Callable[[RunStep], Any]] = None,
    progress: bool = False,
    all_reduce: Optional[Collective] = None,
    **run_options: Any,
) -> Run:
    """Fine-tunes a model on conversations, as the tool's `train` does and with its defaults; the run that it was.

    Args:
        conversations: as for `Dataset`, or one.
        max_grad_norm: gradients are scaled down to this L2 norm; None: they are not.
        evaluation: conversations to measure the loss on before and after, and after each epoch.
        on_step: called after each step; returning True ends the run.
        progress: show a bar (needs tqdm).
        all_reduce: processes that train together, as for `Trainer`; each takes its part of every step's conversations.
        run_options: more options of `Run`: accumulation, schedule, warmup_steps, shuffle, seed, max_batch_tokens.
    """

    def dataset(given: Union[Data, Dataset]) -> Dataset:
        if isinstance(given, Dataset):
            return given
        context_length = model.config.max_position_embeddings
        return Dataset(tokenizer, given, label_policy, max_length, context_length=context_length)

    data = dataset(conversations)
    other = None if evaluation is None else dataset(evaluation)
    seed = run_options.get("seed", 0)
    trainer = Trainer(model, optimizer, max_grad_norm, decays_vectors=False, seed=seed, all_reduce=all_reduce)
    run = Run(trainer, data, epochs, batch_size, **run_options)
    bar = _bar(progress)
    if other is not None:
        run.evaluate(other)
    for step in run:
        if bar is not None:
            bar.total = step.total_steps
            bar.set_postfix(loss=step.metrics.loss if step.metrics else float("nan"))
            bar.update()
        if other is not None and step.step % (step.total_steps // epochs) == 0:
            run.evaluate(other)
        if on_step is not None and on_step(step) is True:
            break
    if bar is not None:
        bar.close()
    return run


def _bar(is_wanted: bool) -> Any:
    if not is_wanted:
        return None
    from tqdm.auto import tqdm

    return tqdm(unit="step")
