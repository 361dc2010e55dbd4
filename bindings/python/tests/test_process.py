"""Loading, versions, threads, warnings."""

import os
import subprocess
import sys

import pytest

import qwensft
from qwensft import _ffi


def test_version():
    assert _ffi.lib.sft_version_string().decode() == qwensft.__version__


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_a_missing_library_says_where_it_was_looked_for(tmp_path):
    result = run_python("import qwensft", QWENSFT_LIBRARY=str(tmp_path / "none.so"))
    assert result.returncode != 0
    assert f"{tmp_path}/none.so" in result.stderr and "QWENSFT_LIBRARY" in result.stderr


def test_the_environment_chooses_the_library():
    result = run_python("import qwensft._ffi as f; print(f.lib._name)", QWENSFT_LIBRARY=_ffi.lib._name)
    assert result.stdout.strip() == _ffi.lib._name


def test_nothing_is_printed():
    result = run_python("import qwensft")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_threads():
    before = qwensft.get_num_threads()
    try:
        qwensft.set_num_threads(1)
        assert qwensft.get_num_threads() == 1
        for count in (0, -1, 1000):
            with pytest.raises(qwensft.InvalidArgumentError, match=f"'?count'? is {count}, expected"):
                qwensft.set_num_threads(count)
        assert qwensft.get_num_threads() == 1
    finally:
        qwensft.set_num_threads(before)


def test_exceptions_are_the_built_in_ones_too():
    assert issubclass(qwensft.InvalidArgumentError, ValueError)
    assert issubclass(qwensft.NotFoundError, FileNotFoundError)
    assert issubclass(qwensft.UnsupportedError, NotImplementedError)
    assert all(issubclass(kind, qwensft.QwenSFTError) for kind in qwensft.errors._BY_STATUS.values())
