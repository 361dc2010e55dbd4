"""Makes one system call after another fail while checkpoints and states are saved, loaded and opened.

    cc -shared -fPIC -o inject.so Tests/Files/inject.c -ldl
    LD_PRELOAD=inject.so PYTHONPATH=bindings/python/src python Tests/Files/faults.py inject.so [most faults a scenario, 0: all]

Whatever fails: a save that succeeded has put the new one there, and one that did not has left the old one or says where the new
one is; other files stay; nothing crashes; and the next save leaves nothing behind.
"""

import collections
import ctypes
import errno
import os
import random
import re
import shutil
import sys
import tempfile
import warnings

import qwensft
from common import FOREIGN, content, dtype_of, leftovers, make_base, make_target, version, versions

ERRORS = [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.EINVAL, 0]
inject = ctypes.CDLL(sys.argv[1])
inject.inject_victim.restype = ctypes.c_char_p
inject.inject_disarm.restype = ctypes.c_long
inject.inject_arm.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_int]
limit = int(sys.argv[2]) if len(sys.argv) > 2 else 0
chance = random.Random(1)
counts = collections.Counter()


def attempt(call, at, error, sticky):
    """The message, or None where the call succeeded; and how many system calls there were."""
    inject.inject_arm(at, error, sticky)
    try:
        call()
        message = None
    except (qwensft.QwenSFTError, OSError, ValueError, MemoryError) as failure:
        message = str(failure)
    return message, inject.inject_disarm()


def faults(name, call, prepare, check):
    """Runs `call` with every fault in turn; `prepare` before and `check(message)` after each."""
    prepare()
    message, count = attempt(call, -1, 0, 0)
    assert message is None, message
    check(None)
    cases = [(at, error, sticky) for at in range(count) for error in ERRORS for sticky in (0, 1) if error or not sticky]
    if limit and len(cases) > limit:
        cases = chance.sample(cases, limit)
    for at, error, sticky in cases:
        prepare()
        message, _ = attempt(call, at, error, sticky)
        victim = inject.inject_victim().decode()
        counts[name, "refused" if message else "done"] += 1
        try:
            check(message)
        except BaseException as failure:
            print(f"{name}: call {at} ({victim}), error {errno.errorcode.get(error)}, sticky {sticky}: {message}")
            raise failure
    print(f"{name}: {count} calls, {len(cases)} faults, {counts[name, 'done']} done, {counts[name, 'refused']} refused", flush=True)


def saves(work, models):
    for kind in ("new", "empty", "old", "kept", "mixed"):
        target, dtype = os.path.join(work, "target"), dtype_of(kind)
        state = {}

        def prepare():
            for left in os.listdir(work):
                shutil.rmtree(os.path.join(work, left), ignore_errors=True)
            make_target(kind, target, models)
            state["before"] = content(target)

        def check(message):
            now = content(target)
            for name, data in (state["before"] or {}).items():
                if name in FOREIGN or name.startswith(".cache"):
                    assert now.get(name) == data, f"{name} is lost"
            if message is None:
                assert version(target) == 2
            elif now != state["before"]:
                # An exchange or a replacement that cannot be undone either: nothing is mixed, and nothing lost.
                kept = re.search(r"the new checkpoint is complete in '([^']*)'", message)
                divided = re.search(r"is divided between '([^']*)' and", message)
                if kept:
                    assert version(kept[1]) == 2, message
                    now.pop("config.json", None)
                elif divided:
                    assert "config.json" not in now
                else:
                    assert now in ({}, None) and not state["before"] or version(target) == 2, (message, list(now))
            if message and "complete in" in message:
                counts["kept"] += 1
                assert version(re.search(r"complete in '([^']*)'", message)[1]) == 2, message
            models[1].save_pretrained(target, dtype=dtype)
            assert version(target) == 2
            assert leftovers(work, target) == [], leftovers(work, target)
            if kind != "new" and kind != "empty":
                assert FOREIGN.items() <= content(target).items()

        def save():
            models[1].save_pretrained(target, dtype=dtype)

        faults(f"save, {kind}", save, prepare, check)
        if kind in ("new", "kept"):
            faults(f"check_destination, {kind}", lambda: models[1].check_destination(target), prepare, lambda message: check_checked(message, target, state))


def check_checked(message, target, state):
    now = content(target)
    assert now == state["before"] or (state["before"] is None and now in (None, {}))


def states(work, models):
    path = os.path.join(work, "state")
    batch = qwensft.Batch([[1, 2, 3]], [[1, 2, 3]])
    trainers = [qwensft.Trainer(model, qwensft.AdamW(1e-3)) for model in models]
    good = []
    for steps, trainer in enumerate(trainers, 1):
        for _ in range(steps):
            trainer.step(batch)
        trainer.save_state(path)
        good.append(open(path, "rb").read())
    for name, old in (("new", None), ("old", good[0])):

        def prepare():
            for left in os.listdir(work):
                os.remove(os.path.join(work, left))
            if old:
                open(path, "wb").write(old)

        def check(message):
            now = open(path, "rb").read() if os.path.exists(path) else None
            assert now == (good[1] if message is None else old)
            trainers[1].save_state(path)
            assert open(path, "rb").read() == good[1] and os.listdir(work) == ["state"], os.listdir(work)

        faults(f"save_state, {name}", lambda: trainers[1].save_state(path), prepare, check)

    other = os.path.join(work, "other")

    def prepare():
        open(path, "wb").write(good[1])
        open(other, "wb").write(good[0])
        trainers[0].load_state(other)

    def check(message):
        trainers[0].save_state(other)
        assert open(other, "rb").read() == good[1 if message is None else 0]

    faults("load_state", lambda: trainers[0].load_state(path), prepare, check)


def opens(base):
    faults("open", lambda: qwensft.Model.from_pretrained(base), lambda: None, lambda message: None)


def main():
    warnings.simplefilter("ignore")  # what could not be read beside the weights
    with tempfile.TemporaryDirectory() as directory:
        base = make_base(os.path.join(directory, "base"))
        models = versions(base)
        work = os.path.join(directory, "work")
        os.makedirs(work)
        saves(work, models)
        shutil.rmtree(work)
        os.makedirs(work)
        states(work, models)
        opens(base)
    kept = counts.pop("kept", 0)
    print(f"{sum(counts.values())} faults: nothing lost, nothing mixed, nothing left; {kept} checkpoints kept beside their place")


main()
