#!/usr/bin/env python3
"""Steps of an adapter (LoRA, r = 8 on all linear layers, AdamW) beside full SGD steps, and the memory they take.

    PYTHONPATH=bindings/python/src python3 Benchmarks/adapters.py --model DIR [--bases bfloat16,int8,...]

The full step, the adapter's step on the same bfloat16 weights, and those on the other bases take turns in one process; ratios are
medians over rounds. The peak (VmHWM, loading included) is of a process of its own that takes two steps on one row of 256
tokens with activation checkpointing. Decoding compares greedy answers with the adapter set and not set.
"""
import argparse
import random
import re
import subprocess
import sys
import time
from statistics import median

import numpy as np
import qwensft

FORMATS = ["bfloat16", "lossless", "int8", "int6", "int4"]


def batch(rows, length, supervised=0.3):
    rng = random.Random(1)
    ids = np.array([[rng.randrange(100000) for _ in range(length)] for _ in range(rows)], dtype=np.int64)
    labels = ids.copy()
    labels[:, : int(length * (1 - supervised))] = -100
    return qwensft.Batch(ids, labels)


def base(directory, name):
    if name in ("float32", "bfloat16"):
        return qwensft.Model.from_pretrained(directory, dtype=name)
    return qwensft.Model.from_pretrained(directory, quantization=name)


def adapted(model, lr=1e-4, **options):
    model.add_adapter(qwensft.LoraConfig(r=8, lora_alpha=16))
    return qwensft.Trainer(model, optimizer=qwensft.AdamW(lr=lr), **options)


def peak(directory, name):
    trainer = adapted(base(directory, name), recomputation=True)
    rows = batch(1, 256)
    for _ in range(2):
        trainer.step(rows)
    with open("/proc/self/status") as status:
        print(int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) * 1024)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--bases", default=",".join(FORMATS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        return peak(args.model, args.peak)
    names = args.bases.split(",")
    if not args.skip_speed:
        rows = batch(args.rows, args.length)
        model = base(args.model, "bfloat16")
        full = qwensft.Trainer(model, optimizer=qwensft.SGD(lr=1e-12))
        sides = {"full SGD": (model, None, full), "bfloat16": (model, "default", adapted(model))}
        for name in names:
            if name != "bfloat16":
                other = base(args.model, name)
                sides[name] = (other, "default", adapted(other))
        seconds = {name: [] for name in sides}
        for round in range(args.rounds + 1):
            for name, (owner, adapter, trainer) in sides.items():
                owner.set_adapter(adapter)
                took = trainer.step(rows).seconds
                if round:  # the first is a warm-up
                    seconds[name].append(took)
        for name, times in seconds.items():
            against = "full SGD" if name in ("full SGD", "bfloat16") else "bfloat16"
            ratio = median(a / b for a, b in zip(times, seconds[against]))
            print(f"{args.rows} x {args.length}  {name:10} {median(times):7.3f} s   {ratio:.3f} of {against}", flush=True)
        ids = list(range(1000, 1064))
        rates = {None: [], "default": []}
        for _ in range(args.rounds):
            for adapter, times in rates.items():
                model.set_adapter(adapter)
                model.generate(ids, max_new_tokens=1, do_sample=False)
                start = time.perf_counter()
                count = len(model.generate(ids, max_new_tokens=48, do_sample=False))
                times.append(count / (time.perf_counter() - start))
        ratio = median(a / b for a, b in zip(rates["default"], rates[None]))
        print(f"decode     bfloat16   {median(rates[None]):.1f} tok/s without, {ratio:.3f} of that with the adapter", flush=True)
    for name in names:
        command = [sys.executable, __file__, "--model", args.model, "--peak", name]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"peak       {name:10} {int(result.stdout) / 1e9:.2f} GB, one row of 256 tokens, activation checkpointing", flush=True)


if __name__ == "__main__":
    main()
