"""Training over many conversations, and the loss curve."""

import json
import math
from ctypes import byref, c_double, c_size_t
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

import numpy as np

from . import _convert, _ffi
from ._ffi import lib, sizeof
from ._handle import Handle, Owner, defaults
from ._header import DType, RunEventKind, Schedule
from ._interrupt import Interruptible
from .dataset import Dataset, Path
from .distributed import raising
from .errors import BusyError
from .tokenizer import Tokenizer
from .training import StepMetrics, Trainer


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


@dataclass(frozen=True)
class RunEvent:
    """Something that happens in a run.

    Attributes:
        kind: "step", "evaluation", "answer", "warning", "saved" or "ended".
        step: steps taken; of "ended", the one whose weights are the result.
        seconds_left: until the run is done; None where that is not known.
        taken: the step, of "step".
        loss: of "evaluation".
        is_general: an evaluation on the fixed general set.
        end_of_turn_probability: of "evaluation": the mean probability of the token that ends a turn, where turns end.
        text: the answer, the warning, the file that was saved, or why the run has ended: "completed", "patience", "budget", "stopped".
        prompt: what the answer is to.
    """

    kind: RunEventKind
    step: int
    total_steps: int
    seconds_left: Optional[float]
    taken: Optional[RunStep] = None
    loss: Optional[float] = None
    is_general: bool = False
    end_of_turn_probability: Optional[float] = None
    text: Optional[str] = None
    prompt: Optional[str] = None


class Run(Handle):
    """A trainer on its way through a dataset: `for step in run: …`, or `for event in run.events(): …`.

    In a notebook it shows its losses; `len(run)` is its number of steps. Between two steps the model may be chatted with,
    measured and saved, the rate changed, and a snapshot taken and gone back to.

    The trainer's learning rate at the beginning is the run's full rate.

    Args:
        epochs: how often every conversation is seen; 0.5 is half of them, once.
        batch_size: conversations that are computed together.
        accumulation: batches that make up one step.
        tokens_per_step: a step has conversations of about so many tokens, whatever batch_size says; None: it does not.
        max_batch_tokens: larger batches are computed in parts, which changes rounding only; None: they are not.
        schedule: "constant", "linear" or "cosine", step for step as in transformers.
        warmup_steps: steps over which the rate rises from 0; 0: `warmup_ratio` says how many, as a share of all steps.
        shuffle: every epoch has an order of its own.
        seed: of that order.
        max_steps: steps of the run, whatever `epochs` says.
        max_refused_steps: so many steps one after another that were refused for a loss that is not finite end the run.
        validation: its loss is measured before, at intervals and after, and says which weights are the best.
        evaluate_every: steps between two evaluations; None: one after each epoch.
        patience: so many evaluations that are no better than the best end the run.
        writes_last: the last weights are the result, not the best.
        tokenizer: for `prompts` and `probes_forgetting`.
        prompts: what the model is asked before, at each evaluation and after; `max_answer_tokens` bounds its answers.
        probes_forgetting: measure the loss on a fixed general set before and after.
        max_seconds: no step begins after that time.
        output: where the result is to be; the run keeps what it needs to go on in `output`.partial beside it.
        save_every: steps between two checkpoints there, of which the last `keep_last` are kept.
        resume: go on with the run that was stopped there; with other data or options only with `force`, and a warning.
        overwrite: remove one that was stopped there. Without either, it is an error.
        log_dir: where the numbers go as they come: metrics.jsonl, and a file that TensorBoard shows.
    """

    def __init__(
        self,
        trainer: Trainer,
        dataset: Dataset,
        epochs: float = 1,
        batch_size: int = 8,
        accumulation: int = 1,
        max_batch_tokens: Optional[int] = 4096,
        schedule: Schedule = "constant",
        warmup_steps: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        *,
        warmup_ratio: float = 0.0,
        max_steps: Optional[int] = None,
        tokens_per_step: Optional[int] = None,
        max_refused_steps: int = 5,
        validation: Optional[Dataset] = None,
        evaluate_every: Optional[int] = None,
        patience: Optional[int] = None,
        writes_last: bool = False,
        tokenizer: Optional[Tokenizer] = None,
        prompts: Sequence[str] = (),
        max_answer_tokens: int = 64,
        probes_forgetting: bool = False,
        max_seconds: Optional[float] = None,
        output: Optional[Path] = None,
        save_every: Optional[int] = None,
        keep_last: int = 1,
        resume: bool = False,
        overwrite: bool = False,
        force: bool = False,
        log_dir: Optional[Path] = None,
    ):
        options = defaults(_ffi.RunOptions, lib.sft_run_options_init)
        options.epochs = epochs
        options.batch_size = _convert.count(batch_size, "batch_size", 1)
        options.accumulation = _convert.count(accumulation, "accumulation", 1)
        options.tokens_per_step = 0 if tokens_per_step is None else _convert.positive(tokens_per_step, "tokens_per_step")
        options.max_batch_tokens = 0 if max_batch_tokens is None else _convert.positive(max_batch_tokens, "max_batch_tokens")
        options.warmup_steps = _convert.count(warmup_steps, "warmup_steps", 0)
        options.warmup_ratio = warmup_ratio
        options.seed = _convert.seed(seed)
        options.schedule = _convert.constant(_ffi.SCHEDULES, schedule, "schedule")
        options.shuffles = bool(shuffle)
        options.max_refused_steps = _convert.count(max_refused_steps, "max_refused_steps", 1)
        options.max_answer_tokens = _convert.count(max_answer_tokens, "max_answer_tokens", 1)
        options.keep_last = _convert.count(keep_last, "keep_last", 1)
        for name, value in (
            ("max_steps", max_steps), ("evaluate_every", evaluate_every), ("patience", patience), ("save_every", save_every)
        ):
            if value is not None:
                setattr(options, name, _convert.positive(value, name))
        if max_seconds is not None:
            options.max_seconds = max_seconds
        options.writes_last = bool(writes_last)
        options.probes_forgetting = bool(probes_forgetting)
        if validation is not None:
            options.validation = validation._pointer
        if tokenizer is not None:
            options.tokenizer = tokenizer._pointer
        options.prompts, options.prompt_count = _convert.texts(prompts, "prompts")
        if output is not None:
            options.output, options.output_size = _convert.path(output)
        if log_dir is not None:
            options.log_directory, options.log_directory_size = _convert.path(log_dir)
        stopped = ("resume_forced" if force else "resume") if resume else "overwrite" if overwrite else "refuse"
        options.stopped = _convert.constant(_ffi.STOPPED_RUNS, stopped, "stopped")
        self.trainer: Trainer = trainer
        arguments = (trainer._pointer, dataset._pointer, byref(options))
        super().__init__(Owner(_ffi.RunPointer, lib.sft_run_free, lib.sft_run_create, *arguments))

    def __iter__(self) -> Iterator[RunStep]:
        """The steps that are left."""
        return iter(self.step, None)

    def __len__(self) -> int:
        """All steps, those that were taken included."""
        return int(self._info().total_steps)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        try:
            info = self._info()
        except (BusyError, ValueError) as error:
            return f"Run({error})"
        parts = [f"step {info.step} of {info.total_steps}", f"epoch {info.step / info.steps_per_epoch:.2f}"]
        losses = self.losses
        if len(losses):
            parts.append(f"loss {losses[-1]:.4f}")
        if info.best_step:
            parts.append(f"best evaluation {info.best_loss:.4f} after step {info.best_step}")
        return f"Run({', '.join(parts)}{', ended' if info.has_ended else ''})"

    def _info(self) -> Any:
        info = _ffi.RunInfo()
        lib.sft_run_get_info(self._pointer, byref(info), sizeof(info))
        return info

    def step(self) -> Optional[RunStep]:
        """Takes the next step; None when the run is done. Ctrl-C leaves everything as before the step.

        Evaluations and whatever else is due happen by the way and are noted in the history.
        """
        fields = _ffi.RunStep()
        with raising(self.trainer._sum), Interruptible(None) as self.trainer._asked:
            lib.sft_run_next(self._pointer, byref(fields), sizeof(fields))
        return None if fields.step == 0 else _taken(fields)

    def next_event(self) -> Optional[RunEvent]:
        """Does what is next and says what it was; None after the end. Ctrl-C leaves everything as before."""
        fields = _ffi.RunEvent()
        with raising(self.trainer._sum), Interruptible(None) as self.trainer._asked:
            lib.sft_run_next_event(self._pointer, byref(fields), sizeof(fields))
        kind = {number: name for name, number in _ffi.RUN_EVENT_KINDS.items()}[fields.kind]
        if kind is None:
            return None
        return RunEvent(
            kind,
            fields.step,
            fields.total_steps,
            None if math.isnan(fields.seconds_left) else fields.seconds_left,
            taken=_taken(fields) if kind == "step" else None,
            loss=fields.loss if kind == "evaluation" else None,
            is_general=bool(fields.is_general),
            end_of_turn_probability=None if math.isnan(fields.end_of_turn_probability) else fields.end_of_turn_probability,
            text=_ffi.text(fields, "text") if fields.text is not None else None,
            prompt=_ffi.text(fields, "prompt") if fields.prompt is not None else None,
        )

    def events(self) -> Iterator[RunEvent]:
        """What happens until the end."""
        return iter(self.next_event, None)

    def end(self) -> None:
        """There are to be no more steps: the next events are those of the end."""
        lib.sft_run_end(self._pointer)

    def evaluate(self, dataset: Dataset) -> StepMetrics:
        """The loss on other data with the weights as they are, noted in the history."""
        metrics = _ffi.StepMetrics()
        with Interruptible(None) as self.trainer._asked:
            lib.sft_run_evaluate(self._pointer, dataset._pointer, byref(metrics), sizeof(metrics))
        return StepMetrics._of(metrics)

    def set_lr(self, lr: float) -> None:
        """Sets the full rate of the steps to come, which the schedule multiplies."""
        lib.sft_run_set_lr(self._pointer, lr)

    def snapshot(self) -> None:
        """Keeps weights, the optimizer's memory, the place in the data and the history in memory, in place of an older snapshot."""
        lib.sft_run_snapshot(self._pointer)

    def roll_back(self) -> None:
        """Goes back to the snapshot, any number of times."""
        lib.sft_run_roll_back(self._pointer)

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

    @property
    def history(self) -> Dict[str, Dict[str, List[Any]]]:
        """All that has happened, in tables that pandas takes as they are: `pandas.DataFrame(run.history["steps"])`.

        The tables are "steps", "evaluations", "answers" and "warnings"; what is not there is None.
        """
        text = _convert.text_result(lambda *out: lib.sft_run_history(self._pointer, *out), 1 << 16)
        history: Dict[str, Dict[str, List[Any]]] = json.loads(text)
        return history

    def save_checkpoint(self) -> None:
        """Saves what the run needs to go on, beside its `output`."""
        lib.sft_run_save_checkpoint(self._pointer)

    def save(self, directory: Path, dtype: Optional[DType] = None) -> None:
        """Writes the result: a checkpoint, or the adapter that was trained, with a model card as README.md.

        The card is not written where somebody else's README.md is. The run's own checkpoints are removed.

        Args:
            dtype: how weights are written; None: as the files that the model was opened from have them.
        """
        number = _convert.constant(_ffi.DTYPES, dtype, "dtype")
        lib.sft_run_save_result(self._pointer, *_convert.path(directory), number)

    def save_state(self, path: Path) -> None:
        """As `Trainer.save_state`, with the place in the data and the history."""
        lib.sft_run_save_state(self._pointer, *_convert.path(path))

    def load_state(self, path: Path) -> None:
        """Goes on where `save_state` stopped: with the same data and options on the model saved then.

        Bit for bit, if it was saved in the dtype it had in memory: `save_pretrained(..., dtype="float32")`.
        """
        lib.sft_run_load_state(self._pointer, *_convert.path(path))

    def save_report(self, path: Path, title: str = "Fine-tuning") -> None:
        """Writes a page about the run, in HTML, that needs nothing else: curves, evaluations, answers, data, settings."""
        lib.sft_run_save_report(self._pointer, *_convert.path(path), *_convert.text(title, "title"))

    def svg(self, title: str = "Loss") -> str:
        """The losses as an SVG document."""
        data = _convert.text(title, "title")
        return _convert.text_result(lambda *out: lib.sft_run_svg(self._pointer, *data, *out), 1 << 16)

    def _repr_svg_(self) -> str:
        return self.svg()


def _taken(fields: Any) -> RunStep:
    """Of the fields that a step and an event have in common."""
    metrics = None if fields.is_refused else StepMetrics._of(fields)
    return RunStep(fields.step, fields.total_steps, fields.epoch, fields.lr, fields.conversations, fields.tokens, metrics)
