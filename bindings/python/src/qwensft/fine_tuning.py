"""Fine-tuning in one call."""

import os
import warnings
from ctypes import byref
from difflib import get_close_matches
from inspect import signature
from typing import Any, Callable, Literal, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from . import _ffi
from ._ffi import lib, sizeof
from ._header import DType, LabelPolicy
from .distributed import Collective
from .errors import InvalidArgumentError, QwenSFTWarning
from .model import Model
from .dataset import Data, Dataset, Path
from .run import Run, RunEvent, RunStep
from .tokenizer import Tokenizer
from .training import SGD, AdamW, Trainer


def recipe(model: Model) -> Tuple[AdamW, Any]:
    """The optimizer and the trainer's options that `train` uses unless told otherwise, for a model as it is."""
    adamw, options = _ffi.AdamWOptions(), _ffi.TrainerOptions()
    lib.sft_recipe_init(model._pointer, byref(adamw), sizeof(adamw), None, 0, byref(options), sizeof(options))
    return AdamW(adamw.lr, (adamw.beta1, adamw.beta2), adamw.eps, adamw.weight_decay), options


def train(
    model: Model,
    tokenizer: Tokenizer,
    conversations: Union[Data, Dataset],
    epochs: float = 1,
    batch_size: int = 8,
    optimizer: Union[SGD, AdamW, None] = None,
    max_grad_norm: Union[float, None, Literal["recipe"]] = "recipe",
    validation: Union[Data, Dataset, float, None] = None,
    label_policy: LabelPolicy = "qwen",
    max_length: Optional[int] = None,
    recomputation: bool = False,
    output: Optional[Path] = None,
    dtype: Optional[DType] = None,
    resume: bool = False,
    overwrite: bool = False,
    on_step: Optional[Callable[[RunStep], Any]] = None,
    on_event: Optional[Callable[[RunEvent], Any]] = None,
    progress: Optional[bool] = None,
    prompts: Sequence[str] = (),
    all_reduce: Optional[Collective] = None,
    **run_options: Any,
) -> Run:
    """Fine-tunes a model on conversations, as the tool's `train` does and with its defaults; the run that it was.

    Afterwards the model has the weights with the lowest loss on the validation data or, without such, the last ones. What a run warns of is
    a QwenSFTWarning.

    Args:
        conversations: as for `Dataset`, or one.
        optimizer: None: AdamW with a rate that suits what is trained.
        max_grad_norm: gradients are scaled down to this L2 norm; None: they are not; "recipe": 1.
        validation: conversations to measure the loss on before, after each epoch and after, or the share of `conversations` that is
            held back for that, 0 for none of them. None: one in twenty of 500 and more, at most 500; none where processes train together.
        output: where the result is written, with a model card. A run that is stopped, by Ctrl-C or an error, is saved in `output`.partial,
            and goes on with `resume=True`.
        dtype: how the result is written; None: as the files that the model was opened from have it.
        overwrite: replace what is at `output`, and a run that was stopped there.
        on_step: called after each step; returning True ends the run.
        on_event: called with everything that happens.
        progress: show a bar; None: where tqdm is installed.
        prompts: what the model is asked before, at each evaluation and after; the answers are in the run's history.
        all_reduce: processes that train together, as for `Trainer`; each takes its part of every step's conversations.
        run_options: more options of `Run`: accumulation, schedule, warmup_ratio, patience, max_steps, seed and so on.
    """

    def dataset(given: Union[Data, Dataset]) -> Dataset:
        if isinstance(given, Dataset):
            return given
        context_length = model.config.max_position_embeddings
        return Dataset(tokenizer, given, label_policy, max_length, context_length=context_length)

    def divide(data: Dataset) -> Tuple[Dataset, Optional[Dataset]]:
        seed = run_options.get("seed", 0)
        if validation is None:
            return data.hold_out(seed) if all_reduce is None else (data, None)
        if isinstance(validation, (int, float, np.floating)):
            if not 0 <= validation < 1:
                raise InvalidArgumentError(f"validation is {validation}, expected at least 0 and less than 1, or conversations")
            return data.split(float(validation), seed) if validation != 0 else (data, None)
        return data, dataset(validation)

    _check_options(run_options)
    if output is not None and not overwrite:
        for name in ("config.json", "adapter_config.json"):
            if os.path.exists(os.path.join(output, name)):
                raise FileExistsError(f"{os.fspath(output)} holds a checkpoint already ({name}); overwrite=True replaces it")
    usual, options = recipe(model)
    trainer = Trainer(
        model,
        usual if optimizer is None else optimizer,
        options.max_grad_norm if max_grad_norm == "recipe" else max_grad_norm,
        recomputation=recomputation,
        decays_vectors=bool(options.decays_vectors),
        seed=run_options.get("seed", 0),
        all_reduce=all_reduce,
    )
    training, held_back = divide(dataset(conversations))
    run = Run(
        trainer, training, epochs, batch_size, validation=held_back,
        tokenizer=tokenizer, prompts=prompts, output=output, resume=resume, overwrite=overwrite and not resume, **run_options,
    )
    bar = _bar(progress, run)
    try:
        for event in run.events():
            if event.kind == "warning":
                warnings.warn(str(event.text), QwenSFTWarning, stacklevel=2)
            if bar is not None and event.taken is not None:
                bar.set_postfix(loss=event.taken.metrics.loss if event.taken.metrics else float("nan"), refresh=False)
                bar.update()
            if on_event is not None:
                on_event(event)
            if on_step is not None and event.taken is not None and on_step(event.taken) is True:
                run.end()
        if output is not None:
            run.save(output, dtype)
    except BaseException:
        if output is not None:
            run.save_checkpoint()
            warnings.warn(f"saved in {os.fspath(output)}.partial; resume=True goes on with it", QwenSFTWarning, stacklevel=2)
        raise
    finally:
        if bar is not None:
            bar.close()
    return run


def _check_options(options: Mapping[str, Any]) -> None:
    known = [*signature(train).parameters, *signature(Run.__init__).parameters]
    for name in options:
        if name == "lr":
            raise TypeError("train() has no option 'lr'; the rate is the optimizer's: optimizer=qwensft.AdamW(lr=...)")
        if name not in known:
            close = get_close_matches(name, known, 1)
            raise TypeError(f"train() has no option '{name}'" + (f"; did you mean '{close[0]}'?" if close else ""))


def _bar(is_wanted: Optional[bool], run: Run) -> Any:
    if is_wanted is False:
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        if is_wanted:
            raise
        return None
    return tqdm(total=len(run), initial=run._info().step, unit="step")
