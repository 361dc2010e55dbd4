import os
from pathlib import Path

import pytest

import qwensft

ROOT = Path(__file__).resolve().parents[3]


def pytest_addoption(parser):
    parser.addoption("--exits", type=int, default=3, help="how often test_exit.py exits in each way")


@pytest.fixture(scope="session")
def checkpoint():
    """The checkpoint embedded in the repository, or another one."""
    return os.environ.get("QWENSFT_TEST_CHECKPOINT", ROOT / "Examples" / "tiny-qwen2")


@pytest.fixture(scope="session")
def tok(checkpoint):
    return qwensft.Tokenizer.from_pretrained(checkpoint)


@pytest.fixture
def model(checkpoint):
    with qwensft.Model.from_pretrained(checkpoint) as model:
        yield model


@pytest.fixture(scope="session")
def conversation():
    return [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "2+2等于几"},
        {"role": "assistant", "content": "2+2等于5。"},
    ]
