"""How to generate, and what comes of it."""

import difflib
import json
import queue
import threading
from contextlib import contextmanager
from ctypes import byref
from dataclasses import dataclass
from textwrap import dedent, indent
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, TypedDict, TypeVar

from . import _convert, _ffi
from ._exit import calls
from ._ffi import lib, sizeof
from ._handle import Owner, defaults
from ._header import FinishReason
from ._interrupt import Interruptible
from .errors import InvalidArgumentError


class AnswerPiece(str):
    """Text that an answer gains.

    Attributes:
        is_reasoning: whether the model thinks (<think> … </think>, the marks included) rather than answers.
    """

    is_reasoning = False


class GenerationOptions(TypedDict, total=False):
    """Keyword arguments of whatever generates. What is left out, or None where that is possible, is as
    generation_config.json says.

    Attributes:
        max_new_tokens: tokens at most; 512.
        do_sample: draw tokens (True) or take the likeliest (False).
        temperature: logits are divided by it.
        top_k: draw among the k likeliest only; 0: all.
        top_p: draw among the likeliest that together reach this probability.
        min_p: draw among tokens at least this many times as likely as the likeliest; 0: all.
        repetition_penalty: ids that occurred become less likely; 1: they do not.
        seed: the same seed draws the same; None: every call draws differently.
        stop_ids: ids to end at, beside the checkpoint's.
        stop_strings: texts to end before, where text is made.
        num_return_sequences: independent answers to one prompt, which is computed once.
        log_probabilities: keep the probability of every new id.
        on_token: called with each new id; returning True ends the generation.
        on_text: called with each piece of text (`AnswerPiece`) as its characters become certain; returning True ends the
            generation.
    """

    max_new_tokens: int
    do_sample: Optional[bool]
    temperature: Optional[float]
    top_k: Optional[int]
    top_p: Optional[float]
    min_p: Optional[float]
    repetition_penalty: Optional[float]
    seed: Optional[int]
    stop_ids: Sequence[int]
    stop_strings: Sequence[str]
    num_return_sequences: int
    log_probabilities: bool
    on_token: Optional[Callable[[int], Any]]
    on_text: Optional[Callable[[AnswerPiece], Any]]


def check_names(options: Iterable[str]) -> None:
    """Raises TypeError for a name that is no option, with the one that was probably meant."""
    known = list(GenerationOptions.__annotations__)
    for name in options:
        if name not in known:
            near = [other for other in known if other.startswith(name)] or difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(known)}"
            raise TypeError(f"{name!r} is no option of generation; {hint}")


_Function = TypeVar("_Function", bound=Callable[..., Any])


def lists_options(function: _Function) -> _Function:
    """Lets the documentation of a function with generation options list them, for `help` and notebooks."""
    if function.__doc__ and GenerationOptions.__doc__:
        options = dedent(GenerationOptions.__doc__.partition("Attributes:\n")[2])
        doc = dedent("    " * 2 + function.__doc__).strip("\n")
        function.__doc__ = f"{doc.rstrip()}\n\nOptions:\n{indent(options.rstrip(), '    ')}\n"
    return function


@dataclass(frozen=True)
class Generation:
    """One answer of the model.

    Attributes:
        ids: the new ids, a stop id at the end included.
        text: what they say, without special tokens; "" where no tokenizer was given.
        finish_reason: "stop_id", "stop_string", "length", "context" or "cancelled".
        log_probabilities: of every id, as the model gave it; None unless asked for.
        prompt_tokens: ids that the answer continues.
        computed_prompt_tokens: how many of them were computed for it; a session keeps what it has computed.
        content: the text without reasoning and calls of functions.
        reasoning_content: what the model thought (<think>); None: nothing.
        tool_calls: calls of functions (<tool_call>), as messages have them: {"type": "function", "function": {"name": …,
            "arguments": …}}.
    """

    ids: List[int]
    text: str
    finish_reason: FinishReason
    log_probabilities: Optional[List[float]]
    prompt_tokens: int
    computed_prompt_tokens: int
    content: str
    reasoning_content: Optional[str]
    tool_calls: List[Dict[str, Any]]

    @property
    def message(self) -> Dict[str, Any]:
        """The answer as a message, to go on with the conversation."""
        message: Dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.reasoning_content is not None:
            message["reasoning_content"] = self.reasoning_content
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        return message


def generate(
    call: Callable[[Any, Any], None], stop: Callable[[], None], options: GenerationOptions
) -> List[Generation]:
    """What a generating function of the library gives for (pointer to options, pointer to generation).

    Args:
        stop: ends the generation, from another thread.
    """
    check_names(options)
    with _request(stop, **options) as fields:
        owner = Owner(_ffi.GenerationPointer, lib.sft_generation_free, call, byref(fields))
    return [_answer(owner, index) for index in range(lib.sft_generation_count(owner.pointer))]


def stream(call: Callable[[Callable[[AnswerPiece], bool]], Any]) -> Iterator[AnswerPiece]:
    """The pieces that `call` hands to its argument, as they come."""
    pieces: "queue.SimpleQueue[Optional[AnswerPiece]]" = queue.SimpleQueue()
    is_over = threading.Event()
    failures: List[BaseException] = []

    def on_text(text: AnswerPiece) -> bool:
        pieces.put(text)
        return is_over.is_set()

    def work() -> None:
        try:
            call(on_text)
        except BaseException as error:
            failures.append(error)
        pieces.put(None)
        calls.threads.discard(thread)

    thread = threading.Thread(target=work, daemon=True)
    calls.threads.add(thread)
    thread.start()
    try:
        yield from iter(pieces.get, None)
    finally:
        is_over.set()
        if thread is not threading.current_thread():  # where a generator in a cycle is collected
            thread.join()
    if failures:
        raise failures[0]


@contextmanager
def _request(
    stop: Callable[[], None],
    max_new_tokens: int = 512,
    do_sample: Optional[bool] = None,
    temperature: Optional[float] = None,
    top_k: Optional[int] = None,
    top_p: Optional[float] = None,
    min_p: Optional[float] = None,
    repetition_penalty: Optional[float] = None,
    seed: Optional[int] = None,
    stop_ids: Sequence[int] = (),
    stop_strings: Sequence[str] = (),
    num_return_sequences: int = 1,
    log_probabilities: bool = False,
    on_token: Optional[Callable[[int], Any]] = None,
    on_text: Optional[Callable[[AnswerPiece], Any]] = None,
) -> Iterator[Any]:
    """The options as a struct; its callback is live inside the `with`, which also raises what the callback raised."""
    options = defaults(_ffi.GenerationOptions, lib.sft_generation_options_init)
    options.max_new_tokens = _convert.count(max_new_tokens, "max_new_tokens", 0)
    options.num_return_sequences = _convert.count(num_return_sequences, "num_return_sequences", 1)
    if do_sample is not None:
        options.do_sample = bool(do_sample)
    if top_k is not None:  # more than fits the field is more than any vocabulary
        options.top_k = min(_convert.count(top_k, "top_k", 0, "None or "), 2**31 - 1)
    given = {"temperature": temperature, "top_p": top_p, "min_p": min_p, "repetition_penalty": repetition_penalty}
    for name, value in given.items():
        if value is not None:
            setattr(options, name, _checked(name, value))
    options.log_probabilities = bool(log_probabilities)
    if seed is not None:
        options.has_seed, options.seed = 1, _convert.seed(seed)
    ids = _convert.array(stop_ids, "int32", 1, "stop_ids")
    options.stop_ids, options.stop_id_count = _convert.pointer(ids), len(ids)
    options.stop_strings, options.stop_string_count = _convert.texts(stop_strings, "stop_strings")

    def on_piece(pointer: Any) -> bool:
        piece = pointer.contents
        stops = on_token is not None and on_token(piece.id) is True
        if on_text is not None and piece.text_size:
            text = AnswerPiece(_ffi.text(piece, "text"))
            text.is_reasoning = bool(piece.is_reasoning)
            stops |= on_text(text) is True
        return stops

    with Interruptible(None if on_token is None and on_text is None else on_piece, stop) as interruptible:
        options.on_piece = _ffi.PieceCallback(interruptible)
        yield options


def _checked(name: str, value: Any) -> float:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} is {type(value).__name__}, expected a number")
    # -1 is how the C API spells "not given".
    if value < 0:
        raise InvalidArgumentError(f"{name} is {value}, expected None or at least 0")
    return float(value)


_FINISH_REASONS = {number: name for name, number in _ffi.FINISH_REASONS.items()}


def _answer(owner: Owner, index: int) -> Generation:
    answer = _ffi.Answer()
    lib.sft_generation_get_answer(owner.pointer, index, byref(answer), sizeof(answer))
    return Generation(
        answer.ids[: answer.id_count],
        _ffi.text(answer, "text"),
        _FINISH_REASONS[answer.finish_reason],
        answer.log_probabilities[: answer.id_count] if answer.log_probabilities else None,
        answer.prompt_tokens,
        answer.computed_prompt_tokens,
        _ffi.text(answer, "content"),
        _ffi.text(answer, "reasoning") if answer.reasoning else None,
        json.loads(_ffi.text(answer, "tool_calls")) if answer.tool_calls else [],
    )
