"""Supervised fine-tuning of Qwen2-family chat models on the CPU.

A Hugging Face checkpoint directory goes in, a Hugging Face checkpoint directory comes out. Names follow transformers and
torch where the thing is the same.
"""

from . import distributed
from ._header import ChatTemplate, DataFormat, DType, FinishReason, GgufType, LabelPolicy, Quantization, Schedule
from ._header import VERSION as __version__
from .adapter import LoraConfig
from .batch import Batch, preprocess
from .dataset import Dataset, DatasetReport, Lengths
from .errors import (
    BufferTooSmallError,
    BusyError,
    CancelledError,
    InvalidArgumentError,
    InvalidFileError,
    IOFailure,
    NonFiniteError,
    NoSupervisedTokensError,
    NotFoundError,
    OutOfMemoryError,
    QwenSFTError,
    QwenSFTWarning,
    TooLongError,
    UnsupportedError,
)
from .fine_tuning import train
from .generation import AnswerPiece, Generation, GenerationOptions
from .memory import TrainingMemory, estimate_training_memory
from .model import Config, Model
from .process import get_isa, get_num_threads, set_max_isa, set_num_threads
from .run import LossCurve, Run, RunEvent, RunStep
from .session import Session
from .tokenizer import AddedToken, Decoder, Tokenizer
from .training import SGD, AdamW, StepMetrics, Trainer

__all__ = [
    "AdamW",
    "AddedToken",
    "AnswerPiece",
    "Batch",
    "BufferTooSmallError",
    "BusyError",
    "CancelledError",
    "ChatTemplate",
    "Config",
    "DataFormat",
    "Dataset",
    "DType",
    "DatasetReport",
    "Decoder",
    "FinishReason",
    "Generation",
    "GenerationOptions",
    "GgufType",
    "IOFailure",
    "InvalidArgumentError",
    "InvalidFileError",
    "LabelPolicy",
    "Lengths",
    "LoraConfig",
    "LossCurve",
    "Model",
    "NoSupervisedTokensError",
    "NonFiniteError",
    "NotFoundError",
    "OutOfMemoryError",
    "QwenSFTError",
    "Quantization",
    "QwenSFTWarning",
    "Run",
    "RunEvent",
    "RunStep",
    "SGD",
    "Schedule",
    "Session",
    "StepMetrics",
    "Tokenizer",
    "TooLongError",
    "Trainer",
    "UnsupportedError",
    "TrainingMemory",
    "__version__",
    "distributed",
    "estimate_training_memory",
    "get_isa",
    "get_num_threads",
    "preprocess",
    "set_max_isa",
    "set_num_threads",
    "train",
]
