"""The interpreter exits while the library computes: `pytest test_exit.py --exits 300` for the long form."""

import os
import subprocess
import sys

import pytest

OPEN = """
import os, threading, time, qwensft
tok = qwensft.Tokenizer.from_pretrained(os.environ["CHECKPOINT"])
model = qwensft.Model.from_pretrained(os.environ["CHECKPOINT"])
endless = dict(max_new_tokens=1900, do_sample=True, temperature=3.0, top_k=0, seed=1)
pieces = lambda: model.stream_chat(tok, "hello", **endless)
def forever(function):
    began = threading.Event()
    def work():
        began.set()
        while True:
            function()
    threading.Thread(target=work, daemon=True).start()
    began.wait()
"""
KINDS = {
    "global": "it = pieces(); next(it)",
    "cycle": "class A: pass\na = A(); a.a = a; a.it = pieces(); next(a.it); del a",
    "collected by its own thread": "import gc\nclass A: pass\ngc.disable(); a = A(); a.a = a; a.it = pieces(); next(a.it); del a\n"
    "gc.set_threshold(1); gc.enable(); time.sleep(0.3)",
    "attribute": "class A: pass\na = A(); a.it = pieces(); next(a.it)",
    "session": "session = model.session(tok); it = session.stream('hello', **endless); next(it)",
    "just begun": "it = pieces(); threading.Thread(target=lambda: next(it), daemon=True).start()",
    "exception": "it = pieces(); next(it); raise SystemExit(0)",
    "daemon thread": "forever(lambda: model.chat(tok, 'hello', **endless)); time.sleep(0.02)",
    "callback": "forever(lambda: model.chat(tok, 'hello', on_text=lambda text: tok.encode(text), **endless)); time.sleep(0.02)",
    "training": "batch = qwensft.Batch([[1, 2, 3] * 40] * 4, [[1, 2, 3] * 40] * 4); trainer = qwensft.Trainer(model)\n"
    "forever(lambda: trainer.step(batch)); time.sleep(0.02)",
    "forward": "forever(lambda: model.forward([[1, 2, 3] * 100])); time.sleep(0.02)",
    "text": "forever(lambda: tok.encode('hello ' * 10000)); time.sleep(0.02)",
}


def exits(program, directory, begin=""):
    env = {**os.environ, "CHECKPOINT": str(directory), "PYTHONFAULTHANDLER": "1"}
    return subprocess.run(
        [sys.executable, "-c", begin + OPEN + program], env=env, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("kind", KINDS)
def test_exit(kind, checkpoint, request):
    for _ in range(request.config.getoption("--exits")):
        result = exits(KINDS[kind], checkpoint)
        assert (result.returncode, result.stderr, result.stdout) == (0, "", "")


def test_a_callback_that_waits_for_ever_is_not_waited_for(checkpoint):
    program = """
import qwensft._exit
qwensft._exit._PATIENCE = 0.2
began, never = threading.Event(), threading.Event()
def blocked(text):
    began.set()
    never.wait()
forever(lambda: model.chat(tok, 'hello', on_text=blocked))
began.wait()
"""
    result = exits(program, checkpoint)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_exiting_thread_may_still_use_the_library(checkpoint):
    # Registered before the package's own handler, so that it runs after that.
    begin = "import atexit\natexit.register(lambda: print(isinstance(late(), str)))\n"
    program = "late = lambda: model.chat(tok, 'hello', max_new_tokens=3)\nit = pieces(); next(it)"
    result = exits(program, checkpoint, begin)
    assert (result.returncode, result.stdout, result.stderr) == (0, "True\n", "")


def test_a_forked_child_does_not_wait_for_threads_it_does_not_have(checkpoint):
    program = """
it = pieces(); next(it)
child = os.fork()
if child == 0:
    raise SystemExit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    result = exits(program, checkpoint)
    assert (result.returncode, result.stdout, result.stderr) == (0, "7\n", "")
