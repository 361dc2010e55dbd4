"""Loading, versions, threads, warnings."""

import os
import re
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


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("int unrelated;", "is not libqwensft.so"),
        ("unsigned sft_version(void) { return 99003; }", f"is version 0.99.3; this package, .*, needs {qwensft.__version__}"),
    ],
)
def test_another_library_is_refused_by_name(tmp_path, source, complaint):
    path = tmp_path / "other.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", path], input=source, text=True, check=True)
    result = run_python("import qwensft", QWENSFT_LIBRARY=str(path))
    assert result.returncode != 0
    assert re.search(f"ImportError: {path} {complaint}", result.stderr)


def test_nothing_is_printed():
    result = run_python("import qwensft")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_threads():
    before = qwensft.get_num_threads()
    try:
        qwensft.set_num_threads(1)
        assert qwensft.get_num_threads() == 1
        for count in (0, -1, 1000, 2**64 + 1):
            with pytest.raises(qwensft.InvalidArgumentError, match=f"'?count'? is {count}, expected"):
                qwensft.set_num_threads(count)
        assert qwensft.get_num_threads() == 1
    finally:
        qwensft.set_num_threads(before)


def test_instruction_set(checkpoint):
    result = run_python(f"""
import qwensft
best = qwensft.get_isa()
try:
    qwensft.set_max_isa("sse9")
except qwensft.InvalidArgumentError as error:
    print(error)
qwensft.set_max_isa("plain")
print(qwensft.get_isa())
qwensft.set_max_isa("avx512_bf16")
assert qwensft.get_isa() == best
qwensft.Model.from_pretrained({str(checkpoint)!r})
try:
    qwensft.set_max_isa("plain")
except qwensft.UnsupportedError as error:
    print(error)
assert qwensft.get_isa() == best
""")
    assert result.stderr == ""
    name, plain, late = result.stdout.splitlines()
    assert "'sse9', expected one of plain, avx2, avx512, avx512_bf16" in name
    assert plain == "plain"
    assert "cannot be limited to plain any more" in late


def test_exceptions_are_the_built_in_ones_too():
    assert issubclass(qwensft.InvalidArgumentError, ValueError)
    assert issubclass(qwensft.NotFoundError, FileNotFoundError)
    assert issubclass(qwensft.UnsupportedError, NotImplementedError)
    assert all(issubclass(kind, qwensft.QwenSFTError) for kind in qwensft.errors._BY_STATUS.values())


# A child that neither answers nor ends is the failure these tests are about; the alarm ends it.
FORK = """
import os, signal, sys, threading, warnings
import qwensft

warnings.simplefilter("ignore", DeprecationWarning)  # Python's own about forking with threads

def in_child(work):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        try:
            said = work()
        except qwensft.BusyError as error:
            said = str(error)
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    assert os.waitpid(pid, 0)[1] == 0, "the child hung or fell"
    return said

directory = sys.argv[1]
tok = qwensft.Tokenizer.from_pretrained(directory)
model = qwensft.Model.from_pretrained(directory)
chat = lambda model: model.chat(tok, "2+2等于几", do_sample=False, repetition_penalty=1.0)
talk = [{"role": "user", "content": "2+2等于几"}, {"role": "assistant", "content": "2+2等于5。"}]
batch = qwensft.preprocess(tok, [talk] * 8)
trainer = qwensft.Trainer(model, optimizer=qwensft.SGD(lr=1e-9))
"""


def run_forking(code, checkpoint):
    result = subprocess.run(
        [sys.executable, "-c", FORK + code, str(checkpoint)], capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_forked_child_computes_and_trains(checkpoint):
    out = run_forking(
        """
trainer.step(batch)
print(in_child(lambda: chat(model)))
faster = qwensft.Trainer(model, optimizer=qwensft.SGD(lr=1e-2))
print(in_child(lambda: str(faster.step(batch).loss > faster.step(batch).loss)))
print(chat(model))
""",
        checkpoint,
    )
    assert out == "2+2等于4。\nTrue\n2+2等于4。\n"


def test_a_fork_during_a_computation(checkpoint):
    """Other models work in the child; the one that was in use says so, or works if it was between two steps.

    Not in a first step: the Swift runtime describes a generic type at its first use, under a lock that a fork may cut off.
    """
    out = run_forking(
        """
other = model.clone()
trainer.step(batch)
stop = threading.Event()
def train():
    while not stop.is_set():
        trainer.step(batch)
thread = threading.Thread(target=train)
thread.start()
try:
    for _ in range(30):
        assert in_child(lambda: chat(other)) == "2+2等于4。"
        said = in_child(lambda: chat(model))
        assert said == "2+2等于4。" or "in use" in said, said
finally:
    stop.set()
    thread.join()
print(chat(model))
""",
        checkpoint,
    )
    assert out == "2+2等于4。\n"


def test_a_fork_in_a_callback(checkpoint):
    out = run_forking(
        """
other = model.clone()
said = []
def forks(done, total):
    if not said:
        said.append(in_child(lambda: chat(other)))
qwensft.Model.from_pretrained(directory, on_progress=forks)
print(said[0], chat(model))
""",
        checkpoint,
    )
    assert out == "2+2等于4。 2+2等于4。\n"
