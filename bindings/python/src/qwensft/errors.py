"""Exceptions, one per status of the C API. Each is also the built-in exception that a caller would expect."""

from ._header import STATUSES


class QwenSFTError(Exception):
    """What every failing call of the library raises."""


class InvalidArgumentError(QwenSFTError, ValueError):
    """An argument, option or message is not acceptable."""


class NotFoundError(QwenSFTError, FileNotFoundError):
    """A file or directory does not exist."""


class IOFailure(QwenSFTError, OSError):
    """The operating system refused to read or write."""


class InvalidFileError(QwenSFTError, ValueError):
    """A file's content is broken or contradicts itself."""


class UnsupportedError(QwenSFTError, NotImplementedError):
    """Well formed, but this version cannot do it."""


class OutOfMemoryError(QwenSFTError, MemoryError):
    """Memory could not be had."""


class NoSupervisedTokensError(QwenSFTError, ValueError):
    """A conversation, or the batch, has no token to learn from."""


class TooLongError(QwenSFTError, ValueError):
    """More tokens than the model's context or the length asked for."""


class BufferTooSmallError(QwenSFTError, BufferError):
    """An array handed to the C API is too small."""


class NonFiniteError(QwenSFTError, ArithmeticError):
    """A loss, gradient or weight is infinite or not a number; nothing was changed."""


class CancelledError(QwenSFTError):
    """A callback asked to stop."""


class BusyError(QwenSFTError, RuntimeError):
    """The object is in use by another call."""


class QwenSFTWarning(UserWarning):
    """What the library has to say although nothing failed."""


_BY_STATUS = {
    STATUSES["invalid_argument"]: InvalidArgumentError,
    STATUSES["not_found"]: NotFoundError,
    STATUSES["io"]: IOFailure,
    STATUSES["invalid_file"]: InvalidFileError,
    STATUSES["unsupported"]: UnsupportedError,
    STATUSES["out_of_memory"]: OutOfMemoryError,
    STATUSES["no_supervised_tokens"]: NoSupervisedTokensError,
    STATUSES["too_long"]: TooLongError,
    STATUSES["buffer_too_small"]: BufferTooSmallError,
    STATUSES["non_finite"]: NonFiniteError,
    STATUSES["cancelled"]: CancelledError,
    STATUSES["busy"]: BusyError,
}


def exception_for(status: int, message: str) -> QwenSFTError:
    """The exception of a status that is not SFT_OK."""
    return _BY_STATUS.get(status, QwenSFTError)(message)
