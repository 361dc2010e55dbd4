"""Checkpoints by the name that they have on a hub."""

import importlib
import os
import re
from typing import Any, Union

from .errors import NotFoundError

# What a checkpoint is opened from; a repository may hold the same weights in other forms as well.
_SMALL = ["*.json", "*.txt", "*.tiktoken", "*.jinja", "LICENSE*", "README.md"]
_WEIGHTS = ["*.safetensors"]


def directory_of(place: "Union[str, os.PathLike[str]]", with_weights: bool) -> str:
    """The directory of a checkpoint: `place` itself or, for a name such as "Qwen/Qwen2-0.5B-Instruct" where there is no such
    directory, where huggingface_hub or modelscope keeps it, fetched if need be."""
    path = os.fspath(place)
    if not isinstance(path, str) or os.path.exists(path) or path.endswith(".gguf"):
        return path
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", path):
        return path
    download = _snapshot_download()
    if download is None:
        raise NotFoundError(f"{path}: no such directory; to fetch it from a hub, install huggingface_hub or modelscope")
    return str(download(path, allow_patterns=_SMALL + (_WEIGHTS if with_weights else [])))


def _snapshot_download() -> Any:
    """The function of that name that both packages have; None where neither is installed."""
    for package in ("huggingface_hub", "modelscope"):
        try:
            return importlib.import_module(package).snapshot_download
        except ImportError:
            continue
    return None
