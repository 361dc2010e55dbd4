"""Kills processes while they save, at random moments, and looks at what they leave.

    PYTHONPATH=bindings/python/src python Tests/Files/kills.py [kills a scenario]

A reader sees one of the two versions and never parts of both, while the process saves as well as after it is dead; other files
stay; and one more save removes what the dead have left.
"""

import collections
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import qwensft
from common import FOREIGN, content, dtype_of, leftovers, make_base, make_target, version, versions

ADAPTER = "adapter_model.safetensors"
BATCH = dict(input_ids=[[1, 2, 3]], labels=[[1, 2, 3]])
KINDS = ("new", "old", "kept", "mixed", "state", "adapter")


def trainers(models):
    made = []
    for steps, model in enumerate(models, 1):
        trainer = qwensft.Trainer(model, qwensft.AdamW(1e-3))
        for _ in range(steps):
            trainer.step(qwensft.Batch(**BATCH))
        made.append(trainer)
    return made


def adapted(base):
    """Two models whose adapters differ in their values."""
    models = versions(base)
    for model in models:
        model.add_adapter(qwensft.LoraConfig(r=16))
    trainers(models)
    return models


def child(kind, base, target):
    """Saves the two versions in turn until it is killed."""
    models = adapted(base) if kind == "adapter" else versions(base)
    savers = trainers(models) if kind == "state" else models
    print("ready", flush=True)
    while True:
        for number in (1, 0):
            if kind == "state":
                savers[number].save_state(target)
            elif kind == "adapter":
                savers[number].save_adapter(target)
            else:
                # Versions that differ in more than the weights, where the files are replaced one by one.
                savers[number].save_pretrained(target, dtype=dtype_of(kind) if number else "float32")


def complete(message, target):
    """Does what the message of a save that was cut off says."""
    left = os.path.join(target, re.search(r"move the files of '([^']*)'", message)[1])
    names = [name for name in os.listdir(left) if not name.endswith(".before")]
    for name in sorted(names, key=lambda name: name == "config.json"):
        os.replace(os.path.join(left, name), os.path.join(target, name))


class Reader(threading.Thread):
    """Reads again and again what another process writes."""

    def __init__(self, look):
        super().__init__()
        self.look, self.is_over, self.error, self.count = look, False, None, 0

    def run(self):
        while not self.is_over:
            try:
                self.look()
                self.count += 1
            except BaseException as error:
                self.error = error
                return


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    chance = random.Random(int(time.time()))
    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as directory:
        base = make_base(os.path.join(directory, "base"))
        models = versions(base)
        for kind in KINDS:
            work = os.path.join(directory, kind)
            target = os.path.join(work, "target")
            os.makedirs(work)
            if kind == "state":
                good = []
                for trainer in trainers(versions(base)):
                    trainer.save_state(target)
                    good.append(open(target, "rb").read())

            if kind == "adapter":
                good = []
                for model in adapted(base):
                    model.save_adapter(target)
                    good.append(content(target))

            def look():
                if kind == "adapter":
                    assert open(os.path.join(target, ADAPTER), "rb").read() in [files[ADAPTER] for files in good], "a broken adapter"
                    return
                if kind == "state":
                    assert open(target, "rb").read() in good, "a broken state"
                    return
                try:
                    counts[kind, f"version {version(target)}"] += 1
                except (OSError, ValueError) as error:
                    # Only where several files had to be replaced one by one may there be a moment without a checkpoint.
                    if kind == "new" and not os.path.isdir(target):
                        return
                    if kind != "mixed" or not isinstance(error, (FileNotFoundError, qwensft.QwenSFTError)):
                        raise
                    counts[kind, "no checkpoint for a moment"] += 1

            for _ in range(kills):
                if kind not in ("state", "adapter"):
                    make_target(kind, target, models)
                process = subprocess.Popen(
                    [sys.executable, __file__, "child", kind, base, target], stdout=subprocess.PIPE
                )
                assert process.stdout.readline() == b"ready\n"
                reader = Reader(look)
                if kind != "new":
                    reader.start()
                time.sleep(chance.random() * 0.2)
                process.send_signal(signal.SIGKILL)
                process.wait()
                process.stdout.close()
                reader.is_over = True
                if kind != "new":
                    reader.join()
                    if reader.error:
                        raise reader.error
                counts[kind, "kills"] += 1
                counts[kind, "read meanwhile"] += reader.count
                counts[kind, "leftovers"] += len(leftovers(work, target))
                # What the dead leave.
                if kind == "state":
                    look()
                    continue
                if kind == "adapter":
                    assert content(target) in good, "parts of two adapters"
                    qwensft.Model.from_pretrained(base).load_adapter(target)
                    continue
                if kind == "new" and not os.path.isdir(target):
                    counts[kind, "nothing"] += 1
                    continue
                try:
                    version(target)
                except (OSError, ValueError) as error:
                    if "was cut off" not in str(error):
                        raise
                    counts[kind, "completed by hand"] += 1
                    complete(str(error), target)
                    version(target)
                if kind != "new":
                    assert FOREIGN.items() <= content(target).items()
                if kind in ("kept", "mixed"):
                    assert content(target)[".cache/deep/blob"] == b"theirs"
            if kind == "state":
                trainers(versions(base))[0].save_state(target)
                assert os.listdir(work) == ["target"], os.listdir(work)
            elif kind == "adapter":
                adapted(base)[0].save_adapter(target)
                assert content(target) == good[0] and os.listdir(work) == ["target"], os.listdir(work)
            else:
                models[1].save_pretrained(target)
                assert version(target) == 2
                assert leftovers(work, target) == [], leftovers(work, target)
                assert os.listdir(work) == ["target"], os.listdir(work)
            shutil.rmtree(work)
    for (kind, what), count in counts.items():
        print(f"{kind}: {count} {what}")
    total = sum(count for (_, what), count in counts.items() if what == "kills")
    print(f"{total} kills: nothing broken, nothing left behind")


if len(sys.argv) > 1 and sys.argv[1] == "child":
    child(*sys.argv[2:])
else:
    main()
