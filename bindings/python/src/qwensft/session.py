"""Conversations of several turns."""

from ctypes import byref, c_int32
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence

from . import _convert, _ffi
from ._convert import Message
from ._ffi import lib, sizeof
from ._handle import Handle, Owner
from .generation import AnswerPiece, Generation, GenerationOptions, check_names, generate, lists_options, stream
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .model import Model


class Session(Handle):
    """A conversation that remembers what the model has computed: a turn costs its own tokens, not those of all before.

    Made by `Model.session`. Every answer is what `Model.chat` gives for the same messages; after training everything is
    computed anew.
    """

    def __init__(
        self,
        model: "Model",
        tokenizer: Tokenizer,
        messages: Sequence[Message] = (),
        options: Optional[GenerationOptions] = None,
    ):
        self._options: GenerationOptions = options or {}
        check_names(self._options)
        arguments = (model._pointer, tokenizer._pointer, *_convert.messages(messages, "messages"), 0)
        super().__init__(Owner(_ffi.SessionPointer, lib.sft_session_free, lib.sft_session_create, *arguments))

    @lists_options
    def reply(self, content: str, **options: "Unpack[GenerationOptions]") -> Generation:
        """Says something to the model; its answer with all that is known of it.

        Both become part of the conversation, also when the answer was stopped; after an error it is as before. Options are
        laid over those of the session.
        """
        data = _convert.text(content, "content")
        merged: Any = {**self._options, **options}
        before = lib.sft_session_message_count(self._pointer)
        try:
            return generate(lambda *out: lib.sft_session_send(self._pointer, *data, *out), self.stop, merged)[0]
        except BaseException:  # of a callback too, which the library takes for a wish to stop
            if lib.sft_session_message_count(self._pointer) > before:
                self.go_back()
            raise

    @lists_options
    def send(self, content: str, **options: "Unpack[GenerationOptions]") -> str:
        """As `reply`; the text of the answer."""
        return self.reply(content, **options).text

    @lists_options
    def stream(self, content: str, **options: "Unpack[GenerationOptions]") -> Iterator[AnswerPiece]:
        """As `send`, piece by piece. A thread of its own generates; leaving the loop early stops the answer."""
        def call(on_text: Callable[[AnswerPiece], Any]) -> None:
            merged: GenerationOptions = {**options, "on_text": on_text}
            self.send(content, **merged)

        return stream(call)

    def stop(self) -> None:
        """Ends the answer that is under way on another thread; without one, does nothing."""
        lib.sft_session_stop(self._pointer)

    def append(self, *messages: Message) -> None:
        """Adds messages without an answer from the model: turns that happened elsewhere."""
        lib.sft_session_append(self._pointer, *_convert.messages(messages, "messages"))

    def replace_answer(self, content: str) -> None:
        """Puts another text in the place of the last answer; the model computes nothing.

        `preprocess(tok, [session.messages], label_policy="last_assistant")` is then the batch that teaches it.
        """
        lib.sft_session_replace_answer(self._pointer, *_convert.text(content, "content"))

    def go_back(self) -> bool:
        """Takes back the last question and what was answered to it; whether there was one."""
        went_back = c_int32()
        lib.sft_session_go_back(self._pointer, byref(went_back))
        return bool(went_back.value)

    def reset(self) -> None:
        """Begins the conversation anew."""
        lib.sft_session_reset(self._pointer)

    @property
    def messages(self) -> List[Dict[str, str]]:
        """The conversation so far, with the system prompt that was in effect: all that the model saw of it."""
        messages = []
        for index in range(lib.sft_session_message_count(self._pointer)):
            message = _ffi.Message()
            lib.sft_session_get_message(self._pointer, index, byref(message), sizeof(message))
            messages.append({"role": _ffi.text(message, "role"), "content": _ffi.text(message, "content")})
        return messages
