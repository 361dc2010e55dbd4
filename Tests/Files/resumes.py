"""Kills training at random moments and goes on with it, until the result is there: it has the bits of a run that nobody disturbed.

    PYTHONPATH=bindings/python/src python Tests/Files/resumes.py [kills]

With the embedded checkpoint: all of it in float32 and in bfloat16, and an adapter on int8; with validation data, so that the weights
that are written are the best ones, which were set aside in a file of their own.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import qwensft
from common import ROOT, leftovers

MODEL = os.path.join(ROOT, "Examples/tiny-qwen2")
KINDS = ("full", "bfloat16", "adapter")


def conversations(numbers, error):
    return [
        [
            {"role": "user", "content": f"{i % 7}+{i % 5}等于几"},
            {"role": "assistant", "content": f"{i % 7}+{i % 5}等于{i % 7 + i % 5 + error}。" * (1 + i % 3)},
        ]
        for i in numbers
    ]


def train(kind, output, resume):
    tokenizer = qwensft.Tokenizer.from_pretrained(MODEL)
    model = qwensft.Model.from_pretrained(
        MODEL, dtype="bfloat16" if kind == "bfloat16" else "float32", quantization="int8" if kind == "adapter" else None
    )
    if kind == "adapter":
        model.add_adapter(qwensft.LoraConfig(lora_dropout=0.1))
    # The rows to judge by are right and those to learn wrong, so that the best weights are not the last.
    run = qwensft.train(
        model, tokenizer, conversations(range(24), 1), epochs=12, batch_size=2, accumulation=2, schedule="cosine",
        optimizer=qwensft.AdamW(lr=1e-2 if kind == "adapter" else 5e-4), validation=conversations(range(30, 36), 0),
        warmup_ratio=0.1, evaluate_every=5, save_every=1, keep_last=2, output=output, resume=resume, overwrite=True, progress=False,
        label_policy="assistant",
    )
    print("steps", len(run.losses), "best", run._info().best_step, flush=True)


def start(kind, output):
    partial = output + ".partial"
    resume = os.path.isdir(partial) and any(name.startswith("step-") for name in os.listdir(partial))
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, "child", kind, output, str(int(resume))], stdout=subprocess.PIPE, text=True
    )


def result(output):
    """Every file of it; the model card names no times and no places."""
    found = {}
    for name in sorted(os.listdir(output)):
        with open(os.path.join(output, name), "rb") as file:
            found[name] = file.read()
    return found


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    chance = random.Random(int(time.time()))
    with tempfile.TemporaryDirectory() as directory:
        for kind in KINDS:
            whole = os.path.join(directory, kind, "whole")
            os.makedirs(os.path.dirname(whole))
            begin = time.monotonic()
            process = start(kind, whole)
            said = process.communicate()[0].strip()
            assert process.returncode == 0
            seconds = time.monotonic() - begin
            expected = result(whole)
            done, times, after = 0, 0, []
            while done < kills:
                times += 1
                output = os.path.join(directory, kind, f"out-{times}")
                while True:
                    process = start(kind, output)
                    try:
                        # Once it is through, another one is begun.
                        if done >= kills:
                            raise subprocess.TimeoutExpired("", 0)
                        process.communicate(timeout=chance.random() * seconds)
                        assert process.returncode == 0
                        break
                    except subprocess.TimeoutExpired:
                        if done >= kills:
                            process.communicate()
                            assert process.returncode == 0
                            break
                        process.send_signal(signal.SIGKILL)
                        process.communicate()
                        done += 1
                        partial = output + ".partial"
                        steps = [
                            int(name[5:].split(".")[0])
                            for name in (os.listdir(partial) if os.path.isdir(partial) else [])
                            if name.startswith("step-")
                        ]
                        after.append(max(steps, default=0))
                assert result(output) == expected, f"{kind}: other bits after kills at steps {after}"
                assert not os.path.exists(output + ".partial"), os.listdir(output + ".partial")
                assert leftovers(os.path.join(directory, kind)) == []
            print(f"{kind} ({said}): {done} kills, after steps {after}, {times} results, the same bits")
    print("nothing that was killed came out otherwise")


if len(sys.argv) > 1 and sys.argv[1] == "child":
    train(sys.argv[2], sys.argv[3], sys.argv[4] == "1")
else:
    main()
